"""Programs of the analog tile through its library, without Python per cycle.

The counterpart of :mod:`cimforge_verif.sim.analog`: same programs, same checks, same results.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from cimforge.spec.analog.commands import AnalogError, AnalogOpcode
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import DataError
from cimforge_verif.analog.vectors import AnalogVectors
from cimforge_verif.batch.library import Outcome, Status, Tile
from cimforge_verif.batch.payloads import differs, lanes_of, payloads
from cimforge_verif.batch.programs import Program, explain, run_programs
from cimforge_verif.compare import Mismatch
from cimforge_verif.sim.analog import ANALOG_COUNTERS, AnalogResult, cycle_limit
from cimforge_verif.sim.build import BUILDS
from cimforge_verif.sim.jobs import counter_errors
from cimforge_verif.sim.layers import rates_of

__all__ = ["batch_analog"]


def batch_analog(config: AnalogConfig, rtl: Sequence[Path] | Mapping[str, str],
                 programs: Sequence[AnalogVectors], *, top: str = "analog_tile",
                 stalls: float | Mapping[str, float] = 0.0, seed: int = 0,
                 workers: int | None = None, root: Path = BUILDS,
                 progress: Callable[[str], None] = lambda name: None) -> list[AnalogResult]:
    """Simulate programs; results, flags and counters are compared with the golden model.

    Parameters
    ----------
    config, rtl, programs, top, stalls, seed, root
        As for :func:`cimforge_verif.sim.analog.simulate_analog`, with its errors.
    workers : int, optional
        Tiles that run at once; default: as many as cores.
    progress : callable, optional
        Called with the name of each program that passed.
    """
    for program in programs:
        if program.config != config:
            raise DataError(f"{program.name}: vectors made for configuration "
                            f"{program.config.digest}, not {config.digest}")
    rates = rates_of(stalls)
    worst = max(rates.values())
    wanted = [program.expected() for program in programs]
    jobs = [Program(
        name=program.name, limit=cycle_limit(program, expected, worst), end=AnalogOpcode.END,
        streams=program.streams_as_bytes(),
        results=payloads(expected.results, expected.last, config.acc_bits))
        for program, expected in zip(programs, wanted, strict=True)]
    found: dict[int, AnalogResult] = {}

    def check(index: int, tile: Tile, outcome: Outcome) -> None:
        expected = wanted[index]
        got = lanes_of(outcome.results, config.port, config.acc_bits)
        place = f"{jobs[index].name} {index}, cycle {outcome.cycles}"
        if outcome.status is Status.DIFFERS:
            raise differs(place, got, expected.results, expected.last)
        counted = {name: tile.peek(f"counters__{name}") for name in ANALOG_COUNTERS}
        wrong = explain(outcome, jobs[index], lambda: (
            f"{AnalogError(tile.peek('error')).name} for command {tile.peek('error_position')}"))
        wrong = wrong or "; ".join(counter_errors(
            counted, {**expected.counters, "stall": outcome.stall}, worst > 0))
        illegal = tile.peek("illegal_position") if tile.peek("illegal") else -1
        if not wrong and illegal != expected.illegal:
            wrong = f"the first illegal drive is {expected.illegal}, not {illegal}"
        if not wrong and bool(tile.peek("saturated")) != (expected.counters["saturations"] > 0):
            wrong = f"saturated is {tile.peek('saturated')}"
        if wrong:
            raise Mismatch(f"{place}: {wrong}")
        found[index] = AnalogResult(results=got, counters=counted, simulated=outcome.cycles,
                                    seconds=outcome.seconds)

    order = sorted(range(len(jobs)), key=lambda index: -jobs[index].limit)
    run_programs(rtl, top, ((jobs[n], partial(check, n)) for n in order), rates=rates,
                 seed=seed, workers=workers, root=root, done=progress)
    return [found[index] for index in range(len(programs))]
