"""The hybrid mapping: every layer as is best for the whole, under a budget of arrays."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.checks import check_integer
from cimforge.spec.errors import ConfigError
from cimforge_sw.analog.drives import LOSSLESS, Rule, drives, steps_of
from cimforge_sw.analog.factors import Factor, Matrix
from cimforge_sw.analog.hybrid_program import Choice, Kind, Program
from cimforge_sw.analog.mappings import MAPPINGS, dense
from cimforge_sw.analog.options import (
    Aim,
    Pieces,
    Pooled,
    fixed_options,
    pieces_of,
    place_pieces,
    pooled_options,
)
from cimforge_sw.analog.placement import Mapping, Placement
from cimforge_sw.analog.tech import load_technology

__all__ = ["hybrid"]

#: Position of a unit's option, and how the matrices of the unit are mapped.
_Units = dict[int, tuple[str, Pooled | None]]


def hybrid(matrices: Sequence[Matrix], config: AnalogConfig, arrays: int,
           objective: str = "interval", rule: Rule = LOSSLESS, technology: str = "isaac",
           linear: bool = True) -> Mapping:
    """Map every layer linear, sparse, dense or scattered, whichever makes the whole the cheapest.

    Matrices that share an input are mapped alike, so that they still run at once. Dense and
    scattered layers share arrays; how many of these there are for each shape of blocks is chosen
    together with the layers, exactly (mixed-integer program, HiGHS). A dense array holds strips of
    one width only; the mapping `dense`, which cuts strips to fill arrays to the last diagonal, is
    taken where it is better.

    Parameters
    ----------
    matrices : sequence of Matrix
        Those without Monarch structure are linear.
    config : AnalogConfig
        Arrays, converters and cycles.
    arrays : int
        Most arrays.
    objective : str
        ``"interval"`` or ``"serial"``: latency per array as of `latency`; ``"energy"``, for which
        neighbours of a dense or scattered block count as programmed.
    rule : Rule
    technology : str
        Table of the energy.
    linear : bool
        Whether Monarch matrices may be linear: stored as their dense product in INT8, which are
        other integers than those of their factors.

    Returns
    -------
    Mapping
        Checked; of all with the least cost one of fewest arrays.

    Raises
    ------
    ConfigError
        A budget too small, with the least one; or an objective that is none.
    ToolError
        The solver gave up.
    """
    aim = Aim(objective, config, rule, load_technology(technology))
    check_integer("arrays", arrays, 1)
    if not matrices:
        raise ConfigError("hybrid: expected matrices to map, not none")
    units = [[matrices[n] for n in step] for step in steps_of(tuple(matrices))]
    same: dict[tuple, list[int]] = defaultdict(list)
    for number, unit in enumerate(units):
        same[tuple(replace(matrix, name="", shared="") for matrix in unit)].append(number)
    kinds = [Kind(len(members), fixed_options(units[members[0]], aim, linear),
                  pooled_options(units[members[0]], aim)) for members in same.values()]
    program = Program(kinds)
    choice = program.solve(arrays)
    if choice is None:
        raise ConfigError(f"hybrid: {len(matrices)} matrices need at least "
                          f"{program.least_arrays()} arrays, not {arrays}")
    taken = _units(list(same.values()), kinds, choice)
    found = _build(matrices, units, taken, choice, config)
    if objective != "energy" and choice.cost <= _fastest_dense(kinds):
        return found
    return _better_dense(found, arrays, aim)


def _fastest_dense(kinds: list[Kind]) -> float:
    """Return what no dense mapping can beat: every diagonal in an array of its own."""
    return sum(kind.count * option.least for kind in kinds for option in kind.pooled
               if option.kind == "dense" and not option.together)


def _units(same: list[list[int]], kinds: list[Kind], choice: Choice) -> _Units:
    """Return the option of every unit: equal units take theirs in order."""
    found: _Units = {}
    for members, kind, fixed, pooled in zip(same, kinds, choice.fixed, choice.pooled, strict=True):
        options: list[tuple[str, Pooled | None]] = []
        for count, own in zip(fixed, kind.fixed, strict=True):
            options += [(own.kind, None)] * count
        for count, shared in zip(pooled, kind.pooled, strict=True):
            options += [(shared.kind, shared)] * count
        found |= dict(zip(members, options, strict=True))
    return found


def _build(matrices: Sequence[Matrix], units: list[list[Matrix]], taken: _Units, choice: Choice,
           config: AnalogConfig) -> Mapping:
    placements: list[Placement] = []
    factors: dict[str, tuple[Factor, ...]] = {}
    kind_of: dict[str, str] = {}
    shelves: Pieces = defaultdict(list)
    arrays = 0
    for number, unit in enumerate(units):
        kind, pooled = taken[number]
        for matrix in unit:
            factors[matrix.name] = matrix.dense() if kind == "linear" else matrix.monarch()
            kind_of[matrix.name] = kind
        if pooled:
            for shelf, pieces in pieces_of(unit, config, kind, pooled.together).items():
                shelves[shelf] += pieces
            continue
        made = MAPPINGS[kind](unit, config.array, config.grain)
        placements += [replace(place, array=arrays + place.array) for place in made.placements]
        arrays += made.arrays
    for shelf, pieces in shelves.items():
        placements += place_pieces(shelf, pieces, arrays, choice.shelves[shelf])
        arrays += choice.shelves[shelf]
    return Mapping("hybrid", config.array, tuple(matrices),
                   tuple(factor for matrix in matrices for factor in factors[matrix.name]),
                   tuple(placements), arrays, tuple(kind_of[matrix.name] for matrix in matrices))


def _better_dense(found: Mapping, arrays: int, aim: Aim) -> Mapping:
    """Return the dense mapping, as a hybrid, if it fits and is better."""
    if not any(matrix.shared and matrix.blocks_in for matrix in found.matrices) or any(
            not matrix.blocks_in for matrix in found.matrices):
        return found
    other = dense(found.matrices, aim.config.array, aim.config.grain)
    if other.arrays > arrays or aim.measure(drives(other)) >= aim.measure(drives(found)):
        return found
    return replace(other, name="hybrid", kinds=("dense",) * len(found.matrices))
