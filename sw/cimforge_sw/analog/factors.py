"""What is stored in arrays: dense matrices and the block-diagonal factors of Monarch matrices."""

from dataclasses import dataclass
from functools import lru_cache

from cimforge.spec.checks import check_integer
from cimforge.spec.errors import ConfigError

__all__ = ["Block", "Factor", "Matrix", "padded"]


def padded(size: int, array: int, grain: int) -> int:
    """Return the side that a block of ``size`` takes in an array: the next power of two.

    >>> [padded(size, 64, 8) for size in (3, 8, 12, 64)]
    [8, 8, 16, 64]
    """
    return max(grain, 1 << (size - 1).bit_length()) if size <= array else array


@dataclass(frozen=True)
class Block:
    """A part of a factor that fits one array.

    Parameters
    ----------
    factor : Factor
    index : int
        Which block of the factor.
    first_row, first_col : int
        Of the part inside its block, which is larger than an array where they are not 0.
    rows, cols : int
        Inputs and outputs of the part.
    """

    factor: "Factor"
    index: int
    first_row: int
    first_col: int
    rows: int
    cols: int


@dataclass(frozen=True)
class Factor:
    """Equal blocks on a diagonal, and the matrix they belong to.

    Parameters
    ----------
    matrix : str
        Name of the layer.
    stage : str
        ``"W"``: the dense matrix, one block; ``"R"`` and ``"L"``: first and second Monarch factor.
    count : int
        Blocks. Of R with rank r: ``r * k`` blocks, rank-major; block ``r * k + b`` takes input
        block b.
    rows, cols : int
        Inputs and outputs of a block; the inputs of L's are rank-major as well.
    rank : int
        r of the Monarch form.
    shared : str
        Factors with the same nonempty name have the same input vector (Q, K, V).
    """

    matrix: str
    stage: str
    count: int
    rows: int
    cols: int
    rank: int = 1
    shared: str = ""

    @property
    def weights(self) -> int:
        """Weights that are not zero by structure."""
        return self.count * self.rows * self.cols

    def blocks(self, array: int) -> "tuple[Block, ...]":
        """Return the parts that fit arrays of ``array`` rows and columns."""
        return _blocks(self, array)


@lru_cache(maxsize=1 << 14)  # the layers of a model, mapped in several ways
def _blocks(factor: Factor, array: int) -> tuple[Block, ...]:
    return tuple(
        Block(factor, index, row, col, min(array, factor.rows - row), min(array, factor.cols - col))
        for index in range(factor.count) for row in range(0, factor.rows, array)
        for col in range(0, factor.cols, array))


@dataclass(frozen=True)
class Matrix:
    """A linear layer ``y = W x`` by its shape, and its Monarch structure.

    Parameters
    ----------
    name : str
    outputs, inputs : int
        O and K of the layer, before any padding.
    blocks_in, blocks_out, rank : int
        k, j and r of the Monarch form; k = 0: none.
    padded_outputs, padded_inputs : int
        What the layer is padded to before it is factored; 0: nothing.
    shared : str
        Matrices with the same nonempty name have the same input (Q, K, V).

    Raises
    ------
    ConfigError
        A size that is none, padding that cuts, or blocks that do not divide the (padded) layer.
    """

    name: str
    outputs: int
    inputs: int
    blocks_in: int = 0
    blocks_out: int = 0
    rank: int = 1
    padded_outputs: int = 0
    padded_inputs: int = 0
    shared: str = ""

    def __post_init__(self):
        for name, low in (("outputs", 1), ("inputs", 1), ("blocks_in", 0), ("blocks_out", 0),
                          ("rank", 1)):
            check_integer(f"{self.name}: {name}", getattr(self, name), low)
        for name, wide in (("outputs", self.padded_outputs), ("inputs", self.padded_inputs)):
            check_integer(f"{self.name}: padded_{name}", wide, getattr(self, name) if wide else 0)
        if self.blocks_in == 0:
            return
        for side, size, blocks in (("inputs", self.wide_inputs, self.blocks_in),
                                   ("outputs", self.wide_outputs, self.blocks_out)):
            if blocks < 1 or size % blocks:
                raise ConfigError(f"{self.name}: {blocks} blocks do not divide {size} {side}")

    @property
    def structure(self) -> tuple[int, int, int, int]:
        """What matrices must agree in to be driven together: K, k, j, r."""
        return self.inputs, self.blocks_in, self.blocks_out, self.rank

    @property
    def wide_outputs(self) -> int:
        """O with padding."""
        return self.padded_outputs or self.outputs

    @property
    def wide_inputs(self) -> int:
        """K with padding."""
        return self.padded_inputs or self.inputs

    def dense(self) -> tuple[Factor, ...]:
        """Return the matrix as one block."""
        return (Factor(self.name, "W", 1, self.inputs, self.outputs, shared=self.shared),)

    def monarch(self) -> tuple[Factor, ...]:
        """Return R and L.

        Raises
        ------
        ConfigError
            No Monarch structure.
        """
        if not self.blocks_in:
            raise ConfigError(f"{self.name}: has no Monarch structure")
        k, j, r = self.blocks_in, self.blocks_out, self.rank
        return (Factor(self.name, "R", r * k, self.wide_inputs // k, j, r, self.shared),
                Factor(self.name, "L", j, k * r, self.wide_outputs // j, r))
