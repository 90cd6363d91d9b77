"""Compiled layers through the digital tile's library, without Python per cycle.

The counterpart of :mod:`cimforge_verif.sim.layers`: same vectors, same checks, same results.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cimforge.spec.commands import ErrorCode, Opcode
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge_verif.batch.library import Outcome, Status, Tile
from cimforge_verif.batch.payloads import differs, lanes_of, payloads
from cimforge_verif.batch.programs import Program, explain, run_programs
from cimforge_verif.compare import Mismatch
from cimforge_verif.sim.build import BUILDS
from cimforge_verif.sim.jobs import COUNTERS, LayerResult, counter_errors
from cimforge_verif.sim.layers import TOP, cycle_limit, rates_of
from cimforge_verif.vectors import VectorSet

__all__ = ["batch_layers"]


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
    rates = rates_of(stalls)
    worst = max(rates.values())
    programs = [Program(
        name=vectors.layer, limit=cycle_limit(vectors, worst), end=Opcode.END,
        streams={"commands": vectors.words, "weights": vectors.weights, "acts": vectors.acts},
        results=payloads(vectors.results, vectors.last, config.acc_bits)) for vectors in layers]
    found: dict[int, LayerResult] = {}

    def check(tile: Tile, outcome: Outcome, index: int) -> None:
        vectors, program = layers[index], programs[index]
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
        found[index] = LayerResult(name=vectors.layer, results=got, last=vectors.last,
                                   counters=counted, simulated=outcome.cycles,
                                   seconds=outcome.seconds)

    run_programs(rtl, top, programs, check, rates=rates, seed=seed, workers=workers, root=root,
                 done=progress)
    return [found[index] for index in range(len(layers))]
