"""The tile in program order: commands and input streams in, results out, errors kept.

Nothing here knows about cycles; ``cimforge.spec.timing`` does. Memories are zero at reset, what the
beats of a ``LoadActs`` do not reach of their windows becomes zero, and ``clear`` leaves memories
alone.
"""

from dataclasses import asdict, dataclass

import numpy as np

from cimforge.spec.commands import (
    FORMAT,
    Command,
    Compute,
    ErrorCode,
    LoadActs,
    LoadSelects,
    LoadWeights,
    SetRequantize,
)
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.layout import unpack_acts, unpack_selects, unpack_weights
from cimforge.spec.mode import Mode
from cimforge_verif.checks import BankState, check
from cimforge_verif.command_tile import CommandTile
from cimforge_verif.golden import requantize
from cimforge_verif.products import Bank, products

__all__ = ["Counters", "Tile"]


@dataclass
class Counters:
    """What the tile counts, without the cycles that waiting takes."""

    compute: int = 0  #: cycles in which the macro takes a slice
    macs: int = 0  #: nonzero weights of the bank, per vector
    idle_slots: int = 0  #: the other slots, per vector and step
    load_weights: int = 0  #: beats of the weight stream
    load_acts: int = 0  #: beats of the activation stream

    def to_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self)


class Tile(CommandTile[Command]):
    """Executes commands as ``docs/dcim.md`` says.

    Parameters
    ----------
    config : DcimConfig
    name : str
        Names the program in errors.
    multiply : callable
        :func:`cimforge_verif.products.products`, or its slow reference.

    Attributes
    ----------
    error : ErrorCode
    counters : Counters
    position, last
        As of `CommandTile`; beats of the input streams are bytes. A sum that overflows is a
        DataError of :meth:`run`.
    """

    _format = FORMAT

    def __init__(self, config: DcimConfig, name: str = "program", multiply=products):
        self.config, self._multiply = config, multiply
        lanes = config.sub_macros * config.cols
        self._windows = np.zeros((config.act_depth, config.window_beats * config.act_lanes),
                                 dtype=np.int64)
        self._acc = np.zeros((config.acc_depth, lanes), dtype=np.int64)
        self._scale = np.zeros((3, lanes), dtype=np.int64)  # bias, multiplier, shift
        widths = (-(-bits // 8) for bits in (config.weight_beat_bits, config.act_port_bits))
        super().__init__(name, config.out_port, *((np.uint8, width) for width in widths))

    def clear(self) -> None:
        """Forget the error and the banks, and count from zero."""
        self.counters = Counters()
        super().clear()
        self.error = ErrorCode.NONE
        self._states = [BankState() for _ in range(self.config.weight_banks)]
        self._banks: dict[int, Bank] = {}
        self._selects: dict[int, tuple] = {}

    def _check(self, fields: dict[str, int]) -> ErrorCode:
        return check(self.config, fields, self._states)

    def _execute(self, command: Command):
        if isinstance(command, LoadWeights):
            weight, index = unpack_weights(self.config, self._next("weight",
                                                                   self.config.weight_beats))
            self._banks[command.bank] = Bank(weight, index, self._selects.get(command.bank))
        elif isinstance(command, LoadSelects):
            beats = self._next("weight", command.steps * self.config.select_beats)
            self._selects[command.bank] = unpack_selects(self.config, beats)
        elif isinstance(command, LoadActs):
            beats = self._next("activation", command.count * command.beats)
            block = unpack_acts(self.config, beats).reshape(command.count, -1)
            rows = slice(command.row, command.row + command.count)
            self._windows[rows] = 0  # what the beats do not reach
            self._windows[rows, :block.shape[1]] = block
        elif isinstance(command, Compute):
            self._compute(command)
        elif isinstance(command, SetRequantize):
            self._scale[:, command.output] = command.bias, command.multiplier, command.shift

    def _next(self, name: str, count: int) -> np.ndarray:
        beats = super()._next(name, count)
        if name == "weight":
            self.counters.load_weights += count
        else:
            self.counters.load_acts += count
        return beats

    def _compute(self, command: Compute):
        config, bank = self.config, self._banks[command.bank]
        mode = Mode(command.n, command.m, command.group)
        rows = command.row + command.stride * np.arange(command.count)
        sums = self._multiply(config, mode, command.steps, bank,
                              self._windows[rows, :config.window_inputs])
        self._count(command, bank)
        acc = slice(command.acc, command.acc + command.count)
        if not command.first:
            sums = sums + self._acc[acc]
        self._check_sums(sums)
        if not command.last:
            self._acc[acc] = sums
            return
        if command.requantize:
            bias, multiplier, shift = self._scale
            sums = requantize(sums, bias, multiplier, shift, config.act_bits)
        self._send(sums[:, :config.outputs(mode)].reshape(-1, config.out_port), last=True)

    def _count(self, command: Compute, bank: Bank):
        config, count = self.config, command.count
        cells = config.slots * config.cols * command.steps
        self.counters.compute += count * config.slices * command.steps
        self.counters.macs += count * bank.nonzeros
        self.counters.idle_slots += count * (cells - bank.nonzeros)

    def _check_sums(self, sums: np.ndarray):
        top = 1 << self.config.acc_bits - 1
        bad = np.argwhere((sums < -top) | (sums >= top))
        if len(bad):
            vector, lane = map(int, bad[0])
            raise DataError(f"{self.name}: command {self.position} overflows acc_bits = "
                            f"{self.config.acc_bits}: vector {vector}, lane {lane} sums to "
                            f"{sums[vector, lane]}")
