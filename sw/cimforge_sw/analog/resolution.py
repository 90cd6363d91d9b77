"""ADC resolution as a rule for layers of any size."""

from dataclasses import dataclass

from cimforge.spec.analog.config import CELL_BITS, lossless_bits
from cimforge.spec.checks import check_choice, check_integer
from cimforge_sw.analog.converter import Conversion

__all__ = ["RULES", "Resolution"]

#: What converters of too few bits do: keep the low bits and clamp, or drop low bits and round.
RULES = ("clip", "shift")


@dataclass(frozen=True)
class Resolution:
    """Converters of so many bits, and what they do where columns need more.

    Parameters
    ----------
    bits : int
        A, 1..16; columns that need fewer get what they need, and lose nothing.
    rule : str
        ``"clip"``: full scale is 2^A - 1 cells, and larger sums are clamped to it. ``"shift"``:
        full scale is that of the lossless converter, and the low bits that are too many are
        dropped, rounded half up (``SH`` and ``round`` of a drive).
    array : int
        Rows driven at once, at most. Longer columns are cut, as mappings cut them; the shift is
        that of the longest part, as it is one per layer and stage in `Precision`.
    cell_bits : int

    Raises
    ------
    ConfigError
        Another rule, or any of them of another type or out of range.

    Examples
    --------
    >>> Resolution(6, "shift").of(384)
    Conversion(rows=256, bits=6, shift=3, rounded=True, row_group=0, cell_bits=1)
    >>> Resolution(6, "shift").of(32) == Conversion(32)
    True
    """

    bits: int
    rule: str = "clip"
    array: int = 256
    cell_bits: int = 1

    def __post_init__(self):
        check_integer("bits", self.bits, 1, 16)
        check_choice("rule", self.rule, RULES)
        check_integer("array", self.array, 1)
        check_choice("cell_bits", self.cell_bits, CELL_BITS)

    def needed(self, inputs: int) -> int:
        """Return the bits with which a matrix of so many inputs loses nothing."""
        return lossless_bits(min(self.array, inputs), self.cell_bits)

    def of(self, inputs: int) -> Conversion:
        """Return what the columns of a matrix, or of a block, of so many inputs go through."""
        rows, missing = min(self.array, inputs), self.needed(inputs) - self.bits
        if missing <= 0:
            return Conversion(rows, cell_bits=self.cell_bits)
        shift = missing if self.rule == "shift" else 0
        return Conversion(rows, self.bits, shift, rounded=shift > 0, cell_bits=self.cell_bits)
