"""Products as an analog array computes them, in torch: bit by bit, through converters that clamp.

The arithmetic of ``docs/analog.md`` ("Numbers") for whole layers and models, stated without the
golden model; only what a limited resolution does to a score needs it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from cimforge.spec.analog.config import CELL_BITS, WORD_BITS, lossless_bits
from cimforge.spec.checks import check_choice, check_flag, check_integer

__all__ = ["Conversion", "converted_product"]

_CHUNK = 1 << 18  # column sums of one bit and plane at once: they stay in the cache


@dataclass(frozen=True)
class Conversion:
    """How column sums become integers.

    Parameters
    ----------
    rows : int
        Rows driven at once, at most: the array's side.
    bits : int
        Of the converters; 0: as many as lose nothing.
    shift : int
        Low bits that are dropped before the clamp.
    rounded : bool
        Round half up when dropping, instead of down.
    row_group : int
        Rows per pulse; 0: all that are driven.
    cell_bits : int

    Raises
    ------
    ConfigError
        Any of them of another type or out of range: 0..16 bits, a shift of 0..15.
    """

    rows: int
    bits: int = 0
    shift: int = 0
    rounded: bool = False
    row_group: int = 0
    cell_bits: int = 1

    def __post_init__(self):
        check_integer("rows", self.rows, 1)
        check_integer("bits", self.bits, 0, 16)
        check_integer("shift", self.shift, 0, 15)
        check_flag("rounded", self.rounded)
        check_integer("row_group", self.row_group, 0)
        check_choice("cell_bits", self.cell_bits, CELL_BITS)

    @property
    def pulse(self) -> int:
        """Rows per pulse."""
        return min(self.rows, self.row_group or self.rows)

    @property
    def top(self) -> int:
        """The largest code."""
        return (1 << (self.bits or lossless_bits(self.pulse, self.cell_bits))) - 1

    @property
    def half(self) -> int:
        """What is added before low bits are dropped."""
        return 1 << self.shift - 1 if self.rounded and self.shift else 0

    def exact(self, rows: int) -> bool:
        """Tell whether no sum of so many rows loses anything."""
        return self.shift == 0 and rows * ((1 << self.cell_bits) - 1) <= self.top

    def of(self, inputs: int) -> "Conversion":
        """Return what a matrix of so many inputs goes through: this, whatever its size."""
        return self

    def pulses(self, inputs: int) -> Iterator[slice]:
        """Yield the inputs of every pulse; a drive ends after ``rows``."""
        for start in range(0, inputs, self.rows):
            stop = min(start + self.rows, inputs)
            for first in range(start, stop, self.pulse):
                yield slice(first, min(first + self.pulse, stop))


def converted_product(x: Tensor, weight: Tensor, how: Conversion, count: bool = True
                      ) -> tuple[Tensor, int]:
    """Return ``x @ weight.T`` as converters see it.

    Parameters
    ----------
    x : Tensor of int8, shape (..., T, K)
    weight : Tensor of int8, shape (..., O, K)
        Leading dimensions, such as blocks, are those of ``x``.
    how : Conversion
    count : bool
        Count clamps, which takes half as long again.

    Returns
    -------
    product : Tensor of int32, shape (..., T, O)
        Exact where no conversion loses anything.
    clamped : int
        Conversions that were clamped; 0 if not counted.
    """
    lead, (tokens, inputs), outputs = x.shape[:-2], x.shape[-2:], weight.shape[-2]
    x, weight = x.reshape(-1, tokens, inputs), weight.reshape(-1, outputs, inputs)
    step = max(1, _CHUNK // max(1, outputs * len(x)))
    offset = (weight.to(torch.int16) + 128).mT
    total = torch.zeros(len(x), tokens, outputs, dtype=torch.int32)
    clamped = 0
    for rows in how.pulses(inputs):
        pulse = _Pulse(offset[:, rows], how, count)
        for first in range(0, tokens, step):
            part = slice(first, first + step)
            clamped += pulse.add(total[:, part], x[:, part, rows])
    total -= 128 * x.sum(-1, dtype=torch.int32, keepdim=True)
    return total.reshape(*lead, tokens, outputs), clamped


class _Pulse:
    """The cells [B, r, O] that a pulse drives, by plane."""

    def __init__(self, offset: Tensor, how: Conversion, count: bool):
        self._how, self._offset, self._count = how, offset, count and how.bits > 0
        mask = (1 << how.cell_bits) - 1
        # Integer products have a kernel in two dimensions, four times as fast, for signed bytes.
        self._integer = len(offset) == 1 and mask < 128
        kind = torch.int8 if self._integer else torch.float32
        self._planes = [] if how.exact(offset.shape[1]) else [
            (place, (offset >> place & mask).to(kind).contiguous())
            for place in range(0, WORD_BITS, how.cell_bits)]

    def add(self, sums: Tensor, x: Tensor) -> int:
        """Add to int32 [B, t, O] what ``x``, int8 [B, t, r], gives; return how many clamped."""
        if not self._planes:
            sums += torch.matmul(x.double(), self._offset.double()).int()
            return 0
        how, clamped = self._how, 0
        for bit in range(WORD_BITS):
            sign = -1 if bit == WORD_BITS - 1 else 1  # two's complement
            driven = (x >> bit) & 1
            for place, cells in self._planes:
                code = self._counts(driven, cells)
                if how.shift:
                    code.add_(how.half).bitwise_right_shift_(how.shift)
                if self._count:
                    clamped += int(torch.count_nonzero(code > how.top))
                code.clamp_(max=how.top)
                sums.add_(code, alpha=sign << bit + place + how.shift)
        return clamped

    def _counts(self, driven: Tensor, cells: Tensor) -> Tensor:
        """Return column sums, int32 [B, t, O]; at most 512 * 255, exact in float32."""
        if self._integer:
            return torch._int_mm(driven[0].contiguous(), cells[0])[None]
        return torch.matmul(driven.float(), cells).int()
