"""Four ways to lay factors out in arrays; each returns a checked `Mapping`.

Linear and sparse are baselines, dense packs diagonals of blocks (all three after arXiv 2510.11192);
scatter, ours, spreads the blocks of each factor over all arrays. `cimforge_sw.analog.hybrid`
chooses between them.
"""

from collections.abc import Iterable, Sequence

from cimforge.spec.checks import check_integer, check_power_of_two
from cimforge.spec.errors import ConfigError
from cimforge_sw.analog.factors import Factor, Matrix, padded
from cimforge_sw.analog.placement import Mapping, Placement
from cimforge_sw.analog.pools import by_pool, fill_diagonals, fill_slots, pool_of, strips

__all__ = ["MAPPINGS", "dense", "linear", "scatter", "sparse"]


def linear(matrices: Sequence[Matrix], array: int, grain: int = 1) -> Mapping:
    """Tile every dense matrix m x m, each tile in an array of its own.

    Parameters
    ----------
    matrices : sequence of Matrix
    array, grain : int
        m, and the rows and columns that blocks are multiples of; powers of two, grain at most m.

    Raises
    ------
    ConfigError
        Another array or grain.
    """
    _check_sides(array, grain)
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
    _check_sides(array, grain)
    factors = _monarch(matrices)
    placements: list[Placement] = []
    arrays = 0
    for factor in factors:
        blocks = factor.blocks(array)
        pool = pool_of(blocks[0], array, grain)
        per_array = min(pool.down, pool.across)
        for n, block in enumerate(blocks):
            at = n % per_array
            placements.append(pool.place(block, arrays + n // per_array, at, at, 0))
        arrays += -(-len(blocks) // per_array)
    return Mapping("sparse", array, tuple(matrices), factors, tuple(placements), arrays)


def dense(matrices: Sequence[Matrix], array: int, grain: int = 1, together: bool = True) -> Mapping:
    """Pack the diagonals of all factors; those of one factor lie in different arrays.

    A diagonal is as many blocks of a factor as an array has rows of slots; diagonal i of an array
    holds its block d at slot (d, (d + i) mod slots across).

    Parameters
    ----------
    matrices, array, grain
        As for the others.
    together : bool
        Factors that share an input put diagonals of the same input blocks side by side: a row of
        them is one drive. False: they go to arrays of their own and run at once, as in the paper.
    """
    _check_sides(array, grain)
    factors = _monarch(matrices)
    placements: list[Placement] = []
    arrays = 0
    for pool, members in by_pool(factors, array, grain).items():
        wanted = strips(members, pool, together)
        count = -(-sum(map(len, wanted)) // pool.across)
        placements += fill_diagonals(pool, wanted, arrays, count)
        arrays += count
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
        Too few arrays, or a size that is none.
    """
    _check_sides(array, grain)
    check_integer("arrays", arrays, 0)
    factors = _monarch(matrices)
    placements: list[Placement] = []
    first = 0
    for pool, members in by_pool(factors, array, grain).items():
        blocks = [block for factor in members for block in factor.blocks(array)]
        least = -(-len(blocks) // pool.slots)
        count = arrays or least
        if count < least:
            raise ConfigError(f"scatter: {len(blocks)} blocks of {pool.rows} x {pool.cols} need "
                              f"{least} arrays, not {count}")
        placements += fill_slots(pool, blocks, first, count)
        first += count
    return Mapping("scatter", array, tuple(matrices), factors, tuple(placements), first)


def _check_sides(array: int, grain: int) -> None:
    check_power_of_two("array", array, 1)
    check_power_of_two("grain", grain, 1, array)


def _monarch(matrices: Iterable[Matrix]) -> tuple[Factor, ...]:
    return tuple(factor for matrix in matrices for factor in matrix.monarch())


MAPPINGS = {"linear": linear, "sparse": sparse, "dense": dense, "scatter": scatter}
