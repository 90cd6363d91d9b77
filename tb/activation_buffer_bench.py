"""cocotb bench of ``activation_buffer``; started by ``test_blocks.py``."""

import cocotb
import numpy as np

from cimforge.spec.layout import pack_acts, unpack_acts
from cimforge_verif.compare import assert_equal
from cimforge_verif.random_tile import random_signed
from tb.bfm import (
    Bench,
    Stream,
    StreamDriver,
    StreamMonitor,
    beats_of,
    block_config,
    join,
    low_bits,
    read_array,
    split,
    stall_pattern,
)

CONFIG = block_config()
TASK = (("row", 16), ("count", 16), ("beats", CONFIG.window_beats.bit_length()))
BLOCKS = CONFIG.window_inputs // CONFIG.max_m


class Model:
    """Windows by row, filled by what the monitors saw; reads any row that is not pending."""

    def __init__(self, dut, rng):
        self.dut, self.rng = dut, rng
        self.rows = {}
        self.task, self.beat, self.read, self.reads, self.waits = None, 0, None, 0, 0

    def start(self, payload: int) -> None:
        assert self.task is None, "a task was taken while another one was under way"
        self.task, self.beat = split(payload, TASK), 0

    def load(self, payload: int) -> None:
        assert self.task, "a beat was taken without a task"
        if self.beat == 0:  # the first beat clears the lanes beyond it
            self.rows[self.task["row"]] = np.zeros(
                CONFIG.window_beats * CONFIG.act_lanes, dtype=np.int64)
        row = self.rows[self.task["row"]]
        acts = unpack_acts(CONFIG, beats_of([payload], CONFIG.act_port_bits))
        row[self.beat * CONFIG.act_lanes:][:CONFIG.act_lanes] = acts[0]
        self.beat += 1
        if self.beat == self.task["beats"]:
            self.beat = 0
            self.task["row"] += 1
            self.task["count"] -= 1
            self.task = self.task if self.task["count"] else None

    def pending(self, row: int) -> bool:
        return self.task is not None and 0 <= row - self.task["row"] < self.task["count"]

    def edge(self) -> None:
        """Check the last read and the flags, then read another row."""
        dut = self.dut
        if self.read is not None:
            words = read_array(dut, "window", (BLOCKS,))
            expected = self.read[:CONFIG.window_inputs].reshape(BLOCKS, CONFIG.max_m)
            expected = [join(block, CONFIG.act_bits) for block in expected.tolist()]
            assert_equal("window", words, np.array(expected, dtype=object))
            self.reads += 1

    def choose(self) -> None:
        """Drive the read port for the next cycle; reads only what is not pending then."""
        row = int(self.rng.integers(CONFIG.act_depth))
        enable = row in self.rows and not self.pending(row) and self.rng.random() < 0.7
        self.dut.read_row.value, self.dut.read_en.value = row, int(enable)
        self.next = self.rows[row].copy() if enable else self.read
        self.asked = row

    def reset(self) -> None:
        self.task, self.read, self.next, self.asked = None, None, None, 0
        self.dut.read_en.value, self.dut.read_row.value = 0, 0


class _Reader:
    """Splits an edge: flags of the cycle, then transfers (by the monitors), then the next read."""

    def __init__(self, model: Model, before: bool):
        self.model, self.before = model, before

    def edge(self) -> None:
        model = self.model
        if not self.before:
            model.read = model.next
            model.choose()
            return
        model.edge()
        pending = bool(int(model.dut.pending.value))
        assert pending == model.pending(model.asked), f"pending of row {model.asked}"
        model.waits += pending
        assert bool(int(model.dut.idle.value)) == (model.task is None)

    def reset(self) -> None:
        self.model.reset()


class BufferBench:
    """Drivers of both streams, the model, and what ties them to the clock."""

    def __init__(self, dut, stall: float):
        self.dut, self.rng = dut, np.random.default_rng(cocotb.RANDOM_SEED)
        task, acts = Stream(dut, "task"), Stream(dut, "acts")
        self.model = Model(dut, self.rng)
        seed = cocotb.RANDOM_SEED
        self.tasks = StreamDriver(task, stall_pattern(stall, seed, "task"))
        self.acts = StreamDriver(acts, stall_pattern(stall, seed, "acts"))
        self.monitor = StreamMonitor(acts, self.model.load)
        self.bench = Bench(dut, [task, acts], [
            _Reader(self.model, True), self.tasks, self.acts, self.monitor,
            StreamMonitor(task, self.model.start), _Reader(self.model, False)])
        dut.discard.value = 0

    def send(self, row: int, count: int, beats: int) -> int:
        """Queue a task and its beats; return their number."""
        word, shift = 0, 0
        for (_, bits), value in zip(TASK, (row, count, beats), strict=True):
            word |= low_bits(value, bits) << shift
            shift += bits
        self.tasks.send([word])
        self.acts.send(pack_acts(CONFIG, random_signed(
            self.rng, (count, beats * CONFIG.act_lanes), CONFIG.act_bits)))
        return count * beats

    @property
    def done(self) -> bool:
        return self.tasks.done and self.acts.done and self.model.task is None


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.5])
async def random_tasks(dut, stall):
    """Windows of every width, over each other, while others are read."""
    bench = BufferBench(dut, stall)
    await bench.bench.reset()
    bench.send(0, CONFIG.act_depth, CONFIG.window_beats)
    for _ in range(40):
        row = int(bench.rng.integers(CONFIG.act_depth))
        count = int(bench.rng.integers(1, min(4, CONFIG.act_depth - row) + 1))
        bench.send(row, count, int(bench.rng.integers(1, CONFIG.window_beats + 1)))
    await bench.bench.run(lambda: bench.done, 10000)
    await bench.bench.idle(60)
    assert bench.model.reads > 100
    assert bench.model.waits > 10


@cocotb.test()
async def throughput(dut):
    """A beat in every cycle from the cycle after a task was taken."""
    bench = BufferBench(dut, 0.0)
    await bench.bench.reset()
    beats = bench.send(0, CONFIG.act_depth, CONFIG.window_beats)
    await bench.bench.run(lambda: bench.done, 1000)
    # one edge to offer the task, one to take it, then the beats
    assert bench.bench.cycle == beats + 2, (bench.bench.cycle, beats)
    assert bench.monitor.transfers == beats


@cocotb.test()
async def discard_and_reset(dut):
    """Discarded beats change nothing; a task that reset interrupts is forgotten."""
    bench = BufferBench(dut, 0.2)
    await bench.bench.reset()
    bench.send(0, CONFIG.act_depth, CONFIG.window_beats)
    await bench.bench.run(lambda: bench.done, 2000)
    dut.discard.value = 1
    bench.monitor._observe = lambda payload: None
    bench.acts.send([0] * 20)
    await bench.bench.run(lambda: bench.acts.done, 200)
    dut.discard.value = 0
    bench.monitor._observe = bench.model.load
    await bench.bench.idle(20)
    bench.send(0, 1, CONFIG.window_beats)
    await bench.bench.idle(3)
    await bench.bench.reset()
    bench.model.rows.pop(0, None)  # partly written
    await bench.bench.idle(20)
    bench.send(0, 1, CONFIG.window_beats)
    await bench.bench.run(lambda: bench.done, 200)
    await bench.bench.idle(20)
