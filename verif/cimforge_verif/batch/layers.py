"""Compiled layers through the digital tile's library, without Python per cycle.

The counterpart of :mod:`cimforge_verif.sim.layers`: same vectors, same checks, same results.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from cimforge.spec.commands import ErrorCode, Opcode
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge_verif.batch.library import Outcome, Status, Tile
from cimforge_verif.batch.payloads import differs, lanes_of, payloads
from cimforge_verif.batch.programs import Check, Program, explain, run_programs
from cimforge_verif.compare import Mismatch
from cimforge_verif.sim.build import BUILDS
from cimforge_verif.sim.jobs import COUNTERS, LayerResult, counter_errors
from cimforge_verif.sim.layers import TOP, cycle_limit, rates_of
from cimforge_verif.vectors import VectorSet

__all__ = ["batch_layers", "run_layers"]


def batch_layers(config: DcimConfig, rtl: Sequence[Path] | Mapping[str, str],
                 layers: Sequence[VectorSet], *, top: str = TOP,
                 stalls: float | Mapping[str, float] = 0.0, seed: int = 0, counters: bool = True,
                 workers: int | None = None, root: Path = BUILDS,
                 progress: Callable[[str], None] = lambda name: None) -> list[LayerResult]:
    """Simulate layers, each from reset; every result beat is compared with the expected one.

    Parameters
    ----------
    config, rtl, layers, top, stalls, seed, counters, root
        As for :func:`cimforge_verif.sim.layers.simulate_layers`, with its errors.
    workers : int, optional
        Tiles that run at once; default: as many as cores.
    progress : callable, optional
        Called with the name of each layer that passed.
    """
    for vectors in layers:
        if vectors.config != config:
            raise DataError(f"{vectors.layer}: vectors made for configuration "
                            f"{vectors.config.digest}, not {config.digest}")
    found: dict[int, LayerResult] = {}
    order = sorted(range(len(layers)), key=lambda n: -layers[n].counters["cycles"])
    run_layers(rtl, ((layers[n], partial(found.__setitem__, n)) for n in order), top=top,
               stalls=stalls, seed=seed, counters=counters, workers=workers, root=root,
               progress=progress)
    return [found[index] for index in range(len(layers))]


def run_layers(rtl: Sequence[Path] | Mapping[str, str],
               work: Iterable[tuple[VectorSet, Callable[[LayerResult], object]]], *,
               top: str = TOP, stalls: float | Mapping[str, float] = 0.0, seed: int = 0,
               counters: bool = True, workers: int | None = None, root: Path = BUILDS,
               progress: Callable[[str], None] = lambda name: None) -> None:
    """Simulate layers as they come, few of them in memory at a time.

    Parameters
    ----------
    rtl, top, stalls, seed, counters, workers, root, progress
        As for :func:`batch_layers`, with its errors.
    work : iterable of (VectorSet, callable)
        What to run, all for one configuration, and who is given the result, on another thread.
    """
    rates = rates_of(stalls)
    worst = max(rates.values())

    def jobs() -> Iterator[tuple[Program, Check]]:
        for vectors, take in work:
            program = Program(
                name=vectors.layer, limit=cycle_limit(vectors, worst), end=Opcode.END,
                streams={"commands": vectors.words, "weights": vectors.weights,
                         "acts": vectors.acts},
                results=payloads(vectors.results, vectors.last, vectors.config.acc_bits))
            yield program, partial(check, vectors, program, take)

    def check(vectors: VectorSet, program: Program, take: Callable[[LayerResult], object],
              tile: Tile, outcome: Outcome) -> None:
        config = vectors.config
        got = lanes_of(outcome.results, config.out_port, config.acc_bits)
        place = f"layer {vectors.layer}, cycle {outcome.cycles}"
        if outcome.status is Status.DIFFERS:
            raise differs(place, got, vectors.results, vectors.last)
        wrong = explain(outcome, program, lambda: (
            f"{ErrorCode(tile.peek('error')).name} for command {tile.peek('error_position')}"))
        counted = {name: tile.peek(f"counters__{name}") for name in COUNTERS}
        if wrong is None and counters:
            wrong = "; ".join(counter_errors(
                counted, {**vectors.counters, "stall": outcome.stall}, worst > 0))
        if wrong:
            raise Mismatch(f"{place}: {wrong}")
        take(LayerResult(name=vectors.layer, results=got, last=vectors.last, counters=counted,
                         simulated=outcome.cycles, seconds=outcome.seconds))

    run_programs(rtl, top, jobs(), rates=rates, seed=seed, workers=workers, root=root,
                 done=progress)
