"""cocotb bench of ``issue``; started by ``test_blocks.py``."""

from collections import deque

import cocotb
import numpy as np

from cimforge.spec.mode import Mode
from tb.bfm import (
    Bench,
    FieldStream,
    Scoreboard,
    Stream,
    StreamDriver,
    StreamMonitor,
    block_config,
    drive_array,
    mode_bits,
    split,
    stall_pattern,
)

CONFIG = block_config()
BLOCKS = CONFIG.window_inputs // CONFIG.max_m
STEPS = CONFIG.max_steps.bit_length()
ACC = (CONFIG.acc_depth - 1).bit_length()
TASK = (("bank", 1), ("first", 1), ("last", 1), ("requantize", 1), ("release", 1), ("mode", 11),
        ("steps", STEPS), ("row", 16), ("stride", 16), ("count", 16), ("acc", 16))
FIELDS = [*(f"window__{i}" for i in range(BLOCKS)), "mode", "bank", "steps", "release", "tag"]
MODES = {mode_bits(mode): mode for mode in CONFIG.modes}


def window_of(row: int) -> np.ndarray:
    """Return the window that the stand-in for the activation buffer keeps in a row."""
    bits = CONFIG.max_m * CONFIG.act_bits
    return np.array([(row * 2654435761 + i * 40503) % (1 << bits) for i in range(BLOCKS)],
                    dtype=object)


class Surroundings:
    """Buffer, banks and macro as ``issue`` sees them; the model is fed by the task monitor."""

    def __init__(self, dut, vectors: FieldStream, rng, pending: float):
        self.dut, self.vectors, self.rng, self.rate = dut, vectors, rng, pending
        self.scoreboard = Scoreboard("vector")
        self.reset()

    def reset(self) -> None:
        """Every bank is ready, nothing is pending, the macro is idle."""
        self.reads: deque[int] = deque()
        self.steps: deque[int] = deque()
        self.claims: deque[int] = deque()
        self.spent, self.ready = 0, (1 << CONFIG.weight_banks) - 1
        self.taken: list[int] = []
        self.cycle = 0
        self.scoreboard = Scoreboard("vector")
        for name in ("pending", "vectors__ready"):
            getattr(self.dut, name).value = 0
        self.dut.ready.value = self.ready

    def task(self, payload: int) -> None:
        """Expect the vectors of a command."""
        t = split(payload, TASK)
        if t["release"]:
            self.claims.append(t["bank"])
        for i in range(t["count"]):
            row, last = t["row"] + i * t["stride"], i == t["count"] - 1
            self.reads.append(row)
            self.steps.append(t["steps"])
            tag = ((t["acc"] + i) % CONFIG.acc_depth | t["first"] << ACC | t["last"] << ACC + 1
                   | t["requantize"] << ACC + 2 | last << ACC + 3)
            self.scoreboard.expect({
                **{f"window__{i}": int(w) for i, w in enumerate(window_of(row))},
                "mode": t["mode"], "bank": t["bank"], "steps": t["steps"],
                "release": int(t["release"] and last), "tag": tag})

    def edge(self) -> None:
        """Answer reads and claims; take a vector after ``slices * steps`` cycles."""
        dut, self.cycle = self.dut, self.cycle + 1
        if int(dut.claimed.value):
            bank = int(dut.claimed_bank.value)
            assert self.ready >> bank & 1, f"bank {bank} was claimed while it was not ready"
            assert self.claims.popleft() == bank
            self.ready &= ~(1 << bank)
        elif self.rng.random() < 0.2 or not self.rate:
            self.ready = (1 << CONFIG.weight_banks) - 1
        dut.ready.value = self.ready
        if int(dut.read_en.value):
            assert not int(dut.pending.value), "a pending window was read"
            row = int(dut.read_row.value)
            assert row == self.reads.popleft(), f"row {row} was read"
            drive_array(dut, "window", window_of(row))
        dut.pending.value = int(self.rng.random() < self.rate)
        self._macro()

    def _macro(self) -> None:
        if self.vectors.moves:
            self.taken.append(self.cycle)
            self.scoreboard.observe(self.vectors.read())
            self.steps.popleft()
            self.spent = 0
        elif self.vectors.valid:
            self.spent += 1
        busy = CONFIG.slices * self.steps[0] if self.steps else 1
        stalled = self.rng.random() < self.rate
        self.dut.vectors__ready.value = int(self.spent >= busy - 1 and not stalled)


class IssueBench:
    """Driver of the tasks, and what surrounds the block."""

    def __init__(self, dut, stall: float):
        self.dut, self.rng = dut, np.random.default_rng(cocotb.RANDOM_SEED)
        task, vectors = Stream(dut, "task"), FieldStream(dut, "vectors", FIELDS)
        self.driver = StreamDriver(task, stall_pattern(stall, cocotb.RANDOM_SEED, "task"))
        self.around = Surroundings(dut, vectors, self.rng, stall)
        # the stand-in for the macro looks first: it must know a task when its vectors come
        self.bench = Bench(dut, [task, vectors], [
            StreamMonitor(task, self.around.task), self.around, StreamMonitor(vectors),
            self.driver])

    def task(self, **fields) -> int:
        """Return a random command."""
        rng = self.rng
        values = {name: int(rng.integers(1 << bits)) for name, bits in TASK}
        values |= {"bank": int(rng.integers(CONFIG.weight_banks)), "row": int(rng.integers(99)),
                   "mode": int(rng.choice(list(MODES))), "stride": int(rng.integers(0, 5)),
                   "steps": int(rng.integers(1, CONFIG.max_steps + 1)),
                   "count": int(rng.integers(1, 6)), "acc": int(rng.integers(CONFIG.acc_depth)),
                   **fields}
        word, shift = 0, 0
        for name, bits in TASK:
            word |= values[name] << shift
            shift += bits
        return word

    async def run(self, tasks: list[int], limit: int) -> None:
        """Send commands and wait until every vector was taken, then keep watching."""
        self.driver.send(tasks)
        await self.bench.run(lambda: self.driver.done and int(self.dut.idle.value)
                             and not self.around.scoreboard._expected, limit)
        await self.bench.idle(20)
        self.around.scoreboard.close()
        assert not self.around.reads
        assert not self.around.claims


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.3])
async def random_commands(dut, stall):
    """Commands of every kind; with stalls, windows are pending and banks not ready at random."""
    bench = IssueBench(dut, stall)
    await bench.bench.reset()
    await bench.run([bench.task() for _ in range(80)], 30000)


@cocotb.test()
async def throughput(dut):
    """Inside a command a vector every ``slices * steps`` cycles, or as fast as results leave."""
    bench = IssueBench(dut, 0.0)
    for bits, mode in MODES.items():
        for last in (0, 1):
            await bench.bench.reset()
            steps = CONFIG.max_steps if last else 1
            await bench.run([bench.task(mode=bits, last=last, steps=steps, count=12)], 2000)
            check_interval(bench.around.taken, mode, steps, bool(last))


def check_interval(taken: list[int], mode: Mode, steps: int, last: bool) -> None:
    """Fail unless vectors were taken in equal intervals of the documented length."""
    interval = CONFIG.slices * steps
    if last:
        interval = max(interval, CONFIG.out_beats(mode))
    assert set(np.diff(taken)) == {interval}, (mode, steps, last, np.diff(taken))


@cocotb.test()
async def reset_in_flight(dut):
    """Commands that reset interrupts are forgotten, the queued one included."""
    bench = IssueBench(dut, 0.4)
    await bench.bench.reset()
    bench.driver.send([bench.task() for _ in range(5)])
    await bench.bench.idle(12)
    await bench.bench.reset()
    await bench.bench.idle(30)
    assert not bench.around.taken
    await bench.run([bench.task() for _ in range(10)], 5000)
