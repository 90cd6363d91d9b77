"""The sequencer: order, one dispatch per cycle, waiting, errors, clear, and when a program runs."""

import pytest
from hw_support import BASE, PAIR, drive, mode_word, peek, simulate

from cimforge.spec.commands import (
    Compute,
    End,
    ErrorCode,
    LoadActs,
    LoadSelects,
    LoadWeights,
    SetRequantize,
    encode,
)
from cimforge_hw.dcim.sequencer import Sequencer

MODE = BASE.modes[-1]
ENGINES = ("load_weights", "load_acts", "compute")
LOAD = [LoadWeights(bank=0), LoadWeights(bank=1)]
BAD = LoadActs(row=0, count=0, beats=1)


def compute(**changes):
    values = dict(bank=0, n=MODE.n, m=MODE.m, group=MODE.group, row=1, stride=2, count=3)
    return Compute(**(values | changes))


class Bench:
    """Feeds commands; plays engines that are ready unless told otherwise."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut, self.cycle = ctx, dut, 0
        self.ready = dict.fromkeys(ENGINES, 1)
        self.compute_idle = self.drained = 1
        self.events, self.running, self.starved = [], [], []

    async def tick(self, command=None, clear=0):
        """Spend a cycle; return whether the command was accepted."""
        ctx, dut = self.ctx, self.dut
        drive(ctx, dut.commands.valid, command is not None)
        if command is not None:
            word = encode([command])[0] if not isinstance(command, bytes) else command
            drive(ctx, dut.commands.payload, int.from_bytes(bytes(word), "little"))
        drive(ctx, [dut.clear, dut.compute_idle, dut.drained],
              [clear, self.compute_idle, self.drained])
        for name in ENGINES:
            port = getattr(dut, name)
            drive(ctx, port.ready, self.ready[name])
            if peek(ctx, port.valid) and self.ready[name]:
                self.events.append((self.cycle, name))
        if peek(ctx, dut.set_requantize.en):
            self.events.append((self.cycle, "set_requantize"))
        for name, log in (("running", self.running), ("starved", self.starved)):
            if peek(ctx, getattr(dut, name)):
                log.append(self.cycle)
        taken = command is not None and bool(peek(ctx, dut.commands.ready))
        await ctx.tick()
        self.cycle += 1
        return taken

    async def send(self, commands):
        for command in commands:
            while not await self.tick(command):
                assert self.cycle < 200, "a command is not accepted"

    def error(self):
        return peek(self.ctx, self.dut.error), peek(self.ctx, self.dut.error_position)


def run(bench, config=BASE):
    dut = Sequencer(config)

    async def testbench(ctx):
        await bench(Bench(ctx, dut))

    simulate(dut, testbench)


def test_one_dispatch_per_cycle_in_order():
    async def bench(b):
        await b.send([LOAD[0], LoadActs(row=0, count=2, beats=1), compute(), LOAD[1],
                      compute(bank=1), SetRequantize(output=1, bias=0, multiplier=0, shift=0),
                      End()])
        await b.tick()
        assert b.events == [(1, "load_weights"), (2, "load_acts"), (3, "compute"),
                            (4, "load_weights"), (5, "compute"), (6, "set_requantize")]

    run(bench)


@pytest.mark.parametrize(("command", "port", "expected"), [
    (LoadWeights(bank=1), "load_weights", dict(bank=1, selects=0)),
    (LoadSelects(bank=1, steps=2), "load_weights", dict(bank=1, selects=1, steps=2)),
    (LoadActs(row=3, count=2, beats=1), "load_acts", dict(row=3, count=2, beats=1)),
    (compute(count=2, acc=3, last=False, requantize=True, release=False), "compute",
     dict(bank=0, first=1, last=0, requantize=1, release=0, mode=mode_word(MODE), steps=1, row=1,
          stride=2, count=2, acc=3)),
    (compute(bank=0, first=False, row=5, stride=1), "compute",
     dict(first=0, last=1, requantize=0, release=1, row=5, stride=1, count=3, acc=0)),
])
def test_what_the_engine_gets(command, port, expected):
    pair = isinstance(command, LoadSelects)
    expected = dict(expected)
    if port == "compute" and command.acc + command.count > BASE.acc_depth:
        command = compute(count=1, acc=3, last=False, requantize=True, release=False)
        expected["count"] = 1

    async def bench(b):
        await b.send([] if port != "compute" else [LOAD[0]])
        b.ready[port] = 0
        await b.send([command])
        target = getattr(b.dut, port)
        for _ in range(3):
            assert peek(b.ctx, target.valid)
            assert {name: peek(b.ctx, getattr(target.payload, name))
                    for name in expected} == expected
            await b.tick()

    run(bench, PAIR if pair else BASE)


@pytest.mark.parametrize("bias", [-5, -1 << 31, (1 << 31) - 2])
def test_set_requantize_reaches_the_drain(bias):
    async def bench(b):
        await b.send([SetRequantize(output=3, bias=bias, multiplier=65535, shift=47)])
        write = b.dut.set_requantize
        assert (peek(b.ctx, write.en), peek(b.ctx, write.output)) == (1, 3)
        parameters = b.ctx.get(write.parameters)
        assert (parameters.bias, parameters.multiplier, parameters.shift) == (bias, 65535, 47)

    run(bench)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_busy_engine_holds_up_the_program(engine):
    command = dict(load_weights=LOAD[1], load_acts=LoadActs(row=0, count=1, beats=1),
                   compute=compute())[engine]

    async def bench(b):
        await b.send([LOAD[0]])
        await b.tick()
        b.events.clear()
        b.ready[engine] = 0
        await b.send([command])
        for _ in range(3):
            assert not await b.tick(End())
        b.ready[engine] = 1
        freed = b.cycle
        assert await b.tick(End())
        assert b.events == [(freed, engine)]

    run(bench)


@pytest.mark.parametrize(("command", "flag", "name"), [
    (LoadActs(row=0, count=1, beats=1), "compute_idle", "load_acts"),
    (SetRequantize(output=0, bias=0, multiplier=0, shift=0), "drained", "set_requantize"),
])
def test_what_must_wait_for_idle_engines(command, flag, name):
    async def bench(b):
        setattr(b, flag, 0)
        await b.send([command])
        for _ in range(3):
            await b.tick()
        assert b.events == []
        setattr(b, flag, 1)
        freed = b.cycle
        await b.tick()
        await b.tick()
        assert b.events == [(freed, name)]

    run(bench)


def test_running_is_from_the_first_command_to_end():
    async def bench(b):
        await b.tick()
        await b.send([LOAD[0]])
        await b.tick()
        await b.tick()
        b.drained = 0
        await b.send([End()])
        await b.tick()
        b.drained = 1
        for _ in range(3):
            await b.tick()
        assert b.running == [1, 2, 3, 4, 5, 6]
        assert b.starved == [2, 3]  # in 2 the register empties and nothing comes; End comes in 4

    run(bench)


@pytest.mark.parametrize("gap", [0, 2])
def test_a_second_program_runs_again(gap):
    async def bench(b):
        await b.send([End()])
        for _ in range(gap):
            await b.tick()
        await b.send([End()])
        for _ in range(3):
            await b.tick()
        assert b.running == ([0, 1, 2] if not gap else [0, 1, 3, 4])
        assert b.starved == []

    run(bench)


def test_an_error_stops_the_program_and_is_sticky():
    async def bench(b):
        await b.send([LOAD[0], compute(), BAD, LOAD[1], bytes(16), compute()])
        for _ in range(3):
            await b.tick()
        assert b.error() == (ErrorCode.COUNT, 2)
        assert b.events == [(1, "load_weights"), (2, "compute")]
        assert peek(b.ctx, b.dut.discard)
        assert not peek(b.ctx, b.dut.running)
        b.ready = dict.fromkeys(ENGINES, 0)
        b.compute_idle = b.drained = 0
        for command in (LOAD[0], End(), compute(), BAD, LoadActs(row=0, count=1, beats=1)):
            assert await b.tick(command), "every command is accepted at once"
        assert b.error() == (ErrorCode.COUNT, 2)

    run(bench)


@pytest.mark.parametrize("before", [0, 1, 3])
def test_the_position_counts_from_reset_and_from_clear(before):
    async def bench(b):
        for _ in range(2):
            await b.send([LoadActs(row=0, count=1, beats=1)] * before + [BAD])
            await b.tick()
            assert b.error() == (ErrorCode.COUNT, before)
            await b.send([End()] * 3)
            await b.tick()
            await b.tick(clear=1)
            assert b.error() == (ErrorCode.NONE, 0)

    run(bench)


def test_clear_waits_until_everything_is_drained():
    async def bench(b):
        await b.send([LOAD[0], BAD])
        b.drained = 0
        await b.tick()
        for _ in range(3):
            await b.tick(clear=1)
            assert b.error() == (ErrorCode.COUNT, 1)
        b.drained = 1
        drive(b.ctx, [b.dut.clear, b.dut.drained], [1, 1])
        assert peek(b.ctx, b.dut.cleared)
        await b.tick(clear=1)
        assert b.error() == (ErrorCode.NONE, 0)
        assert not peek(b.ctx, b.dut.discard)

    run(bench)


def test_clear_forgets_banks_and_selects():
    async def bench(b):
        await b.send([LoadSelects(bank=0, steps=2), *LOAD])
        for _ in range(2):
            await b.tick(clear=1)
        mode = PAIR.modes[0]
        late = compute(n=mode.n, m=mode.m, group=mode.group, steps=2)
        await b.send([LOAD[0], late])  # the bank is empty, its selects are gone
        await b.tick()
        assert b.error() == (ErrorCode.NO_SELECTS, 1)

    run(bench, PAIR)


def test_a_command_that_comes_with_clear_waits_a_cycle():
    async def bench(b):
        await b.send([BAD])
        for _ in range(3):
            await b.tick()
        b.running.clear()
        command = LoadActs(row=0, count=1, beats=1)
        assert not await b.tick(command, clear=1)
        assert b.error() == (ErrorCode.NONE, 0)
        await b.send([command, BAD])
        await b.tick()
        assert b.error() == (ErrorCode.COUNT, 1)
        assert b.events == [(6, "load_acts")]
        assert b.running == [5, 6, 7]  # the error is seen in 7

    run(bench)


@pytest.mark.parametrize(("commands", "code"), [
    ([compute()], ErrorCode.NO_WEIGHTS),
    ([LOAD[0], LOAD[0]], ErrorCode.BANK_FULL),
    ([LOAD[0], LOAD[1], compute(bank=1), LOAD[0]], ErrorCode.BANK_FULL),
    ([LOAD[0], compute(), compute()], ErrorCode.NO_WEIGHTS),
    ([LOAD[1], compute()], ErrorCode.NO_WEIGHTS),
    ([LOAD[0], compute(release=False), compute(), LOAD[0], compute(), LOAD[0]], ErrorCode.NONE),
])
def test_banks_are_judged_in_program_order(commands, code):
    async def bench(b):
        await b.send(commands)
        await b.tick()
        wanted = (code, len(commands) - 1) if code else (0, 0)
        assert b.error() == wanted

    run(bench)
