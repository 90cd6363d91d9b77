"""Products as an analog array computes them, in torch: bit by bit, through converters that clamp.

The arithmetic of ``docs/analog.md`` ("Numbers") for whole layers and models, stated without the
golden model; only what a limited resolution does to a score needs it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from cimforge.spec.analog.config import WORD_BITS, lossless_bits
from cimforge.spec.errors import ConfigError

__all__ = ["Conversion", "converted_product"]

_CHUNK = 1 << 24  # column sums held at once


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
    """

    rows: int
    bits: int = 0
    shift: int = 0
    rounded: bool = False
    row_group: int = 0
    cell_bits: int = 1

    def __post_init__(self):
        if self.rows < 1 or self.row_group < 0:
            raise ConfigError(f"rows must be at least 1 and row_group at least 0, not "
                              f"{self.rows} and {self.row_group}")
        if not 0 <= self.bits <= 16 or not 0 <= self.shift <= 15:
            raise ConfigError(f"bits must be in 0..16 and shift in 0..15, not {self.bits} and "
                              f"{self.shift}")
        if self.cell_bits not in (1, 2, 4, 8):
            raise ConfigError(f"cell_bits must be 1, 2, 4 or 8, not {self.cell_bits}")

    @property
    def pulse(self) -> int:
        """Rows per pulse."""
        return min(self.rows, self.row_group or self.rows)

    def pulses(self, inputs: int) -> Iterator[slice]:
        """Yield the inputs of every pulse; a drive ends after ``rows``."""
        for start in range(0, inputs, self.rows):
            stop = min(start + self.rows, inputs)
            for first in range(start, stop, self.pulse):
                yield slice(first, min(first + self.pulse, stop))


def converted_product(x: Tensor, weight: Tensor, how: Conversion) -> tuple[Tensor, int]:
    """Return ``x @ weight.T`` as converters see it.

    Parameters
    ----------
    x : Tensor of int8, shape (..., T, K)
    weight : Tensor of int8, shape (..., O, K)
        Leading dimensions, such as blocks, are those of ``x``.
    how : Conversion

    Returns
    -------
    product : Tensor of int32, shape (..., T, O)
        Exact where no conversion loses anything.
    clamped : int
        Conversions that were clamped.
    """
    lead, (tokens, inputs), outputs = x.shape[:-2], x.shape[-2:], weight.shape[-2]
    x, weight = x.reshape(-1, tokens, inputs), weight.reshape(-1, outputs, inputs)
    step = max(1, _CHUNK // (WORD_BITS * (WORD_BITS // how.cell_bits) * outputs * len(x)))
    offset = weight.to(torch.int16) + 128
    total = torch.empty(len(x), tokens, outputs, dtype=torch.int32)
    clamped = 0
    for first in range(0, tokens, step):
        part = x[:, first:first + step]
        sums = torch.zeros(len(x), part.shape[1], outputs, dtype=torch.float64)
        for rows in how.pulses(inputs):
            clamped += _pulse(sums, part[..., rows], offset[..., rows], how)
        correction = 128 * part.sum(-1, dtype=torch.float64, keepdim=True)
        total[:, first:first + step] = (sums - correction).to(torch.int32)
    return total.reshape(*lead, tokens, outputs), clamped


def _pulse(sums: Tensor, x: Tensor, cells: Tensor, how: Conversion) -> int:
    """Add what a pulse's rows give, ``x`` [B, t, r] and ``cells`` [B, O, r]; count clamps."""
    batch, tokens, rows = x.shape
    planes = WORD_BITS // how.cell_bits
    bit = torch.arange(WORD_BITS)
    bits = (x.to(torch.int16)[:, None] >> bit[:, None, None]) & 1
    place = how.cell_bits * torch.arange(planes)
    cell = (cells[:, None] >> place[:, None, None]) & (1 << how.cell_bits) - 1
    # Counts of at most 512 * 255 are exact in float32, whose product is the fast one.
    found = torch.matmul(bits.float().reshape(batch, WORD_BITS * tokens, rows),
                         cell.float().reshape(batch, planes * cells.shape[1], rows).mT)
    if how.rounded and how.shift:
        found += 1 << how.shift - 1
    code = found.mul_(2.0 ** -how.shift).floor_() if how.shift else found
    top = float((1 << (how.bits or lossless_bits(how.pulse, how.cell_bits))) - 1)
    clamped = int((code > top).sum()) if how.bits else 0
    value = code.clamp_(max=top).reshape(batch, WORD_BITS, tokens, planes, -1)
    # Over planes first: at most 256 rows of 255 are exact in float32, and so is what follows.
    kind = torch.float32 if rows <= 256 and how.shift == 0 else torch.float64
    scale, signs = 2.0 ** (place + how.shift), 2.0 ** bit
    signs[-1] *= -1  # two's complement: the sign bit's pulse is subtracted
    byte = torch.einsum("batpo,p->bato", value.to(kind), scale.to(kind))
    sums += torch.einsum("bato,a->bto", byte, signs.to(kind))
    return clamped
