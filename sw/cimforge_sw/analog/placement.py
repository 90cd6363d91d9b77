"""A mapping as data: where every block lies, and which blocks are driven together."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from cimforge.spec.errors import DataError
from cimforge_sw.analog.factors import Block, Factor, Matrix

__all__ = ["Mapping", "Placement"]


@dataclass(frozen=True)
class Placement:
    """A block in an array.

    Parameters
    ----------
    block : Block
    array : int
    row, col : int
        Of the first cell.
    rows, cols : int
        Cells it takes, powers of two.
    drive : int
        Blocks of one matrix, stage and array with the same number are driven together.
    """

    block: Block
    array: int
    row: int
    col: int
    rows: int
    cols: int
    drive: int = 0


@dataclass(frozen=True, eq=False)
class Mapping:
    """Blocks of several matrices in arrays.

    Parameters
    ----------
    name : str
        ``"linear"``, ``"sparse"``, ``"dense"``, ``"scatter"`` or ``"hybrid"``.
    array : int
        m.
    matrices : tuple of Matrix
        All that are placed.
    factors : tuple of Factor
        What they are stored as.
    placements : tuple of Placement
    arrays : int
        Arrays taken.
    kinds : tuple of str
        Of a hybrid: the name of the mapping that each matrix has; empty: ``name``, all of them.

    Raises
    ------
    DataError
        Two matrices of one name, cells used twice, a block placed twice or not at all, or a block
        outside its array.
    """

    name: str
    array: int
    matrices: tuple[Matrix, ...]
    factors: tuple[Factor, ...]
    placements: tuple[Placement, ...]
    arrays: int
    kinds: tuple[str, ...] = ()

    def __post_init__(self):
        names = Counter(matrix.name for matrix in self.matrices)
        if twice := [name for name, count in names.items() if count > 1]:
            raise DataError(f"{self.name}: expected matrices of different names, not {twice[0]!r} "
                            f"{names[twice[0]]} times")
        self._check_cells()
        self._check_blocks()

    def _check_cells(self) -> None:
        box = np.array([(p.array, p.row, p.col, p.rows, p.cols, p.block.rows, p.block.cols)
                        for p in self.placements], dtype=np.int64).reshape(-1, 7)
        array, row, col, rows, cols, used_rows, used_cols = box.T
        inside = ((array >= 0) & (array < self.arrays) & (row >= 0) & (col >= 0)
                  & (row + rows <= self.array) & (col + cols <= self.array)
                  & (used_rows <= rows) & (used_cols <= cols))
        if not inside.all():
            place = self.placements[int(inside.argmin())]
            raise DataError(f"{self._say(place)} does not fit array {place.array} of {self.arrays} "
                            f"at row {place.row}, column {place.col}")
        second = _overlap(box[:, :5])
        if second is not None:
            place = self.placements[second]
            raise DataError(f"{self._say(place)} overlaps another block in array {place.array} at "
                            f"row {place.row}, column {place.col}")

    def _check_blocks(self) -> None:
        every = [block for factor in self.factors for block in factor.blocks(self.array)]
        mine = [place.block for place in self.placements]
        if sorted(map(id, every)) == sorted(map(id, mine)):
            return  # the usual case, without comparing blocks by their values
        wanted, placed = Counter(every), Counter(mine)
        for block, count in (wanted | placed).items():
            if placed[block] != wanted[block]:
                raise DataError(f"{self.name}: block {block.index} of {block.factor.matrix} "
                                f"{block.factor.stage} must be placed {wanted[block]} time(s), "
                                f"not {placed[block]} ({count} at most)")

    def _say(self, place: Placement) -> str:
        block = place.block
        return (f"{self.name}: block {block.index} of {block.factor.matrix} {block.factor.stage} "
                f"({place.rows} x {place.cols} cells)")

    def kind(self, matrix: int) -> str:
        """Return how a matrix, by its position, is mapped."""
        return self.kinds[matrix] if self.kinds else self.name

    @property
    def cells(self) -> int:
        """Cells of all arrays."""
        return self.arrays * self.array * self.array

    @property
    def utilization(self) -> float:
        """Cells inside placed blocks, padding included, over all cells."""
        return sum(place.rows * place.cols for place in self.placements) / self.cells

    @property
    def useful(self) -> float:
        """Cells that can meet a nonzero input and reach a kept output, over all cells."""
        return useful_cells(self.matrices, self.placements) / self.cells

    def of(self, matrix: str, stage: str) -> list[Placement]:
        """Return the placements of one factor."""
        return [place for place in self.placements
                if (place.block.factor.matrix, place.block.factor.stage) == (matrix, stage)]


def _overlap(box: np.ndarray) -> int | None:
    """Return the first box that takes cells of an earlier one; [P, 5]: array, corner, size.

    Cells are counted in squares as large as all boxes allow: sums over a plane whose differences
    stand at the corners of the boxes.
    """
    if not len(box):
        return None
    unit = int(np.gcd.reduce(box[:, 1:], axis=None))
    array, (top, left, rows, cols) = box[:, 0], box[:, 1:].T // unit
    bottom, right = top + rows, left + cols
    plane = np.zeros((array.max() + 1, bottom.max() + 1, right.max() + 1), dtype=np.int32)
    for sign, row, col in ((1, top, left), (-1, bottom, left), (-1, top, right),
                           (1, bottom, right)):
        np.add.at(plane, (array, row, col), sign)
    crowded = np.argwhere(plane.cumsum(1).cumsum(2) > 1)
    if not len(crowded):
        return None
    there, row, col = crowded[0]
    return int(np.flatnonzero((array == there) & (top <= row) & (row < bottom)
                              & (left <= col) & (col < right))[1])


def useful_cells(matrices: Sequence[Matrix], placements: Iterable[Placement]) -> int:
    """Return the cells that matter: what only zero padding reaches, or only cut outputs, does not.

    Of a layer padded to a square, the inputs past K are zero: rows of R that take them, whole
    blocks where all do, do nothing; and so do the columns of L that are cut, and the columns of R
    and rows of L that lead to blocks of L with no kept column.
    """
    # Names go, so that equal blocks of a model's layers are counted once.
    plain = {matrix.name: replace(matrix, name="", shared="") for matrix in matrices}
    return sum(_live(plain[place.block.factor.matrix], place.block.factor.stage,
                     place.block.index, (place.block.first_row, place.block.rows),
                     (place.block.first_col, place.block.cols)) for place in placements)


@lru_cache(maxsize=1 << 16)
def _live(matrix: Matrix, stage: str, index: int, rows: tuple[int, int],
          cols: tuple[int, int]) -> int:
    """Return the useful cells of a block; strided order on both sides, see `Monarch`."""
    if stage == "W":
        return rows[1] * cols[1]
    row, col = (first + np.arange(count) for first, count in (rows, cols))
    if stage == "R":
        k = matrix.blocks_in
        live_rows = row * k + index % k < matrix.inputs  # input i * k + block
        live_cols = col < matrix.outputs  # output block j has a kept output if its first one is
    else:
        live_rows = row % matrix.blocks_in < matrix.inputs  # input block k has a live input
        live_cols = col * matrix.blocks_out + index < matrix.outputs
    return int(live_rows.sum() * live_cols.sum())
