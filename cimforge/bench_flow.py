"""FLOW's statistics and masks against the published procedure, on one layer of a 7B Llama.

Run as ``python -m cimforge.bench_flow``. Each side has a process of its own, so that its time and
memory are not the other's; weights are random, made one matrix at a time outside the timing.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cimforge.report.records import write_records
from cimforge.spec.errors import DataError

__all__ = ["SHAPES", "compare_flow", "run_bench_flow"]

#: [O, K] of the linear layers of one decoder layer of Llama-7B: 202 M weights.
SHAPES = {
    "q_proj": (4096, 4096), "k_proj": (4096, 4096), "v_proj": (4096, 4096),
    "o_proj": (4096, 4096), "gate_proj": (11008, 4096), "up_proj": (11008, 4096),
    "down_proj": (4096, 11008),
}
THRESHOLD = 3.0  # times the mean score, the published default of the outlier threshold
KEPT, GROUP = 2, 4
_FIRST = 10_000  # outliers whose distances the published locality takes


class _Clock:
    """Seconds of each stage, over all matrices."""

    def __init__(self):
        self.seconds = {"statistics": 0.0, "masks": 0.0}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start


def _layer(shape: tuple[int, int], seed: int):
    """Return random weights [O, K] and squared norms [K], as calibration would leave them."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator)
    return weight, torch.rand(shape[1], generator=generator) + 0.1


def _memory(field: str) -> int:
    """Return a field of this process's memory in bytes; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:")), 0)


def _ours(shapes: dict[str, tuple[int, int]], clock: _Clock) -> int:
    """Run this project's functions; return the weights kept."""
    import torch

    from cimforge.spec.pattern import NmPattern
    from cimforge_sw.masks import nm_mask
    from cimforge_sw.outliers import outlier_stats
    from cimforge_sw.scores import wanda_score

    kept = 0
    for seed, shape in enumerate(shapes.values()):
        weight, scaler_row = _layer(shape, seed)
        with clock.stage("statistics"):
            outlier_stats(weight, scaler_row.sqrt(), THRESHOLD)
        with clock.stage("masks"):
            mask = nm_mask(wanda_score(weight, scaler_row.sqrt()), NmPattern(KEPT, GROUP))
        kept += int(torch.count_nonzero(mask))
        del weight, mask
    return kept


def _published(shapes: dict[str, tuple[int, int]], clock: _Clock) -> int:
    """Restate the published procedure; return the weights kept.

    Scores of all matrices flattened and concatenated; outliers against their mean; the mean
    Euclidean distance between the first 10 000 outlier positions, all pairs; masks by a loop over
    groups of M columns that drops the M - N smallest scores of every row (FLOW, arXiv 2504.14365,
    and Wanda's masks, arXiv 2306.11695, as released).
    """
    import torch

    kept, flat = 0, []
    for seed, shape in enumerate(shapes.values()):
        weight, scaler_row = _layer(shape, seed)
        with clock.stage("statistics"):
            flat.append((weight.abs() * scaler_row.reshape(1, -1).sqrt()).flatten())
        with clock.stage("masks"):
            score = weight.abs() * scaler_row.reshape(1, -1).sqrt()
            dropped = torch.zeros(shape, dtype=torch.bool)
            for start in range(0, shape[1], GROUP):
                worst = torch.topk(score[:, start:start + GROUP], GROUP - KEPT, dim=1,
                                   largest=False)[1]
                dropped.scatter_(1, start + worst, True)
        kept += dropped.numel() - int(torch.count_nonzero(dropped))
        del weight, score, dropped
    with clock.stage("statistics"):
        scores = torch.cat(flat)
        outlier = scores > THRESHOLD * scores.mean()
        float(outlier.sum()) / outlier.numel()
        places = outlier.nonzero()[:_FIRST].float()
        count = len(places)
        float(torch.cdist(places, places).sum() / max(count * (count - 1), 1))
    return kept


_SIDES: dict[str, Callable[[dict[str, tuple[int, int]], _Clock], int]] = {
    "ours": _ours, "published": _published}


def _run_side(side: str, threads: int, shapes: dict[str, tuple[int, int]]) -> dict[str, float]:
    """Run one side here; return its seconds, the weights kept, and the most memory above imports.

    The peak counts the weights themselves, and pages of libraries first touched meanwhile: an
    upper bound of the anonymous memory.
    """
    import torch

    torch.set_num_threads(threads or torch.get_num_threads())
    _SIDES[side]({"warm_up": (64, 64)}, _Clock())
    before, clock = _memory("VmRSS"), _Clock()
    kept = _SIDES[side](shapes, clock)
    return {**clock.seconds, "total": sum(clock.seconds.values()), "kept": kept,
            "threads": torch.get_num_threads(), "peak": _memory("VmHWM") - before}


def _run_process(side: str, threads: int, shapes: dict[str, tuple[int, int]]) -> dict[str, float]:
    """Run one side in a process of its own."""
    command = [sys.executable, "-m", "cimforge.bench_flow", side, str(threads), json.dumps(shapes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    if done.returncode:
        raise DataError(f"the {side} side of the FLOW bench failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def compare_flow(shapes: dict[str, tuple[int, int]] | None = None) -> dict[str, dict[str, float]]:
    """Run both sides.

    Each runs on all threads and on one, in turn, and the faster counts: where other programs hold
    the cores, handing short steps to several threads costs more than it gains.

    Parameters
    ----------
    shapes : dict of str to (O, K), optional
        Matrices; those of :data:`SHAPES` unless given.

    Returns
    -------
    dict of str to dict of str to float
        For ``"ours"`` and ``"published"``: ``statistics``, ``masks`` and their ``total`` in
        seconds, weights ``kept``, ``threads``, ``peak`` memory in bytes above what importing the
        libraries took.

    Raises
    ------
    DataError
        A side failed, or the two keep different numbers of weights.
    """
    shapes = shapes or SHAPES
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in _SIDES}
    for threads in (0, 1):  # 0: as many as torch takes
        for side, done in runs.items():
            done.append(_run_process(side, threads, shapes))
    ours, published = (min(done, key=lambda run: run["total"]) for done in runs.values())
    if ours["kept"] != published["kept"]:
        raise DataError(f"the FLOW bench keeps {ours['kept']} weights, the published procedure "
                        f"{published['kept']}")
    return {"ours": ours, "published": published}


def run_bench_flow(out: Path, shapes: dict[str, tuple[int, int]] | None = None) -> str:
    """Measure both sides into ``bench_flow.json``; return a page of text.

    Parameters
    ----------
    out : Path
        Folder of the report.
    shapes : dict of str to (O, K), optional
        See `compare_flow`.
    """
    both = compare_flow(shapes)
    ours, published = both["ours"], both["published"]
    largest = 4 * max(outputs * inputs for outputs, inputs in (shapes or SHAPES).values())
    records = [{"what": what, "value": ours[what], "unit": "s", "baseline": published[what],
                "ratio": published[what] / max(ours[what], 1e-9),
                "threads": ours["threads"], "baseline_threads": published["threads"]}
               for what in ("statistics", "masks", "total")]
    records.append({"what": "peak memory", "value": ours["peak"], "unit": "bytes",
                    "baseline": published["peak"],
                    "ratio": published["peak"] / max(ours["peak"], 1),
                    "of_largest_layer": ours["peak"] / largest})
    write_records(out / "bench_flow.json", "python -m cimforge.bench_flow", records)
    return "".join(
        f"FLOW {r['what']:11} {r['value']:12.2f} {r['unit']:5} against {r['baseline']:13.2f} as "
        f"published: {r['ratio']:.1f}x\n" for r in records)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(json.dumps(_run_side(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))))
    else:
        print(run_bench_flow(Path("reports")), end="")
