"""The analog tile in program order: commands and input streams in, results out, flags kept.

Nothing here knows about cycles; ``cimforge.spec.analog.timing`` does. Memories are zero at first.
"""

from dataclasses import asdict, dataclass

import numpy as np

from cimforge.spec.analog.address import destination, lines, source
from cimforge.spec.analog.commands import (
    AnalogCommand,
    AnalogError,
    Drive,
    Erase,
    Input,
    Output,
    Program,
    ReadSaturation,
    SetRequantize,
    decode,
    encode,
    unpack_word,
)
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.analog.timing import columns, convert_cycles, driven_rows
from cimforge.spec.errors import DataError
from cimforge_verif.analog.checks import check
from cimforge_verif.analog.drive import Array, drive
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


class AnalogTile:
    """Executes commands as ``docs/analog.md`` says.

    Parameters
    ----------
    config : AnalogConfig
    name : str
        Names the program in errors.

    Attributes
    ----------
    error : AnalogError
        Sticky until :meth:`clear`.
    position : int
        Of the command in error, counted since reset or ``clear``; meaningless without an error.
    illegal : int or None
        Position of the first drive that mixed blocks.
    saturated : bool
        A conversion was clamped.
    counters : AnalogCounters
    last : list of int
        Of every beat that :meth:`run` returned, whether it is marked ``last``.
    """

    def __init__(self, config: AnalogConfig, name: str = "program"):
        self.config, self.name = config, name
        self.arrays = [Array(config, number) for number in range(config.arrays)]
        self._acts = np.zeros(config.act_depth, dtype=np.int64)
        self._sums = np.zeros(config.acc_depth, dtype=np.int64)
        self._scale = np.zeros((config.requantizers, 3), dtype=np.int64)
        self._out: list[np.ndarray] = []
        self.last: list[int] = []
        self._streams: dict[str, np.ndarray] = {}
        self.clear()

    def clear(self) -> None:
        """Forget errors and flags, and count from zero; memories and cells stay."""
        self.counters = AnalogCounters()
        self.error, self.position, self._taken = AnalogError.NONE, 0, 0
        self.illegal: int | None = None
        for array in self.arrays:
            array.clear()

    @property
    def saturated(self) -> bool:
        """Whether a conversion was clamped since reset or ``clear``."""
        return self.counters.saturations > 0

    def run(self, words: np.ndarray | list[AnalogCommand], weights: np.ndarray | None = None,
            acts: np.ndarray | None = None) -> np.ndarray:
        """Execute commands.

        Parameters
        ----------
        words : ndarray of uint8, shape (n, 32), or list of AnalogCommand
        weights, acts : ndarray of int8, shape (beats, port), optional
            The input streams; what an error leaves of them is discarded.

        Returns
        -------
        ndarray of int64, shape (beats, port)
            The result stream.

        Raises
        ------
        DataError
            If the commands want more beats than there are, or leave some. An illegal command raises
            nothing: it sets :attr:`error`.
        """
        if isinstance(words, list):
            words = encode(words)
        self._streams = {"weight": self._beats("weights", weights),
                         "activation": self._beats("acts", acts)}
        self._out, self.last = [np.zeros((0, self.config.port), dtype=np.int64)], []
        for word in words:
            self._take(word)
        left = {name: len(rest) for name, rest in self._streams.items() if len(rest)}
        if left and self.error is AnalogError.NONE:
            raise DataError(f"{self.name}: the commands leave " + " and ".join(
                f"{count} {name} beats" for name, count in left.items()))
        return np.concatenate(self._out)

    def _beats(self, name: str, beats: np.ndarray | None) -> np.ndarray:
        port = self.config.port
        if beats is None:
            return np.zeros((0, port), dtype=np.int8)
        if beats.ndim != 2 or beats.shape[1] != port or beats.dtype != np.int8:
            raise DataError(f"{name} must be int8 of shape (beats, {port}), not {beats.dtype} of "
                            f"shape {beats.shape}")
        return beats

    def _take(self, word: np.ndarray) -> None:
        if self.error is not AnalogError.NONE:
            return
        self.position = self._taken
        self.error = check(self.config, unpack_word(int.from_bytes(word.tobytes(), "little")))
        if self.error is AnalogError.NONE:
            self._execute(decode(word[None])[0])
            self._taken += 1

    def _execute(self, command: AnalogCommand) -> None:
        config = self.config
        if isinstance(command, Program):
            weights = self._next("weight", config.program_beats).reshape(config.grain, -1)
            self.arrays[command.array].program(command.row, command.col, command.tag, weights)
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
            self._send(self._sums[command.src:command.src + command.count * config.port],
                       command.last)
        elif isinstance(command, ReadSaturation):
            self._send(self.arrays[command.array].saturations, command.last)

    def _next(self, name: str, count: int) -> np.ndarray:
        stream = self._streams[name]
        if len(stream) < count:
            raise DataError(f"{self.name}: command {self.position} wants {count} {name} beats, "
                            f"but {len(stream)} are left")
        self._streams[name] = stream[count:]
        return stream[:count].astype(np.int64)

    def _send(self, values: np.ndarray, last: bool) -> None:
        beats = values.reshape(-1, self.config.port).copy()
        self._out.append(beats)
        self.last += [0] * (len(beats) - 1) + [int(last)]
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
