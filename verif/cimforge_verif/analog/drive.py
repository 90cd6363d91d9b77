"""One drive of one array: pulses, conversions, sums, correction."""

from dataclasses import dataclass, field

import numpy as np

from cimforge.spec.analog.address import destination, lines, source
from cimforge.spec.analog.commands import Drive
from cimforge.spec.analog.config import WORD_BITS, AnalogConfig
from cimforge.spec.analog.timing import rounds
from cimforge_verif.analog.adc import lfsr_states, rotate16, transfer

__all__ = ["Array", "Driven", "conversion_round", "drive"]


@dataclass
class Array:
    """What an array holds.

    Attributes
    ----------
    cells : ndarray of int64, shape (m, m)
        Offset-binary weights by row and column; 0 where nothing is programmed.
    tags : ndarray of int64, shape (grains, grains)
        Which block a grain square belongs to; 0: none.
    lfsr : int
        State of the dither's generator.
    saturations : ndarray of int64, shape (m,)
        Clamped conversions of every column.
    """

    config: AnalogConfig
    number: int = 0
    cells: np.ndarray = field(init=False)
    tags: np.ndarray = field(init=False)
    lfsr: int = field(init=False)
    saturations: np.ndarray = field(init=False)

    def __post_init__(self):
        self.erase()
        self.clear()

    def erase(self) -> None:
        """Zero the cells and forget the tags."""
        self.cells = np.zeros((self.config.array,) * 2, dtype=np.int64)
        self.tags = np.zeros((self.config.grains,) * 2, dtype=np.int64)

    def clear(self) -> None:
        """Zero the counts and start the generator again."""
        self.lfsr = (self.config.dither ^ self.number) or 1
        self.saturations = np.zeros(self.config.array, dtype=np.int64)

    def program(self, row: int, col: int, tag: int, weights: np.ndarray) -> None:
        """Write a grain square of INT8 weights [grain, grain]."""
        grain = self.config.grain
        self.cells[row * grain:(row + 1) * grain, col * grain:(col + 1) * grain] = weights + 128
        self.tags[row, col] = tag


@dataclass(frozen=True)
class Driven:
    """What a drive gives.

    Attributes
    ----------
    sums : ndarray of int64, shape (active columns,)
        y of every active column, ascending.
    illegal : bool
        A column met cells of two tags.
    conversions, pulses, saturations : int
        Counts.
    """

    sums: np.ndarray
    illegal: bool
    conversions: int
    pulses: int
    saturations: int


def conversion_round(config: AnalogConfig, column: np.ndarray) -> np.ndarray:
    """Return the round in which each active column is converted: its place at its converter."""
    place = np.empty(len(column), dtype=np.int64)
    for adc in range(config.adcs):
        mine = np.flatnonzero(column % config.adcs == adc)
        place[mine] = np.arange(len(mine))
    return place


def drive(array: Array, command: Drive, x: np.ndarray) -> Driven:
    """Carry out a drive; counts its saturations in the array.

    Parameters
    ----------
    array : Array
    command : Drive
    x : ndarray of int64, shape (driven rows,)
        INT8 activations of the driven rows, ascending.

    Returns
    -------
    Driven
    """
    config = array.config
    row, _ = lines(config, source(command))
    column, _ = lines(config, destination(command))
    pulses = -(-len(row) // command.row_group)
    group = np.arange(len(row)) // command.row_group
    bits = (x[None, :] >> np.arange(WORD_BITS - 1, -1, -1)[:, None]) & 1  # most significant first
    driven = bits[:, None, :] * (group == np.arange(pulses)[:, None])  # [bit, pulse, row]
    cells = array.cells[np.ix_(row, column)]
    shifts = config.cell_bits * np.arange(config.planes)
    planes = cells[:, None, :] >> shifts[None, :, None] & (1 << config.cell_bits) - 1
    # Sums of at most 512 * 255 are exact in float32, whose products are much faster.
    sums = (driven.reshape(-1, len(row)).astype(np.float32)
            @ planes.reshape(len(row), -1).astype(np.float32)).astype(np.int64)
    sums = sums.reshape(WORD_BITS, pulses, config.planes, len(column))
    values, clamped = transfer(sums, command.bits, command.shift, command.offset,
                               _added(array, command, column, pulses))
    weights = np.array([-128, 64, 32, 16, 8, 4, 2, 1])
    total = np.einsum("tasc,t,s->c", values, weights, 1 << shifts)
    array.saturations[column] += clamped.sum((0, 1, 2))
    return Driven(total - 128 * _offset(array, command, row, column, x), _mixed(array, command),
                  sums.size, int(bits.sum()), int(clamped.sum()))


def _added(array: Array, command: Drive, column: np.ndarray, pulses: int) -> np.ndarray | int:
    """Return R, broadcast against [bit, pulse, plane, column]; the generator moves on."""
    config = array.config
    if not config.dither:
        return 1 << command.shift >> 1 if command.round else 0
    per_pulse = rounds(config, command.col_mask)
    states, array.lfsr = lfsr_states(array.lfsr, WORD_BITS * pulses * per_pulse)
    mine = states.reshape(WORD_BITS, pulses, 1, per_pulse)[..., conversion_round(config, column)]
    plane = np.arange(config.planes)[:, None]
    turned = rotate16(mine, (5 * plane + 3 * (column % config.adcs)) % 16)
    return turned & (1 << command.shift) - 1


def _offset(array: Array, command: Drive, row: np.ndarray, column: np.ndarray,
            x: np.ndarray) -> np.ndarray:
    """Return, for every column, the sum of x over driven rows that its grain is programmed in."""
    grain = array.config.grain
    programmed = array.tags[np.ix_(row // grain, column // grain)] != 0
    return (x[:, None] * programmed).sum(0)


def _mixed(array: Array, command: Drive) -> bool:
    """Return whether a column meets driven cells of more than one tag."""
    def grains(mask: int) -> list[int]:
        return [g for g in range(array.config.grains) if mask >> g & 1]

    tags = array.tags[np.ix_(grains(command.row_mask), grains(command.col_mask))]
    low = np.where(tags == 0, 256, tags).min(0)
    return bool((tags.max(0) > low).any())
