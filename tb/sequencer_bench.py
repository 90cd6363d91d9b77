"""cocotb bench of ``sequencer``; started by ``test_blocks.py``."""

import cocotb
import numpy as np

from cimforge.spec.commands import FIELDS, ErrorCode, Opcode, unpack_word
from cimforge_verif.checks import BankState, check
from tb.bfm import (
    Bench,
    Scoreboard,
    Stream,
    StreamDriver,
    StreamMonitor,
    StreamSink,
    block_config,
    stall_pattern,
)
from tb.check_bench import random_command

CONFIG = block_config()
STEPS, BEATS = CONFIG.max_steps.bit_length(), CONFIG.window_beats.bit_length()
TASK = ("bank", "first", "last", "requantize", "release", "n", "m_log2", "group_log2", "steps",
        "row", "stride", "count", "acc")
WIDTHS = dict(FIELDS)


def pack(values, widths) -> int:
    """Concatenate fields, the first one lowest."""
    word = shift = 0
    for value, bits in zip(values, widths, strict=True):
        word |= (value & (1 << bits) - 1) << shift
        shift += bits
    return word


def dispatched(f: dict[str, int]) -> tuple[str, int] | None:
    """Return the port on which a legal command leaves, and its payload."""
    opcode = f["opcode"]
    if opcode in (Opcode.LOAD_WEIGHTS, Opcode.LOAD_SELECTS):
        selects = int(opcode == Opcode.LOAD_SELECTS)
        return "load_weights", pack((f["bank"], selects, f["steps"]), (1, 1, STEPS))
    if opcode == Opcode.LOAD_ACTS:
        return "load_acts", pack((f["row"], f["count"], f["stride"]), (16, 16, BEATS))
    if opcode == Opcode.COMPUTE:
        widths = [STEPS if name == "steps" else WIDTHS[name] for name in TASK]
        return "compute", pack([f[name] for name in TASK], widths)
    if opcode == Opcode.SET_REQUANTIZE:
        values = (1, f["row"], f["bias"], f["count"], f["steps"])
        return "set_requantize", pack(values, (1, 16, 32, 16, 6))
    return None  # End


class Engines:
    """``drained`` and ``compute_idle`` at random; the model is fed by the command monitor."""

    def __init__(self, dut, rng, rate: float):
        self.dut, self.rng, self.rate = dut, rng, rate
        self.scoreboard = Scoreboard("dispatch")
        self.clear()

    def clear(self) -> None:
        """Start as after reset or ``clear``."""
        self.states = [BankState() for _ in range(CONFIG.weight_banks)]
        self.error, self.position, self.taken = ErrorCode.NONE, 0, 0

    def reset(self) -> None:
        self.clear()
        self.scoreboard = Scoreboard("dispatch")
        self.dut.clear.value, self.dut.drained.value, self.dut.compute_idle.value = 0, 1, 1

    def command(self, word: int) -> None:
        """Expect what this command does, unless an error stopped the program."""
        if self.error:
            return
        fields = unpack_word(word)
        self.error, self.position = check(CONFIG, fields, self.states), self.taken
        self.taken += 1
        if not self.error and dispatched(fields):
            self.scoreboard.expect(dispatched(fields))

    def edge(self) -> None:
        """Watch the ports that are no streams."""
        write = int(self.dut.set_requantize.value)
        if write & 1:
            assert int(self.dut.drained.value), "a requantizer was set while the tile worked"
            self.scoreboard.observe(("set_requantize", write))
        if int(self.dut.load_acts__valid.value):
            assert int(self.dut.compute_idle.value), "windows were loaded under a Compute"
        for name in ("drained", "compute_idle"):
            getattr(self.dut, name).value = int(self.rng.random() >= self.rate)


class SequencerBench:
    """Driver of the program, sinks in place of the engines."""

    def __init__(self, dut, stall: float):
        self.dut, self.rng = dut, np.random.default_rng(cocotb.RANDOM_SEED)
        seed = cocotb.RANDOM_SEED
        names = ("load_weights", "load_acts", "compute")
        ports = [Stream(dut, name) for name in names]
        commands = Stream(dut, "commands")
        self.engines = engines = Engines(dut, self.rng, stall)
        self.driver = StreamDriver(commands, stall_pattern(stall, seed, "commands"))
        # compute_idle may fall under a waiting LoadActs: the queue before it has just been filled
        watch = [StreamMonitor(port, lambda word, name=port.name: engines.scoreboard.observe(
            (name, word))) for port in ports if port.name != "load_acts"]
        self.bench = Bench(dut, [commands, *ports], [
            engines, *watch, _Taken(ports[1], engines),
            StreamMonitor(commands, engines.command), self.driver,
            *(StreamSink(port, stall_pattern(stall, seed, port.name)) for port in ports)])

    def program(self, count: int, errors: bool) -> list[int]:
        """Return random command words: legal ones, ending with an illegal one if ``errors``."""
        states = [BankState() for _ in range(CONFIG.weight_banks)]
        words: list[int] = []
        while len(words) < count:
            values = random_command(self.rng)
            code = check(CONFIG, values, states)
            if not code or (errors and len(words) > count // 2):
                words.append(pack(values.values(), WIDTHS.values()))
                if code:
                    break
        return words

    async def run(self, words: list[int], limit: int = 20000) -> None:
        """Send a program and watch a while after its last command has left."""
        self.driver.send(words)
        await self.bench.run(lambda: self.driver.done and not self.engines.scoreboard._expected,
                             limit)
        await self.bench.idle(30)
        self.engines.scoreboard.close()
        assert int(self.dut.error.value) == self.engines.error
        if self.engines.error:
            assert int(self.dut.error_position.value) == self.engines.position
        assert int(self.dut.discard.value) == (self.engines.error != 0)


class _Taken:
    """A monitor that allows valid to fall."""

    def __init__(self, stream: Stream, engines: Engines):
        self.stream, self.engines = stream, engines

    def edge(self) -> None:
        if self.stream.moves:
            self.engines.scoreboard.observe((self.stream.name, self.stream.read()))

    def reset(self) -> None:
        """Nothing to forget."""


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.5])
async def random_programs(dut, stall):
    """Legal commands leave once, in order, unchanged; nothing leaves after an error."""
    bench = SequencerBench(dut, stall)
    for i in range(12):
        await bench.bench.reset()
        await bench.run(bench.program(30, errors=i % 2 == 1))


@cocotb.test()
async def clear_restarts(dut):
    """Commands after an error are swallowed until ``clear``; then positions count from 0."""
    bench = SequencerBench(dut, 0.3)
    await bench.bench.reset()
    for _ in range(6):
        await bench.run([*bench.program(20, errors=True), *bench.program(5, errors=False)])
        assert bench.engines.error
        dut.clear.value = 1
        await bench.bench.run(lambda: int(dut.cleared.value), 200)
        dut.clear.value = 0
        await bench.bench.idle(2)
        assert not int(dut.error.value)
        bench.engines.clear()
        await bench.run(bench.program(10, errors=False))
        dut.clear.value = 1
        await bench.bench.run(lambda: int(dut.cleared.value), 200)
        dut.clear.value = 0
        bench.engines.clear()


@cocotb.test()
async def throughput(dut):
    """A command leaves in every cycle while the engines are ready."""
    bench = SequencerBench(dut, 0.0)
    await bench.bench.reset()
    words = bench.program(60, errors=False)
    bench.driver.send(words)
    await bench.bench.run(lambda: bench.driver.done, 100)
    assert bench.bench.cycle == len(words) + 1
    await bench.run([])


@cocotb.test()
async def reset_in_flight(dut):
    """A command that waits for its engine is forgotten."""
    bench = SequencerBench(dut, 0.8)
    await bench.bench.reset()
    bench.driver.send(bench.program(20, errors=False))
    await bench.bench.idle(12)
    await bench.bench.reset()
    await bench.bench.idle(20)
    assert not bench.engines.scoreboard.matched
    await bench.run(bench.program(20, errors=False))
