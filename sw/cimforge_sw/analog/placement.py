"""A mapping as data: where every block lies, and which blocks are driven together."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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

    Raises
    ------
    DataError
        Cells used twice, a block placed twice or not at all, or a block outside its array.
    """

    name: str
    array: int
    matrices: tuple[Matrix, ...]
    factors: tuple[Factor, ...]
    placements: tuple[Placement, ...]
    arrays: int

    def __post_init__(self):
        self._check_cells()
        self._check_blocks()

    def _check_cells(self) -> None:
        used = np.zeros((self.arrays, self.array, self.array), dtype=bool)
        for place in self.placements:
            box = (place.array, slice(place.row, place.row + place.rows),
                   slice(place.col, place.col + place.cols))
            inside = (0 <= place.array < self.arrays and place.row >= 0 and place.col >= 0
                      and place.row + place.rows <= self.array
                      and place.col + place.cols <= self.array
                      and place.block.rows <= place.rows and place.block.cols <= place.cols)
            if not inside:
                raise DataError(f"{self._say(place)} does not fit array {place.array} of "
                                f"{self.arrays} at row {place.row}, column {place.col}")
            if used[box].any():
                raise DataError(f"{self._say(place)} overlaps another block in array "
                                f"{place.array} at row {place.row}, column {place.col}")
            used[box] = True

    def _check_blocks(self) -> None:
        wanted = Counter(block for factor in self.factors for block in factor.blocks(self.array))
        placed = Counter(place.block for place in self.placements)
        for block, count in (wanted | placed).items():
            if placed[block] != wanted[block]:
                raise DataError(f"{self.name}: block {block.index} of {block.factor.matrix} "
                                f"{block.factor.stage} must be placed {wanted[block]} time(s), "
                                f"not {placed[block]} ({count} at most)")

    def _say(self, place: Placement) -> str:
        block = place.block
        return (f"{self.name}: block {block.index} of {block.factor.matrix} {block.factor.stage} "
                f"({place.rows} x {place.cols} cells)")

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


def useful_cells(matrices: Sequence[Matrix], placements: Iterable[Placement]) -> int:
    """Return the cells that matter: what only zero padding reaches, or only cut outputs, does not.

    Of a layer padded to a square, the inputs past K are zero: rows of R that take them, whole
    blocks where all do, do nothing; and so do the columns of L that are cut, and the columns of R
    and rows of L that lead to blocks of L with no kept column.
    """
    by_name = {matrix.name: matrix for matrix in matrices}
    return sum(_live(by_name[place.block.factor.matrix], place.block) for place in placements)


def _live(matrix: Matrix, block: Block) -> int:
    """Return the useful cells of a block; strided order on both sides, see `Monarch`."""
    factor = block.factor
    rows = np.arange(block.first_row, block.first_row + block.rows)
    cols = np.arange(block.first_col, block.first_col + block.cols)
    if factor.stage == "R":
        k = matrix.blocks_in
        live_rows = rows * k + block.index % k < matrix.inputs  # input i * k + block
        live_cols = cols < matrix.outputs  # output block j has a kept output if its first one is
    elif factor.stage == "L":
        live_rows = rows % matrix.blocks_in < matrix.inputs  # input block k has a live input
        live_cols = cols * matrix.blocks_out + block.index < matrix.outputs
    else:
        return block.rows * block.cols
    return int(live_rows.sum() * live_cols.sum())
