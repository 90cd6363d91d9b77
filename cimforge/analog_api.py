"""What users call for the analog tile: programs, run in NumPy or on the RTL."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cimforge.arguments import check_run, checked
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.analog.program import AnalogProgram
from cimforge.spec.analog.timing import cycles
from cimforge.spec.errors import DataError

if TYPE_CHECKING:
    from cimforge_verif.analog.vectors import AnalogVectors

__all__ = ["AnalogSimulation", "analog_vectors", "load_analog_vectors", "simulate_analog"]


@dataclass(frozen=True, kw_only=True, eq=False)
class AnalogSimulation:
    """One program, executed.

    Attributes
    ----------
    names : tuple of str
        Its layers.
    mapping, backend : str
    y : dict of str to ndarray of int64, shape (T, O)
        Accumulators of each layer, compared bit by bit with the golden model where the backend is
        not it.
    cycles_predicted : int
        Closed form of the whole program, programming of the arrays included.
    cycles_run : int
        Closed form of the tokens alone, once the arrays are programmed.
    cycles_counted : int or None
        The RTL's counter of the whole program; None where nothing was simulated.
    saturations : int
        Clamped conversions.
    illegal : int
        Position of the first command that mixed blocks, or -1.
    counters : dict
        All counters of the tile.
    """

    names: tuple[str, ...]
    mapping: str
    backend: str
    y: dict[str, np.ndarray]
    cycles_predicted: int
    cycles_run: int
    cycles_counted: int | None
    saturations: int
    illegal: int
    counters: dict[str, int]


@checked
def analog_vectors(program: AnalogProgram, inputs: np.ndarray) -> "AnalogVectors":
    """Return stimulus of a program, which works out the expected response itself.

    Parameters
    ----------
    program : AnalogProgram
    inputs : ndarray of int8, shape (T, K)

    Raises
    ------
    DataError
        Inputs of another shape, or values beyond INT8.
    """
    from cimforge_verif.analog.vectors import AnalogVectors

    x = np.asarray(inputs)
    if not np.issubdtype(x.dtype, np.integer):
        raise DataError(f"{program.names[0]}: inputs must be int8, not {x.dtype}")
    return AnalogVectors(program.config, program.commands, program.weights, program.acts(x),
                         ", ".join(program.names))


@checked
def load_analog_vectors(folder: str | Path, config: AnalogConfig) -> "AnalogVectors":
    """Load saved vectors, refusing those of another configuration or damaged ones."""
    from cimforge_verif.analog.vectors import AnalogVectors

    return AnalogVectors.load(folder, config)


def simulate_analog(programs: Sequence[AnalogProgram], inputs: Mapping[str, np.ndarray], *,
                    backend: str = "golden", stalls: float = 0.0, seed: int = 0
                    ) -> list[AnalogSimulation]:
    """Execute programs, each from reset; the RTL is generated and built once for all.

    Parameters
    ----------
    programs : sequence of AnalogProgram
        From `deploy`, all for one configuration.
    inputs : mapping of layer name to ndarray of int8, shape (T, K)
        As from `capture_inputs`; of a fused layer's parts ``name[n]`` that of ``name``.
    backend : str
        ``"golden"``: NumPy, compared with nothing. ``"cocotb"``: the RTL on Verilator; every
        result, counter and flag is compared with the golden model. ``"batch"``: the same on a
        verilated library, without Python per cycle and on all cores.
    stalls, seed : float, int
        ``cocotb``, ``batch``: probability that a stream waits in a cycle, and seed of the waiting.

    Raises
    ------
    DataError
        No program, programs for different tiles, or inputs that are missing or do not fit.
    ConfigError
        Stalls that are no probability below 1, or nothing to stall, or a seed below 0.
    ToolError
        Verilator, a compiler or a library is missing, or the simulation broke down.
    AssertionError
        The RTL differs from the golden model; the message names program and position.
    """
    check_run(backend, stalls, seed)
    if {type(program) for program in programs} != {AnalogProgram} or any(
            program.config != programs[0].config for program in programs):
        raise DataError("simulate_analog: expected programs for one configuration (from cf.deploy)")
    if not isinstance(inputs, Mapping):
        raise DataError("simulate_analog: inputs must be arrays by layer name (from "
                        f"cf.capture_inputs), not a {type(inputs).__name__}")
    sets = [analog_vectors(program, _input(program, inputs)) for program in programs]
    expected = [made.expected() for made in sets]
    counters = [answer.counters for answer in expected]
    if backend != "golden":
        from cimforge_hw.cache import simulation_rtl
        from cimforge_verif.batch.analog import batch_analog
        from cimforge_verif.sim.analog import simulate_analog as cocotb_analog

        run: Callable[..., Any] = batch_analog if backend == "batch" else cocotb_analog
        config = programs[0].config
        counters = [result.counters for result in run(
            config, simulation_rtl(config), sets, stalls=stalls,
            seed=seed)]
    return [AnalogSimulation(
        names=program.names, mapping=program.mapping, backend=backend,
        y=dict(zip(program.names, program.results(answer.results), strict=True)),
        cycles_predicted=answer.counters["cycles"], cycles_run=cycles(program.config, program.run),
        cycles_counted=counted["cycles"] if backend != "golden" else None,
        saturations=answer.counters["saturations"], illegal=answer.illegal, counters=counted)
        for program, answer, counted in zip(programs, expected, counters, strict=True)]


def _input(program: AnalogProgram, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the input of a program; its layers must agree."""
    names = [name if name in inputs else name.partition("[")[0] for name in program.names]
    missing = [name for name in names if name not in inputs]
    if missing:
        raise DataError(f"simulate_analog: no inputs for {missing[0]}")
    first = np.asarray(inputs[names[0]])
    for name in names[1:]:
        if not np.array_equal(first, inputs[name]):
            raise DataError(f"{name}: shares a program with {names[0]}, so it needs the same input")
    return first
