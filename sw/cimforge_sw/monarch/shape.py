"""Sizes of a Monarch matrix: its blocks, its rank, its order of inputs, and what it was padded to.

With k input blocks of I inputs, j output blocks of l outputs and rank r (`MonarchShape`)::

    M[l*J + j, col(k, i)] = sum over rho of L[j, l, k, rho] * R[k, rho, j, i]

so that every slice (j, k) of M, an l x I matrix, has rank r or less (Dao et al., arXiv 2204.00595,
section 3.1, is r = 1 of a square; fly's ``blockdiag_butterfly_einsum`` has ranks and rectangles).
"""

from dataclasses import dataclass
from math import isqrt

from cimforge.spec.checks import check_integer
from cimforge.spec.errors import ConfigError

__all__ = ["ORDERS", "MonarchShape", "factor_pair"]

#: Which column of M is input i of block k: ``i*k_count + k``, or ``k*I + i``.
ORDERS = ("strided", "contiguous")


@dataclass(frozen=True)
class MonarchShape:
    """Size and structure of one Monarch matrix.

    Parameters
    ----------
    outputs, inputs : int
        O and K of the matrix that is approximated.
    in_blocks, out_blocks : int
        k blocks of R and j blocks of L.
    rank : int
        r of every slice; at most the smaller side of a slice.
    order : str
        ``"strided"``: a square of b x b blocks is the ``P L P R P`` of order-2 Monarch.
        ``"contiguous"``: inputs are not permuted, which is fly's ``P L P R``.
    padded : (int, int), optional
        Outputs and inputs with the zeros behind the last row and column; none unless given.

    Raises
    ------
    ConfigError
        A size below 1, blocks that do not divide a side, a rank that no slice can have, padding
        that cuts, or another order.

    Examples
    --------
    >>> shape = MonarchShape(1536, 384, 12, 12, rank=4)
    >>> shape.right, shape.left, str(shape)
    ((12, 48, 32), (12, 128, 48), '12x12 r4')
    """

    outputs: int
    inputs: int
    in_blocks: int
    out_blocks: int
    rank: int = 1
    order: str = "strided"
    padded: tuple[int, int] | None = None

    def __post_init__(self):
        for name in ("outputs", "inputs", "in_blocks", "out_blocks", "rank"):
            check_integer(name, getattr(self, name), 1)
        if self.order not in ORDERS:
            raise ConfigError(f"order must be one of {', '.join(ORDERS)}, not {self.order!r}")
        object.__setattr__(self, "padded", _padding(self.padded, (self.outputs, self.inputs)))
        _check_divides("outputs", self.full[0], "out_blocks", self.out_blocks)
        _check_divides("inputs", self.full[1], "in_blocks", self.in_blocks)
        if self.rank > min(self.out_size, self.in_size):
            raise ConfigError(f"rank must be at most {min(self.out_size, self.in_size)} for slices "
                              f"of {self.out_size} x {self.in_size}, not {self.rank}")

    def __str__(self) -> str:
        return f"{self.in_blocks}x{self.out_blocks}" + (f" r{self.rank}" if self.rank > 1 else "")

    @property
    def full(self) -> tuple[int, int]:
        """Outputs and inputs with padding."""
        return self.padded or (self.outputs, self.inputs)

    @property
    def in_size(self) -> int:
        """I, inputs of a block of R."""
        return self.full[1] // self.in_blocks

    @property
    def out_size(self) -> int:
        """Outputs of a block of L."""
        return self.full[0] // self.out_blocks

    @property
    def right(self) -> tuple[int, int, int]:
        """Shape of R: k blocks of [r*j, I]."""
        return self.in_blocks, self.rank * self.out_blocks, self.in_size

    @property
    def left(self) -> tuple[int, int, int]:
        """Shape of L: j blocks of [O/j, k*r]."""
        return self.out_blocks, self.out_size, self.in_blocks * self.rank

    @property
    def reached(self) -> tuple[int, int, int]:
        """Input blocks, inputs of a block, and outputs of a block that padding leaves nonzero."""
        if self.order == "strided":
            blocks, size = min(self.in_blocks, self.inputs), -(-self.inputs // self.in_blocks)
        else:
            blocks, size = -(-self.inputs // self.in_size), min(self.in_size, self.inputs)
        return blocks, size, -(-self.outputs // self.out_blocks)

    @property
    def weights(self) -> int:
        """Elements of both factors, padding included; a vector takes as many multiplications."""
        return self.rank * (self.out_blocks * self.full[1] + self.in_blocks * self.full[0])

    @property
    def useful_weights(self) -> int:
        """Elements that can meet an input that is there and reach an output that is kept."""
        return self.rank * (min(self.out_blocks, self.outputs) * self.inputs
                            + self.reached[0] * self.outputs)


def _padding(padded: object, sizes: tuple[int, int]) -> tuple[int, ...]:
    values = sizes if padded is None else tuple(padded) if isinstance(padded, (tuple, list)) else ()
    if [type(value) for value in values] != [int, int] or any(
            value < size for value, size in zip(values, sizes, strict=True)):
        raise ConfigError(f"padded must be two integers, at least {sizes[0]} outputs and "
                          f"{sizes[1]} inputs, not {padded!r}")
    return values


def _check_divides(side: str, size: int, blocks_name: str, blocks: int) -> None:
    if size % blocks:
        divisors = [d for d in range(1, size + 1) if size % d == 0]
        near = {max(d for d in divisors if d < max(blocks, 2)),
                min((d for d in divisors if d > blocks), default=size)}
        raise ConfigError(f"{blocks_name} must divide {size} {side}, such as "
                          f"{' or '.join(map(str, sorted(near)))}, not {blocks}")


def factor_pair(n: int) -> tuple[int, int]:
    """Return the factors of n nearest to its square root, the larger first.

    As in fly: R then has the larger number of blocks, each a square of the smaller size, and L the
    smaller number of blocks, each a square of the larger.

    >>> factor_pair(1024), factor_pair(384)
    ((32, 32), (24, 16))

    Raises
    ------
    ConfigError
        n is a prime, or below 4.
    """
    small = next((d for d in range(isqrt(n), 1, -1) if n % d == 0), 1) if n >= 4 else 1
    if small == 1:
        raise ConfigError(f"{n} has no factor pair but {n} x 1; expected a size with blocks near "
                          "its square root ('square' pads to one)")
    return n // small, small
