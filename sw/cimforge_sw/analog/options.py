"""What each layer can do in a hybrid mapping, and what that costs on how many arrays."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import ConfigError
from cimforge_sw.analog.cost import energy, events
from cimforge_sw.analog.drives import Drives, Rule, drives
from cimforge_sw.analog.factors import Matrix
from cimforge_sw.analog.latency import latency
from cimforge_sw.analog.mappings import MAPPINGS
from cimforge_sw.analog.placement import Mapping, Placement
from cimforge_sw.analog.pools import Pool, Strip, by_pool, fill_diagonals, fill_slots, strips
from cimforge_sw.analog.tech import Technology

__all__ = ["OBJECTIVES", "Aim", "Fixed", "Pieces", "Pooled", "Shelf", "fixed_options", "pieces_of",
           "place_pieces", "pooled_options"]

OBJECTIVES = ("interval", "serial", "energy")

#: What a unit puts on each shelf: strips of diagonals, or blocks as strips of their own.
Pieces = dict["Shelf", list[Strip]]
_Levels = dict["Shelf", list[tuple[int, tuple[float, ...]]]]


@dataclass(frozen=True)
class Aim:
    """What a hybrid minimizes, and for which hardware.

    Parameters
    ----------
    objective : str
        ``"interval"`` or ``"serial"`` latency, per array, or ``"energy"``.
    config : AnalogConfig
    rule : Rule
    technology : Technology

    Raises
    ------
    ConfigError
        Another objective.
    """

    objective: str
    config: AnalogConfig
    rule: Rule
    technology: Technology

    def __post_init__(self):
        if self.objective not in OBJECTIVES:
            raise ConfigError(f"objective must be one of {', '.join(OBJECTIVES)}, not "
                              f"{self.objective!r}")

    def measure(self, work: Drives) -> float:
        """Return cycles or fJ of a mapping's drives."""
        if self.objective == "energy":
            return energy(events(work, self.config, self.rule), self.technology).total
        return getattr(latency(work, self.config, self.rule), self.objective)


@dataclass(frozen=True)
class Shelf:
    """Arrays for pieces of one kind and size, dealt out in turn.

    Parameters
    ----------
    kind : str
        ``"dense"``: a piece is a strip of diagonals; ``"scatter"``: a block.
    pool : Pool
    width : int
        Diagonals of a strip.
    """

    kind: str
    pool: Pool
    width: int = 1

    @property
    def room(self) -> int:
        """Pieces that an array holds."""
        return self.pool.slots if self.kind == "scatter" else self.pool.across // self.width


@dataclass(frozen=True)
class Fixed:
    """A unit in arrays of its own: linear or sparse."""

    kind: str
    arrays: int
    cost: float


@dataclass(frozen=True)
class Pooled:
    """A unit on shelves that it shares with others: dense or scatter.

    Parameters
    ----------
    kind : str
    together : bool
        Of dense: factors with a shared input side by side.
    pieces : dict of Shelf to int
    levels : dict of Shelf to list of (arrays, costs)
        Costs with so many arrays on the shelf or more, up to the next entry; of each stage for
        ``"serial"``, otherwise one. A stage takes as long as its slowest shelf.
    """

    kind: str
    together: bool
    pieces: dict[Shelf, int]
    levels: _Levels

    @property
    def least(self) -> float:
        """Cost with every piece in an array of its own."""
        last = [levels[-1][1] for levels in self.levels.values()]
        return sum(max(stage) for stage in zip(*last, strict=True))


def pieces_of(matrices: Sequence[Matrix], config: AnalogConfig, kind: str, together: bool
              ) -> Pieces:
    """Return what a unit puts on each shelf."""
    found: Pieces = defaultdict(list)
    factors = [factor for matrix in matrices for factor in matrix.monarch()]
    for pool, members in by_pool(factors, config.array, config.grain).items():
        if kind == "scatter":
            found[Shelf(kind, pool)] += [[(block,)] for factor in members
                                         for block in factor.blocks(config.array)]
            continue
        for strip in strips(members, pool, together):
            found[Shelf(kind, pool, len(strip))].append(strip)
    return dict(found)


def place_pieces(shelf: Shelf, pieces: list[Strip], first: int, count: int
                 ) -> list[Placement]:
    """Deal pieces out to arrays ``first … first + count - 1``."""
    if shelf.kind == "scatter":
        return fill_slots(shelf.pool, [block for ((block,),) in pieces], first, count)
    return fill_diagonals(shelf.pool, pieces, first, count)


def fixed_options(matrices: Sequence[Matrix], aim: Aim, linear: bool = True) -> list[Fixed]:
    """Return a unit's options that share no array: linear, and sparse where it has blocks.

    With ``linear`` false, only what has no blocks is linear.
    """
    kinds = ("linear", "sparse")[not linear:] if _monarch(matrices) else ("linear",)
    made = [MAPPINGS[kind](matrices, aim.config.array, aim.config.grain) for kind in kinds]
    return [Fixed(mapping.name, mapping.arrays, aim.measure(drives(mapping))) for mapping in made]


def pooled_options(matrices: Sequence[Matrix], aim: Aim) -> list[Pooled]:
    """Return a unit's options on shelves: dense and scatter."""
    if not _monarch(matrices):
        return []
    found = [_pooled(matrices, aim, "scatter", False), _pooled(matrices, aim, "dense", False)]
    side_by_side = pieces_of(matrices, aim.config, "dense", True)
    if len(matrices) > 1 and all(shelf.room for shelf in side_by_side):  # not too wide for an array
        found.append(_pooled(matrices, aim, "dense", True))
    return found


def _monarch(matrices: Sequence[Matrix]) -> bool:
    return all(matrix.blocks_in for matrix in matrices)


def _pooled(matrices: Sequence[Matrix], aim: Aim, kind: str, together: bool) -> Pooled:
    """Price a unit by its pieces, each in an array of its own."""
    config = aim.config
    pieces = pieces_of(matrices, config, kind, together)
    placements: list[Placement] = []
    first: dict[Shelf, int] = {}
    arrays = 0
    for shelf, mine in pieces.items():
        first[shelf] = arrays
        placements += place_pieces(shelf, mine, arrays, len(mine))
        arrays += len(mine)
    factors = tuple(factor for matrix in matrices for factor in matrix.monarch())
    work = drives(Mapping(kind, config.array, tuple(matrices), factors, tuple(placements), arrays))
    if aim.objective == "energy":
        # Neighbours are not known yet: all columns of a driven row count as programmed.
        full = replace(work, cells=work.rows * config.array)
        # Not a matter of arrays: the first shelf stands for all.
        levels: _Levels = {shelf: [(1, (aim.measure(full) if n == 0 else 0.0,))]
                           for n, shelf in enumerate(pieces)}
        return Pooled(kind, together, {s: len(p) for s, p in pieces.items()}, levels)
    cycles = work.durations(config, aim.rule)
    busy = np.array([np.bincount(work.array, cycles * (work.stage == stage), arrays)
                     for stage in (0, 1)])
    if aim.objective == "interval":
        busy = busy.sum(axis=0, keepdims=True)
    return Pooled(kind, together, {s: len(p) for s, p in pieces.items()}, {
        shelf: _levels(busy[:, first[shelf]:first[shelf] + len(mine)])
        for shelf, mine in pieces.items()})


def _levels(busy: np.ndarray) -> list[tuple[int, tuple[float, ...]]]:
    """Return the costs [stages] of each number of arrays, where they change.

    ``busy`` [stages, pieces] are the cycles of pieces that are dealt out in turn; from as many
    arrays as pieces on, nothing changes any more.
    """
    count = busy.shape[1]
    found: list[tuple[int, tuple[float, ...]]] = []
    for size in range(1, count + 1):
        turn = np.arange(count) % size
        costs = tuple(float(np.bincount(turn, stage).max()) for stage in busy)
        if not found or costs != found[-1][1]:
            found.append((size, costs))
    return found
