"""Runs compiled layers through the tile's Verilog and returns what came out."""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError, ToolError
from cimforge_verif.sim.build import BUILDS, build
from cimforge_verif.sim.jobs import JOB_VARIABLE, LayerJob, LayerResult
from cimforge_verif.sim.run import run
from cimforge_verif.vectors import VectorSet

__all__ = ["STREAMS", "TOP", "cycle_limit", "rates_of", "simulate_layers"]

TOP = "dcim_tile"
STREAMS = ("commands", "weights", "acts", "results")
_SLOWEST_HZ = 200  # cycles per second of the largest tile on a busy machine


def cycle_limit(vectors: VectorSet, stall: float) -> int:
    """Return the cycles after which a layer counts as hung: twice what it may need, and more.

    Parameters
    ----------
    vectors : VectorSet
        With the predicted cycles.
    stall : float
        The largest probability of a stall of any stream.
    """
    arrays = (vectors.words, vectors.weights, vectors.acts, vectors.results)
    beats = sum(map(len, arrays)) if stall else 0
    return 1000 + 2 * int(vectors.counters["cycles"] + 2 * beats / (1 - stall))


def simulate_layers(config: DcimConfig, rtl: Sequence[Path] | Mapping[str, str],
                    layers: Sequence[VectorSet], *, top: str = TOP,
                    stalls: float | Mapping[str, float] = 0.0, seed: int = 0,
                    counters: bool = True, timeout_s: float | None = None, lean: bool = True,
                    arguments: Sequence[str] = (), root: Path = BUILDS,
                    progress: Callable[[str, int, int], None] | None = None) -> list[LayerResult]:
    """Simulate layers; every result beat is compared with the expected one as it arrives.

    Parameters
    ----------
    config : DcimConfig
        Of the tile.
    rtl : sequence of Path, or mapping of name to text
        Verilog of the tile.
    layers : sequence of VectorSet
        Run one after the other, each from reset.
    top : str
        Name of the tile's module.
    stalls : float, or mapping of stream name to float
        Probability that a stream waits in a cycle; see :data:`STREAMS`.
    seed : int
        Of the stalls.
    counters : bool
        Compare the tile's counters with those of the vectors, and ``stall`` with the ports, too.
    timeout_s : float, optional
        Wall-clock limit of the whole simulation; default: from the cycles it may take.
    lean, arguments
        As for :func:`cimforge_verif.sim.build.build`.
    root : Path
        Folder of the builds.
    progress : callable, optional
        Called with a layer's name, its result beats so far, and their number.

    Raises
    ------
    Mismatch
        A result or counter differs, a result is missing or surplus, the tile reports an error or
        hangs; the message names the layer and the position.
    SimulationError
        The simulator crashed, or took longer than ``timeout_s``.
    DataError
        Vectors were made for another configuration, or a stall is no probability.
    """
    for vectors in layers:
        if vectors.config != config:
            raise DataError(f"{vectors.layer}: vectors made for configuration "
                            f"{vectors.config.digest}, not {config.digest}")
    rates = rates_of(stalls)
    limits = [cycle_limit(vectors, max(rates.values())) for vectors in layers]
    folder = build(rtl, top, lean=lean, arguments=arguments, root=root)
    if timeout_s is None:
        timeout_s = 120 + sum(limits) / _SLOWEST_HZ
    with _scratch(folder) as scratch:
        job = LayerJob(parameters=config.to_dict(), folder=scratch, stalls=rates, seed=seed,
                       names=[vectors.layer for vectors in layers], limits=limits,
                       counters=counters)
        for index, vectors in enumerate(layers):
            vectors.save(job.vectors_folder(index))
        run(folder, "cimforge_verif.sim.layer_bench", top, seed=seed, timeout_s=timeout_s,
            env={JOB_VARIABLE: str(job.save())}, watch=_watcher(job, layers, progress))
        return [job.load_result(index) for index in range(len(layers))]


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[str]:
    try:
        made = tempfile.TemporaryDirectory(prefix="layers-", dir=folder)
    except OSError as error:
        raise ToolError(f"{folder}: cannot be written: {error.strerror}") from error
    with made as path:
        yield path


def rates_of(stalls: float | Mapping[str, float]) -> dict[str, float]:
    """Return the probability of a stall of every stream; DataError if one is none."""
    rates = dict.fromkeys(STREAMS, 0.0)
    rates |= stalls if isinstance(stalls, Mapping) else dict.fromkeys(STREAMS, stalls)
    for name, rate in rates.items():
        if name not in STREAMS or not 0 <= rate < 1:
            raise DataError(f"stalls must be in 0..1 and not 1, for {', '.join(STREAMS)}; "
                            f"not {rate!r} for {name!r}")
    return rates


def _watcher(job: LayerJob, layers: Sequence[VectorSet],
             progress: Callable[[str, int, int], None] | None) -> Callable[[], None] | None:
    if progress is None:
        return None

    def watch():
        with contextlib.suppress(OSError):  # nothing was written yet
            index, beats = json.loads(job.progress_path.read_text(encoding="utf-8"))
            progress(layers[index].layer, beats, len(layers[index].results))
    return watch
