"""Cycles of a program in closed form: one max-plus recurrence over its commands.

Cycle 0 accepts the first command. Streams are always ready. The RTL's ``cycles`` counter equals
:func:`cycles` exactly; with stalls, ``cycles <= counted <= cycles + stall``. Each line below is a
rule of ``docs/dcim.md`` ("Timing").
"""

from dataclasses import dataclass, field

import numpy as np

from cimforge.spec.commands import (
    Command,
    Compute,
    End,
    LoadActs,
    LoadSelects,
    LoadWeights,
    SetRequantize,
)
from cimforge.spec.config import DcimConfig
from cimforge.spec.mode import Mode

__all__ = ["Schedule", "Timeline", "compute_interval", "cycles", "timeline"]


def compute_interval(config: DcimConfig, command: Compute) -> int:
    """Return the cycles between two vectors of a Compute: the macro's or the output's."""
    macro = config.slices * command.steps
    if not command.last:
        return macro
    return max(macro, config.out_beats(Mode(command.n, command.m, command.group)))


@dataclass
class Timeline:
    """When each engine works; the report draws it, :func:`cycles` needs only ``end``."""

    end: int = 0
    compute: int = 0  #: cycles in which the macro takes a slice
    load_weights: int = 0  #: beats of the weight stream
    load_acts: int = 0  #: beats of the activation stream
    spans: list[tuple[str, int, int]] = field(default_factory=list)  #: (engine, from, to)


class Schedule:
    """State of the recurrence: the last event of every resource, in cycles."""

    def __init__(self, config: DcimConfig):
        self.config = config
        self.time = Timeline()
        self.accept = self.dispatch = -1
        self.weight_pop = self.weight_end = -1  # queue emptied, last beat
        self.act_end = -1
        self.compute_pop = self.compute_last = -1  # queue emptied, last vector issued
        self.macro_free = 0  # first cycle in which the macro can be given another vector
        self.out_free = 0  # earliest issue + slices*steps of the next vector that is sent out
        self.drained = -1  # last cycle with anything in the pipeline or on the output
        self.full = [-1, -1]  # cycle of the last beat of each bank
        self.empty = [-1, -1]  # last cycle each bank is still being read
        self.rows: dict[int, int] = {}  # window row -> cycle of its last beat

    def step(self, command: Command):
        self.accept = max(self.accept + 1, self.dispatch)
        earliest = self.accept + 1
        if isinstance(command, (LoadWeights, LoadSelects)):
            self._load(command, earliest)
        elif isinstance(command, LoadActs):
            self._load_acts(command, earliest)
        elif isinstance(command, Compute):
            self._compute(command, earliest)
        else:
            self._drain(command, earliest)

    def _load(self, command, earliest: int):
        self.dispatch = max(earliest, self.weight_pop)
        self.weight_pop = max(self.dispatch + 1, self.weight_end, self.empty[command.bank] + 1)
        beats = (self.config.weight_beats if isinstance(command, LoadWeights)
                 else command.steps * self.config.select_beats)
        self.weight_end = self.weight_pop + beats
        if isinstance(command, LoadWeights):
            self.full[command.bank] = self.weight_end
        self.time.load_weights += beats
        self.time.spans.append(("weights", self.weight_pop + 1, self.weight_end))

    def _load_acts(self, command: LoadActs, earliest: int):
        self.dispatch = max(earliest, self.act_end + 1, self.compute_last + 1)
        first, beats = self.dispatch + 1, command.beats
        self.rows = {command.row + i: self.dispatch + (i + 1) * beats
                     for i in range(command.count)}
        self.act_end = self.dispatch + command.count * beats
        self.time.load_acts += command.count * beats
        self.time.spans.append(("acts", first, self.act_end))

    def _compute(self, command: Compute, earliest: int):
        self.dispatch = max(earliest, self.compute_pop)
        self.compute_pop = max(self.dispatch + 1, self.compute_last, self.full[command.bank] + 1)
        busy = self.config.slices * command.steps
        interval = compute_interval(self.config, command)
        first = max(self.compute_pop + 1, self.macro_free)
        if command.last:
            first = max(first, self.out_free - busy)
        ready = np.array([self.rows.get(command.row + i * command.stride, -1) + 1
                          for i in range(command.count)])
        # issue[i] = max(issue[i-1] + interval, ready[i]), as a running maximum
        slack = np.maximum.accumulate(np.maximum(ready, first) - interval * np.arange(len(ready)))
        last = int(slack[-1]) + interval * (len(ready) - 1)
        self.compute_last, self.macro_free = last, last + busy
        if command.release:
            self.empty[command.bank] = last + busy + 1
        out = 0
        if command.last:
            out = self.config.out_beats(Mode(command.n, command.m, command.group))
            self.out_free = last + busy + out
        leaving = out + self.config.drain_latency if command.last else 0
        self.drained = max(self.drained, last + busy + self.config.macro_latency + leaving)
        self.time.compute += busy * command.count
        self.time.spans.append(("compute", first + 1, last + busy))

    def _drain(self, command: SetRequantize | End, earliest: int):
        self.dispatch = max(earliest, self.weight_end + 1, self.act_end + 1, self.drained + 1)
        self.time.end = self.dispatch + 1


def timeline(config: DcimConfig, commands: list[Command]) -> Timeline:
    """Run the recurrence over a program that ends with :class:`End`."""
    schedule = Schedule(config)
    for command in commands:
        schedule.step(command)
    return schedule.time


def cycles(config: DcimConfig, commands: list[Command]) -> int:
    """Return the cycles from accepting the first command to retiring ``End``, both included."""
    return timeline(config, commands).end
