"""The analog tile in program order: commands and input streams in, results out, flags kept.

Nothing here knows about cycles; ``cimforge.spec.analog.timing`` does. Memories are zero at first.
"""

from dataclasses import asdict, dataclass

import numpy as np

from cimforge.spec.analog.address import destination, lines, source
from cimforge.spec.analog.commands import (
    FORMAT,
    AnalogCommand,
    AnalogError,
    Drive,
    Erase,
    Input,
    Output,
    Program,
    ReadSaturation,
    SetRequantize,
)
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.analog.timing import columns, convert_cycles, driven_rows
from cimforge_verif.analog.checks import check
from cimforge_verif.analog.drive import Array, drive
from cimforge_verif.command_tile import CommandTile
from cimforge_verif.golden.requantizer import requantize

__all__ = ["AnalogCounters", "AnalogTile"]


@dataclass
class AnalogCounters:
    """What the tile counts, without the cycles that waiting takes; see ``docs/analog.md``."""

    convert: int = 0
    conversions: int = 0
    pulses: int = 0
    load: int = 0
    retire: int = 0
    saturations: int = 0

    def to_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self)


class AnalogTile(CommandTile[AnalogCommand]):
    """Executes commands as ``docs/analog.md`` says.

    Parameters
    ----------
    config : AnalogConfig
    name : str
        Names the program in errors.

    Attributes
    ----------
    error : AnalogError
    illegal : int or None
        Position of the first drive that mixed blocks.
    saturated : bool
        A conversion was clamped.
    counters : AnalogCounters
    position, last
        As of `CommandTile`; beats of the input streams are INT8.
    """

    _format = FORMAT

    def __init__(self, config: AnalogConfig, name: str = "program"):
        self.config = config
        self.arrays = [Array(config, number) for number in range(config.arrays)]
        self._acts = np.zeros(config.act_depth, dtype=np.int64)
        self._sums = np.zeros(config.acc_depth, dtype=np.int64)
        self._scale = np.zeros((config.requantizers, 3), dtype=np.int64)
        super().__init__(name, config.port, (np.int8, config.port), (np.int8, config.port))

    def clear(self) -> None:
        """Forget errors and flags, and count from zero; memories and cells stay."""
        self.counters = AnalogCounters()
        super().clear()
        self.error = AnalogError.NONE
        self.illegal: int | None = None
        for array in self.arrays:
            array.clear()

    @property
    def saturated(self) -> bool:
        """Whether a conversion was clamped since reset or ``clear``."""
        return self.counters.saturations > 0

    def _check(self, fields: dict[str, int]) -> AnalogError:
        return check(self.config, fields)

    def _execute(self, command: AnalogCommand) -> None:
        config = self.config
        if isinstance(command, Program):
            weights = self._next("weight", config.program_beats).reshape(config.grain, -1)
            self.arrays[command.array].program(command.row, command.col, command.tag,
                                               weights.astype(np.int64))
        elif isinstance(command, Erase):
            self.arrays[command.array].erase()
        elif isinstance(command, SetRequantize):
            self._scale[command.slot] = command.bias, command.multiplier, command.shift
        elif isinstance(command, Input):
            values = self._next("activation", command.count).reshape(-1)
            self._acts[command.dst:command.dst + len(values)] = values
            self.counters.retire += command.count
        elif isinstance(command, Drive):
            self._drive(command)
        elif isinstance(command, Output):
            self._retire(self._sums[command.src:command.src + command.count * config.port],
                         command.last)
        elif isinstance(command, ReadSaturation):
            self._retire(self.arrays[command.array].saturations, command.last)

    def _retire(self, values: np.ndarray, last: bool) -> None:
        beats = values.reshape(-1, self.config.port).copy()
        self._send(beats, last)
        self.counters.retire += len(beats)

    def _drive(self, command: Drive) -> None:
        config, counters = self.config, self.counters
        _, sources = lines(config, source(command))
        _, destinations = lines(config, destination(command))
        driven = drive(self.arrays[command.array], command, self._acts[sources])
        if driven.illegal and self.illegal is None:
            self.illegal = self.position
        sums = driven.sums + (self._sums[destinations] if command.accumulate else 0)
        sums = (sums + (1 << 31)) % (1 << 32) - (1 << 31)
        if command.requantize:
            bias, multiplier, shift = self._scale[command.slot]
            self._acts[destinations] = requantize(sums, bias, multiplier, shift, 8)
        else:
            self._sums[destinations] = sums
        counters.convert += convert_cycles(config, command)
        counters.conversions += driven.conversions
        counters.pulses += driven.pulses
        counters.saturations += driven.saturations
        counters.load += driven_rows(config, command) // config.port
        counters.retire += columns(config, command) // config.port
