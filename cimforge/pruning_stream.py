"""``cimforge prune --stream``: select, prune and save, one block of the model in memory."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import cimforge as cf
from cimforge.report.plots import plot_plan
from cimforge.report.progress import progress
from cimforge.spec.files import check_writable, write_atomic

__all__ = ["needs_texts", "run_stream_prune"]


def needs_texts(method: str, score: str) -> bool:
    """Return whether calibration text is used at all."""
    return method != "uniform" or score != "magnitude"


def run_stream_prune(source: str, out: Path, texts: Sequence[str] | None, *, method: str,
                     sparsity: float = 0.5, mode: str = "balanced", config_name: str = "default",
                     exclude: Sequence[str] = (), score: str = "wanda") -> Path:
    """Do what `run_prune` does for a model larger than memory.

    Parameters
    ----------
    source, out, sparsity, mode, config_name, exclude, score
        As for `run_prune`. A run that was interrupted left ``.checkpoint.partial`` in ``out``, and
        goes on after the last block in it.
    texts : sequence of str or None
        Calibration text; None where `needs_texts` says so.
    method : str
        ``"uniform"``, ``"owl"`` or ``"flow"``.

    Returns
    -------
    Path
        The plan.

    Raises
    ------
    ConfigError, DataError
        As `stream_select` and `stream_prune`; or ``out`` in use.
    """
    from cimforge_sw.folders import check_new
    from cimforge_sw.select import check_score
    from cimforge_sw.stream_select import check_streamed, stream_select

    check_streamed(method, sparsity, mode)
    check_score(score)
    check_writable(out)
    check_new(out / "checkpoint")
    config = cf.load_config(config_name)
    with progress() as bars:
        with bars.task(f"select ({method})", 1):
            chosen = stream_select(source, texts, config, method=method, sparsity=sparsity,
                                   mode=mode, exclude=exclude)
        out.mkdir(parents=True, exist_ok=True)
        with bars.task("prune, save", None) as bar:
            pruned = cf.stream_prune(source, chosen.plan, texts, out / "checkpoint", score=score,
                                     progress=bar.of)
    details = dict(chosen.details)
    cycles, tokens = details.pop("cycles"), details.pop("tokens")
    presence, locality = details.pop("presence"), details.pop("locality")
    chosen.plan.save(out / "plan.yaml")
    figures = {"model": source, "method": method, "score": score, "streamed": True,
               "target": sparsity, "sparsity": pruned.sparsity, "excess": chosen.excess,
               "cycles": cycles if math.isfinite(cycles) else None, "tokens": tokens,
               "details": details, "presence": presence, "locality": locality}
    write_atomic(out / "selection.json", (json.dumps(figures, indent=1) + "\n").encode())
    plot_plan(out / "plan.svg", {name: str(p) for name, p in pruned.patterns.items()},
              presence, locality)
    return out / "plan.yaml"
