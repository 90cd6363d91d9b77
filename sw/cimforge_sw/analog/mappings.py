"""Four ways to lay factors out in arrays; each returns a checked `Mapping`.

Linear and sparse are baselines, dense packs diagonals of blocks (all three after arXiv 2510.11192);
scatter, ours, spreads the blocks of each factor over all arrays.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cimforge.spec.errors import ConfigError
from cimforge_sw.analog.factors import Block, Factor, Matrix, padded
from cimforge_sw.analog.placement import Mapping, Placement

__all__ = ["MAPPINGS", "dense", "linear", "scatter", "sparse"]


@dataclass(frozen=True)
class _Pool:
    """Arrays that hold blocks of one padded shape, as a grid of slots."""

    array: int
    rows: int
    cols: int

    @property
    def down(self) -> int:
        return self.array // self.rows

    @property
    def across(self) -> int:
        return self.array // self.cols

    @property
    def slots(self) -> int:
        return self.down * self.across

    def place(self, block: Block, array: int, down: int, across: int, drive: int) -> Placement:
        return Placement(block, array, down * self.rows, across * self.cols, self.rows, self.cols,
                         drive)


def linear(matrices: Sequence[Matrix], array: int, grain: int = 1) -> Mapping:
    """Tile every dense matrix m x m, each tile in an array of its own."""
    factors = tuple(factor for matrix in matrices for factor in matrix.dense())
    placements: list[Placement] = []
    for factor in factors:
        for block in factor.blocks(array):
            placements.append(Placement(
                block, len(placements), 0, 0, padded(block.rows, array, grain),
                padded(block.cols, array, grain)))
    return Mapping("linear", array, tuple(matrices), factors, tuple(placements), len(placements))


def sparse(matrices: Sequence[Matrix], array: int, grain: int = 1) -> Mapping:
    """Put blocks on the natural diagonal of arrays of their own: a whole array is one drive."""
    factors = _monarch(matrices)
    placements: list[Placement] = []
    arrays = 0
    for factor in factors:
        blocks = list(factor.blocks(array))
        pool = _pool(blocks[0], array, grain)
        per_array = min(pool.down, pool.across)
        for n, block in enumerate(blocks):
            at = n % per_array
            placements.append(pool.place(block, arrays + n // per_array, at, at, 0))
        arrays += -(-len(blocks) // per_array)
    return Mapping("sparse", array, tuple(matrices), factors, tuple(placements), arrays)


def dense(matrices: Sequence[Matrix], array: int, grain: int = 1) -> Mapping:
    """Pack the diagonals of all factors; those of one factor lie in different arrays.

    A diagonal is as many blocks of a factor as an array has rows of slots; diagonal i of an array
    holds its block d at slot (d, (d + i) mod slots across). Factors that share an input put
    diagonals of the same input blocks side by side: a row of them is one drive.
    """
    factors = _monarch(matrices)
    placements: list[Placement] = []
    arrays = 0
    for pool, members in _pools(factors, array, grain).items():
        strips = _strips(members, pool, array)
        fill = [0] * -(-sum(map(len, strips)) // pool.across)  # diagonals in every array
        turn = 0
        for strip in strips:
            together = _roomy(fill, turn, len(strip), pool.across)
            for diagonal in strip:
                at = together
                if at is None:  # no array takes the whole strip
                    at = next(a % len(fill) for a in range(turn, turn + len(fill))
                              if fill[a % len(fill)] < pool.across)
                placements += _diagonal(pool, diagonal, arrays + at, fill[at])
                fill[at] += 1
                turn = at + 1
        arrays += len(fill)
    return Mapping("dense", array, tuple(matrices), factors, tuple(placements), arrays)


def scatter(matrices: Sequence[Matrix], array: int, grain: int = 1, arrays: int = 0) -> Mapping:
    """Spread the blocks of every factor over all arrays, which then convert in parallel.

    Only one layer is active at a time while all weights stay resident, so blocks of different
    layers share arrays.

    Parameters
    ----------
    matrices, array, grain
        As for the others.
    arrays : int
        Arrays to use per shape of blocks; 0: as few as hold them.

    Raises
    ------
    ConfigError
        Too few arrays.
    """
    factors = _monarch(matrices)
    placements: list[Placement] = []
    first = 0
    for pool, members in _pools(factors, array, grain).items():
        blocks = [block for factor in members for block in factor.blocks(array)]
        least = -(-len(blocks) // pool.slots)
        count = arrays or least
        if count < least:
            raise ConfigError(f"scatter: {len(blocks)} blocks of {pool.rows} x {pool.cols} need "
                              f"{least} arrays, not {count}")
        for n, block in enumerate(blocks):
            slot = n // count
            placements.append(pool.place(block, first + n % count, slot % pool.down,
                                         slot // pool.down, slot))
        first += count
    return Mapping("scatter", array, tuple(matrices), factors, tuple(placements), first)


def _monarch(matrices: Iterable[Matrix]) -> tuple[Factor, ...]:
    return tuple(factor for matrix in matrices for factor in matrix.monarch())


def _pool(block: Block, array: int, grain: int) -> _Pool:
    return _Pool(array, padded(min(block.factor.rows, array), array, grain),
                 padded(min(block.factor.cols, array), array, grain))


def _pools(factors: Sequence[Factor], array: int, grain: int) -> dict[_Pool, list[Factor]]:
    """Return factors by the shape that their blocks take."""
    pools: dict[_Pool, list[Factor]] = defaultdict(list)
    for factor in factors:
        pools[_pool(next(factor.blocks(array)), array, grain)].append(factor)
    return pools


def _strips(factors: Sequence[Factor], pool: _Pool, array: int) -> list[list[list[Block]]]:
    """Return groups of diagonals that belong into one array: those that share their inputs."""
    groups: dict[object, list[Factor]] = defaultdict(list)
    for n, factor in enumerate(factors):
        same = (factor.shared, factor.count, factor.rows) if factor.shared else n
        groups[same].append(factor)
    strips = []
    for members in groups.values():
        cut = [[blocks[i:i + pool.down] for i in range(0, len(blocks), pool.down)]
               for blocks in (list(factor.blocks(array)) for factor in members)]
        strips += [list(diagonals) for diagonals in zip(*cut, strict=True)]
    return strips


def _roomy(fill: list[int], start: int, wanted: int, room: int) -> int | None:
    """Return the first array from ``start`` on, cyclically, that has room for ``wanted``."""
    return next((at % len(fill) for at in range(start, start + len(fill))
                 if fill[at % len(fill)] + wanted <= room), None)


def _diagonal(pool: _Pool, blocks: Sequence[Block], array: int, index: int) -> list[Placement]:
    return [pool.place(block, array, d, (d + index) % pool.across, d)
            for d, block in enumerate(blocks)]


MAPPINGS = {"linear": linear, "sparse": sparse, "dense": dense, "scatter": scatter}
