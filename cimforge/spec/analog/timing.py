"""Cycles of an analog program in closed form: one max-plus recurrence over its commands.

Cycle 0 accepts the first command; streams are always ready. The RTL's ``cycles`` counter equals
:func:`cycles` exactly. Each line below is a rule of ``docs/analog.md`` ("Timing").
"""

from dataclasses import dataclass, field

from cimforge.spec.analog.commands import (
    AnalogCommand,
    Drive,
    End,
    Input,
    Output,
    Program,
    ReadSaturation,
)
from cimforge.spec.analog.config import WORD_BITS, AnalogConfig

__all__ = ["Span", "Timeline", "columns", "convert_cycles", "cycles", "driven_rows", "rounds",
           "timeline"]


def _grains(mask: int, config: AnalogConfig) -> list[int]:
    return [i for i in range(config.grains) if mask >> i & 1]


def driven_rows(config: AnalogConfig, drive: Drive) -> int:
    """Return how many rows a drive drives."""
    return len(_grains(drive.row_mask, config)) * config.grain


def columns(config: AnalogConfig, drive: Drive) -> int:
    """Return how many columns a drive converts."""
    return len(_grains(drive.col_mask, config)) * config.grain


def rounds(config: AnalogConfig, col_mask: int) -> int:
    """Return the rounds of conversions: the most active columns that any converter serves."""
    if config.adcs <= config.grain:  # every converter serves the same columns of each grain
        return len(_grains(col_mask, config)) * (config.grain // config.adcs)
    share = config.adcs // config.grain  # grains between two columns of one converter
    served = [0] * share
    for grain in _grains(col_mask, config):
        served[grain % share] += 1
    return max(served)


def convert_cycles(config: AnalogConfig, drive: Drive) -> int:
    """Return the cycles a drive occupies its array: per bit and row group, settle and convert."""
    pulses = -(-driven_rows(config, drive) // drive.row_group)
    per_pulse = config.t_settle + rounds(config, drive.col_mask) * config.conversion(drive.bits)
    return WORD_BITS * pulses * per_pulse


@dataclass(frozen=True)
class Span:
    """When one command was at work: cycles, both ends included."""

    position: int
    load: tuple[int, int] | None
    convert: tuple[int, int] | None
    retire: tuple[int, int]
    array: int | None = None


@dataclass
class Timeline:
    """When each engine works; the report draws it, :func:`cycles` needs only ``end``."""

    end: int = 0
    convert: int = 0  #: cycles of conversion, summed over arrays
    load: int = 0  #: beats on the activation bus
    retire: int = 0  #: beats on the result bus
    spans: list[Span] = field(default_factory=list)


class _Recurrence:
    """Last event of every resource, in cycles."""

    def __init__(self, config: AnalogConfig):
        self.config, self.time = config, Timeline()
        self.accept = self.dispatch = -1
        self.load_pop = self.load_end = -1
        self.retired: list[int] = []  # last cycle of each command's retirement
        self.leaves = -1  # last cycle with a beat on the result stream
        arrays = range(config.arrays)
        self.start = [-1 for _ in arrays]  # of the array's last drive
        self.done = [-1 for _ in arrays]
        self.history: list[list[int]] = [[] for _ in arrays]  # retirements of its drives

    def step(self, command: AnalogCommand) -> None:
        self.accept = max(self.accept + 1, self.dispatch)
        earliest = self.accept + 1
        before = self.retired[-1] if self.retired else -1
        if isinstance(command, (Drive, Input, Output, ReadSaturation)):
            if len(self.retired) >= self.config.in_flight:
                earliest = max(earliest, self.retired[-self.config.in_flight] + 1)
            if isinstance(command, Drive):
                self._drive(command, earliest, before)
            else:
                self._move(command, earliest, before)
            return
        # Everything else waits for an idle tile and works alone.
        self.dispatch = max(earliest, before + 1, self.leaves + 1)
        beats = self.config.program_beats if isinstance(command, Program) else 0
        self.retired.append(self.dispatch + beats)
        if beats:
            self.dispatch += beats
        if isinstance(command, End):
            self.time.end = self.dispatch + 1

    def _drive(self, command: Drive, earliest: int, before: int) -> None:
        config, array = self.config, command.array
        self.dispatch = max(earliest, self.load_pop)
        source = len(self.retired) - command.depends
        ready = self.retired[source] + 1 if command.depends and source >= 0 else 0
        self.load_pop = max(self.dispatch + 1, self.load_end, self.start[array], ready)
        beats = driven_rows(config, command) // config.port
        self.load_end = self.load_pop + beats
        history = self.history[array]
        bank_free = history[-2] + 1 if len(history) > 1 else 0
        begin = max(self.load_end + 2, self.done[array] + 1, bank_free)
        busy = convert_cycles(config, command)
        self.start[array], self.done[array] = begin, begin + busy - 1
        first = max(self.done[array], before) + 1
        last = first + columns(config, command) // config.port - 1
        self.retired.append(last)
        history.append(last)
        self.time.convert += busy
        self.time.load += beats
        self.time.retire += last - first + 1
        self.time.spans.append(Span(
            len(self.retired) - 1, (self.load_pop + 1, self.load_end), (begin, begin + busy - 1),
            (first, last), array))

    def _move(self, command: Input | Output | ReadSaturation, earliest: int, before: int) -> None:
        self.dispatch = earliest
        beats = (self.config.array // self.config.port if isinstance(command, ReadSaturation)
                 else command.count)
        first = max(self.dispatch, before) + 1
        self.retired.append(first + beats - 1)
        if not isinstance(command, Input):
            self.leaves = first + beats
        self.time.retire += beats
        self.time.spans.append(Span(len(self.retired) - 1, None, None, (first, first + beats - 1)))


def timeline(config: AnalogConfig, commands: list[AnalogCommand]) -> Timeline:
    """Run the recurrence over a program that ends with :class:`End`."""
    recurrence = _Recurrence(config)
    for command in commands:
        recurrence.step(command)
    return recurrence.time


def cycles(config: AnalogConfig, commands: list[AnalogCommand]) -> int:
    """Return the cycles from accepting the first command to retiring ``End``, both included."""
    return timeline(config, commands).end
