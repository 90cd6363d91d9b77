"""Arrays as grids of slots for blocks of one padded shape, and two ways to fill them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from cimforge_sw.analog.factors import Block, Factor, padded
from cimforge_sw.analog.placement import Placement

__all__ = ["Pool", "Strip", "by_pool", "fill_diagonals", "fill_slots", "pool_of", "strips"]

#: Diagonals that belong into one array: those of the same blocks of factors with a shared input.
Strip = list[tuple[Block, ...]]


@dataclass(frozen=True)
class Pool:
    """Arrays that hold blocks of one padded shape.

    Parameters
    ----------
    array : int
        m.
    rows, cols : int
        Of a slot, powers of two.
    """

    array: int
    rows: int
    cols: int

    @property
    def down(self) -> int:
        """Slots in a column."""
        return self.array // self.rows

    @property
    def across(self) -> int:
        """Slots in a row, which is as many diagonals as an array holds."""
        return self.array // self.cols

    @property
    def slots(self) -> int:
        """Slots of an array."""
        return self.down * self.across

    def place(self, block: Block, array: int, down: int, across: int, drive: int) -> Placement:
        """Return a block in a slot of an array."""
        return Placement(block, array, down * self.rows, across * self.cols, self.rows, self.cols,
                         drive)


def pool_of(block: Block, array: int, grain: int) -> Pool:
    """Return the pool that a block belongs to."""
    return Pool(array, padded(min(block.factor.rows, array), array, grain),
                padded(min(block.factor.cols, array), array, grain))


def by_pool(factors: Sequence[Factor], array: int, grain: int) -> dict[Pool, list[Factor]]:
    """Return factors by the shape that their blocks take."""
    pools: dict[Pool, list[Factor]] = defaultdict(list)
    for factor in factors:
        pools[pool_of(factor.blocks(array)[0], array, grain)].append(factor)
    return pools


def strips(factors: Sequence[Factor], pool: Pool, together: bool = True) -> list[Strip]:
    """Return the diagonals of factors; those that share their inputs side by side.

    Parameters
    ----------
    factors : sequence of Factor
        Of one pool.
    pool : Pool
    together : bool
        False: every diagonal is a strip of its own.
    """
    groups: dict[object, list[tuple[Block, ...]]] = defaultdict(list)
    for n, factor in enumerate(factors):
        blocks = factor.blocks(pool.array)
        same = (factor.shared, factor.count, factor.rows, len(blocks))
        groups[same if factor.shared and together else n].append(blocks)
    found: list[Strip] = []
    for members in groups.values():
        cut = [[blocks[i:i + pool.down] for i in range(0, len(blocks), pool.down)]
               for blocks in members]
        found += [list(diagonals) for diagonals in zip(*cut, strict=True)]
    return found


def fill_diagonals(pool: Pool, wanted: Sequence[Strip], first: int, count: int) -> list[Placement]:
    """Pack strips into arrays ``first … first + count - 1``, in turn.

    Diagonal i of an array holds its block d at slot (d, (d + i) mod slots across). A strip lies in
    one array unless none has room; then its diagonals go where there is some.
    """
    placements: list[Placement] = []
    fill = [0] * count  # diagonals in every array
    turn = 0
    for strip in wanted:
        together = _roomy(fill, turn, len(strip), pool.across)
        for diagonal in strip:
            at = together
            if at is None:  # no array takes the whole strip
                at = next(a % count for a in range(turn, turn + count)
                          if fill[a % count] < pool.across)
            placements += [pool.place(block, first + at, d, (d + fill[at]) % pool.across, d)
                           for d, block in enumerate(diagonal)]
            fill[at] += 1
            turn = at + 1
    return placements


def fill_slots(pool: Pool, blocks: Sequence[Block], first: int, count: int) -> list[Placement]:
    """Deal blocks out to arrays ``first … first + count - 1``: each is a drive of its own."""
    return [pool.place(block, first + n % count, n // count % pool.down, n // count // pool.down,
                       n // count) for n, block in enumerate(blocks)]


def _roomy(fill: list[int], start: int, wanted: int, room: int) -> int | None:
    """Return the first array from ``start`` on, cyclically, that has room for ``wanted``."""
    return next((at % len(fill) for at in range(start, start + len(fill))
                 if fill[at % len(fill)] + wanted <= room), None)
