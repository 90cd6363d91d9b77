"""The compute engine: which windows it reads, when, and what it tells the macro."""

from dataclasses import dataclass

import numpy as np
import pytest
from hw_support import (
    BASE,
    PAIR,
    SMALLEST,
    drive,
    fields,
    ids,
    mode_word,
    peek,
    simulate,
    stall_pattern,
)

from cimforge.spec.mode import Mode
from cimforge_hw.dcim.issue import Issue

TIMED = [BASE, BASE.replace(acc_depth=1 << 12), BASE.replace(act_slice=2),
         BASE.replace(out_port=1), SMALLEST, PAIR.replace(cols=4),
         PAIR.replace(cols=4, act_slice=4, out_port=1)]


@dataclass(frozen=True, kw_only=True)
class Task:
    mode: Mode
    bank: int = 0
    steps: int = 1
    row: int = 0
    stride: int = 1
    count: int = 1
    acc: int = 0
    first: int = 1
    last: int = 1
    requantize: int = 0
    release: int = 1

    def beats(self, config):
        return config.out_beats(self.mode) if self.last else 0

    def vectors(self):
        """Yield what the macro must see."""
        for i in range(self.count):
            final = int(i == self.count - 1)
            yield dict(row=self.row + i * self.stride, acc=self.acc + i, first=self.first,
                       last=self.last, requantize=self.requantize, end=final, bank=self.bank,
                       release=self.release & final, steps=self.steps, mode=mode_word(self.mode))


class Bench:
    """Plays queue, buffer and macro around the engine."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut, self.config, self.cycle = ctx, dut, dut.config, 0
        self.ready, self.pending, self.frozen = 3, set(), iter([])
        self.queued, self.read, self.claimed, self.vectors = [], [], [], []
        self.worked, self.row = 0, None

    async def tick(self, task=None):
        """Spend a cycle; return whether the task was taken."""
        ctx, dut = self.ctx, self.dut
        drive(ctx, [dut.task.valid, dut.ready], [task is not None, self.ready])
        if task is not None:
            values = {name: getattr(task, name) for name in Task.__dataclass_fields__}
            fields(ctx, dut.task.payload, **{**values, "mode": mode_word(task.mode)})
        self._macro()
        drive(ctx, dut.pending, peek(ctx, dut.read_row) in self.pending)
        taken = task is not None and bool(peek(ctx, dut.task.ready))
        if taken:
            self.queued.append(self.cycle)
        if peek(ctx, dut.claimed):
            self.claimed.append((self.cycle, peek(ctx, dut.claimed_bank)))
        reading = peek(ctx, dut.read_en)
        row = peek(ctx, dut.read_row)
        await ctx.tick()
        if reading:
            self.read.append(self.cycle)
            self.row, self.shown = row, row % (1 << len(dut.window[0]))
            drive(ctx, dut.window, [self.shown] * len(dut.window))
        self.cycle += 1
        return taken

    def _macro(self):
        """Take a vector in the last of its cycles; stand still when frozen."""
        ctx, port = self.ctx, self.dut.vectors
        frozen = next(self.frozen, False)
        drive(ctx, port.ready, 0)
        if not peek(ctx, port.valid) or frozen:
            return
        self.worked += 1
        if self.worked == self.config.slices * peek(ctx, port.steps):
            self.worked = 0
            drive(ctx, port.ready, 1)
            assert (peek(ctx, port.window) == self.shown).all()
            seen = {name: peek(ctx, getattr(port.tag, name)) for name in
                    ("acc", "first", "last", "requantize", "end")}
            seen |= {name: peek(ctx, getattr(port, name)) for name in
                     ("bank", "release", "steps", "mode")}
            self.vectors.append(dict(seen, row=self.row))

    async def run(self, tasks):
        for task in tasks:
            while not await self.tick(task):
                assert self.cycle < 3000, "the engine does not take the task"
        while not peek(self.ctx, self.dut.idle) or peek(self.ctx, self.dut.vectors.valid):
            await self.tick()
            assert self.cycle < 3000, "the engine does not become idle"

    def check(self, tasks):
        assert self.vectors == [vector for task in tasks for vector in task.vectors()]


def issue_cycles(config, tasks, queued):
    """Return when windows are read, by rule 5 of docs/dcim.md."""
    cycles, macro, out, last = [], 0, 0, -1
    for task, taken in zip(tasks, queued, strict=True):
        earliest = max(taken + 1, last) + 1  # the cycle after the pop
        q, beats = config.slices * task.steps, task.beats(config)
        for _ in range(task.count):
            last = max(earliest, macro, out - q if task.last else 0)
            cycles.append(last)
            earliest, macro = last + 1, last + q
            out = last + q + beats if task.last else out
    return cycles


def run(config, bench):
    dut = Issue(config)

    async def testbench(ctx):
        await bench(Bench(ctx, dut), np.random.default_rng(15))

    simulate(dut, testbench)


def random_tasks(config, rng, count):
    def one():
        number = int(rng.integers(1, 5))
        return Task(
            mode=config.modes[rng.integers(len(config.modes))], row=int(rng.integers(1 << 15)),
            stride=int(rng.integers(1 << 13)), count=number, acc=int(rng.integers(max(
                1, config.acc_depth - number + 1))), steps=int(rng.integers(config.max_steps)) + 1,
            **{name: int(rng.integers(2)) for name in
               ("bank", "first", "last", "requantize", "release")})
    return [task for task in (one() for _ in range(count * 3))
            if task.acc + task.count <= config.acc_depth][:count]


@pytest.mark.parametrize("config", TIMED, ids=ids)
def test_windows_are_read_as_rule_5_says(config):
    async def bench(b, rng):
        tasks = random_tasks(config, rng, 14)
        await b.run(tasks)
        b.check(tasks)
        assert b.read == issue_cycles(config, tasks, b.queued)

    run(config, bench)


@pytest.mark.parametrize("config", TIMED, ids=ids)
def test_a_slow_macro_loses_nothing(config):
    async def bench(b, rng):
        b.frozen = stall_pattern(0.5, 3, "macro")
        tasks = random_tasks(config, rng, 8)
        await b.run(tasks)
        b.check(tasks)

    run(config, bench)


def test_a_count_of_more_than_eight_bits():
    async def bench(b, rng):
        task = Task(mode=BASE.modes[-1], row=9, stride=100, count=600, last=0)
        await b.run([task])
        assert [vector["row"] for vector in b.vectors] == list(range(9, 60009, 100))

    run(BASE, bench)


@pytest.mark.parametrize("bank", [0, 1])
@pytest.mark.parametrize("release", [0, 1])
def test_a_command_waits_for_its_bank_and_claims_it_once(bank, release):
    async def bench(b, rng):
        b.ready = 2 - bank  # only the other one
        await b.tick(Task(mode=BASE.modes[0], bank=bank, count=3, release=release))
        for _ in range(5):
            await b.tick()
        assert (b.read, b.claimed) == ([], [])
        assert not peek(b.ctx, b.dut.idle)
        b.ready = 3
        start = b.cycle
        for _ in range(8):
            await b.tick()
        assert b.claimed == [(start, bank)] * release
        assert b.read[0] == start + 1

    run(BASE, bench)


def test_a_window_still_being_loaded_is_waited_for():
    async def bench(b, rng):
        task = Task(mode=BASE.modes[-1], row=3, count=3)
        b.pending = {4}
        await b.tick(task)
        for _ in range(6):
            await b.tick()
        assert b.read == [2]
        b.pending, freed = set(), b.cycle
        await b.run([])
        b.check([task])
        assert b.read == [2, freed, freed + 1]

    run(BASE, bench)


def test_one_command_waits_in_the_queue():
    async def bench(b, rng):
        tasks = [Task(mode=BASE.modes[-1], count=4), Task(mode=BASE.modes[-1], count=2, row=9),
                 Task(mode=BASE.modes[-1])]
        await b.run(tasks)
        assert b.queued == [0, 1, 5]  # the third when the second starts, with the fourth window
        assert b.read == [2, 3, 4, 5, 6, 7, 8]
        assert peek(b.ctx, b.dut.idle)

    run(BASE, bench)


def test_idle_from_the_cycle_after_the_last_read():
    async def bench(b, rng):
        b.frozen = iter([True] * 20)
        await b.tick(Task(mode=BASE.modes[-1]))
        idle = []
        for _ in range(4):
            idle.append(peek(b.ctx, b.dut.idle))
            await b.tick()
        assert idle == [0, 0, 1, 1]
        assert b.read == [2]

    run(BASE, bench)
