"""Where the vectors of layers that share an input lie in the tile's memories, for two tokens."""

from collections.abc import Iterable, Sequence

from cimforge.spec.errors import DataError
from cimforge_sw.analog.factors import Matrix
from cimforge_sw.analog.placement import Placement

__all__ = ["Layout"]

#: Regions of each kind; tokens take turns.
TOKENS = 2


class Layout:
    """Regions of the activation and the accumulation memory, and the addresses of blocks in them.

    Inputs and outputs lie in natural order. A Monarch layer's hidden vector is stored as
    ``[j, r, k]``, each j padded to what L's blocks read, so that R's block (r, k) writes with the
    stride of j and L's block j reads consecutively: the permutation between the stages. Padded
    sides are whole grains, so every region begins with a beat.

    Parameters
    ----------
    array : int
        m.
    matrices : sequence of Matrix
        Of equal inputs and Monarch structure.
    places : iterable of Placement
        Their blocks.

    Attributes
    ----------
    number : dict of str to int
        Position of each matrix, by name.
    places : list of Placement
        By matrix and block: address generators begin with the first that they reach.
    acts, sums : int
        Words of both memories that two tokens need.

    Raises
    ------
    DataError
        Layers that do not share an input and a structure.
    """

    def __init__(self, array: int, matrices: Sequence[Matrix], places: Iterable[Placement]):
        first = matrices[0]
        for other in matrices[1:]:
            if (first.structure, first.shared or None) != (other.structure, other.shared):
                raise DataError(f"{first.name} and {other.name} do not share an input and a "
                                "structure: schedule them one by one")
        self.number = {matrix.name: n for n, matrix in enumerate(matrices)}
        self.matrices = tuple(matrices)
        self._k, self._j = first.blocks_in, first.blocks_out
        self.places = sorted(places, key=lambda place: (
            self.number[place.block.factor.matrix], place.block.index))
        self._sizes(array, {(place.block.factor.matrix, place.block.factor.stage):
                            (place.rows, place.cols) for place in self.places})
        self.acts = TOKENS * (self._input + len(matrices) * self._hidden)
        # Sums of cut blocks lie where the hidden vector will; outputs must not lie there, too.
        hidden, outputs = TOKENS * self._input, TOKENS * sum(self._outputs)
        self._outputs_at = self.acts if self._cut_inputs and outputs > hidden else 0
        self.sums = max(self.acts if self._cut_inputs else 0, self._outputs_at + outputs)

    def _sizes(self, array: int, cells: dict[tuple[str, str], tuple[int, int]]) -> None:
        """Work out the region of one input, one hidden vector, and each output."""
        first = self.matrices[0]

        def side(size: int, matrix: Matrix, stage: str, axis: int) -> int:
            # A block that is cut takes whole arrays, the last part of it as well.
            return -(-size // array) * array if size > array else cells[matrix.name, stage][axis]

        self._cut_inputs, self._pitch, self._hidden = False, 1, 0
        if (first.name, "W") in cells:
            self._input = side(first.inputs, first, "W", 0)
            self._outputs = [side(m.outputs, m, "W", 1) for m in self.matrices]
            return
        rows = first.wide_inputs // self._k
        self._cut_inputs = rows > array
        self._input = side(rows, first, "R", 0) * self._k
        self._pitch = side(self._k * first.rank, first, "L", 0)
        self._hidden = side(self._j, first, "R", 1) * self._pitch
        self._outputs = [side(m.wide_outputs // self._j, m, "L", 1) * self._j
                         for m in self.matrices]

    # -- regions ------------------------------------------------------------------------------

    def input(self, token: int) -> int:
        """Return the address of a token's input."""
        return token % TOKENS * self._input

    def outputs(self, token: int) -> list[tuple[int, int]]:
        """Return address and number of every layer's results."""
        turn = token % TOKENS * sum(self._outputs)
        return [(turn + self._output_at(n), matrix.outputs)
                for n, matrix in enumerate(self.matrices)]

    def moves(self, stage: str, token: int) -> tuple[int, int]:
        """Return how far a token's source and target of a stage are from those of token 0."""
        turn, hidden = token % TOKENS, len(self.matrices) * self._hidden
        source, target = {"W": (self._input, sum(self._outputs)), "R": (self._input, hidden),
                          "L": (hidden, sum(self._outputs))}[stage]
        return turn * source, turn * target

    def _hidden_at(self, matrix: int) -> int:
        return TOKENS * self._input + matrix * self._hidden

    def _output_at(self, matrix: int) -> int:
        return self._outputs_at + sum(self._outputs[:matrix])

    # -- addresses of token 0 -----------------------------------------------------------------

    def strides(self, stage: str) -> tuple[int, int]:
        """Return the distance of a block's inputs, and of its outputs."""
        return {"W": (1, 1), "R": (self._k, self._pitch), "L": (1, self._j)}[stage]

    def source(self, place: Placement) -> int:
        """Return the address of a block's first input."""
        block, stage = place.block, place.block.factor.stage
        if stage == "W":
            return block.first_row
        if stage == "R":
            return block.index % self._k + block.first_row * self._k
        return (self._hidden_at(self.number[block.factor.matrix]) + block.index * self._pitch
                + block.first_row)

    def target(self, place: Placement) -> int:
        """Return the address of a block's first output."""
        block, factor = place.block, place.block.factor
        number = self.number[factor.matrix]
        if factor.stage == "W":
            return self._output_at(number) + block.first_col
        if factor.stage == "R":
            return self._hidden_at(number) + block.first_col * self._pitch + block.index
        return self._output_at(number) + block.index + block.first_col * self._j
