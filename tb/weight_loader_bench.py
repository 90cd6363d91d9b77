"""cocotb bench of ``weight_loader``; started by ``test_blocks.py``."""

import cocotb
import numpy as np

from cimforge.spec.layout import pack_selects, pack_weights, unpack_weights
from cimforge_verif.random_tile import random_tile
from tb.bfm import (
    Bench,
    Stream,
    StreamDriver,
    StreamMonitor,
    block_config,
    ints_of,
    join,
    read_array,
    stall_pattern,
)

CONFIG = block_config()
P, BITS = CONFIG.sub_macros, CONFIG.weight_bits


class Banks:
    """What the macro does with the banks: stores writes, claims ready ones, releases later."""

    def __init__(self, dut, rng, rate: float):
        self.dut, self.rng, self.rate = dut, rng, rate
        self.reset()

    def reset(self) -> None:
        """Forget everything; nothing is claimed or released."""
        self.rows: list[dict] = [{} for _ in range(CONFIG.weight_banks)]
        self.expected: list[tuple[int, dict]] = []  # bank and rows of the loads to come
        self.busy: set[int] = set()  # full: loaded, and not released
        self.claimed: set[int] = set()
        self.loaded = 0
        self.dut.claimed.value = self.dut.released.value = 0

    def edge(self) -> None:
        """Store what is written in this cycle; sometimes claim or release."""
        self._store()
        ready = int(self.dut.ready.value)
        dut = self.dut
        for name in ("claimed", "released"):
            getattr(dut, name).value = 0
        for bank in range(CONFIG.weight_banks):
            if bank in self.claimed and self.rng.random() < self.rate:
                dut.released.value, dut.released_bank.value = 1, bank
                self.claimed.remove(bank)
                self.busy.remove(bank)
                self.rows[bank] = {}
                break
            if ready >> bank & 1 and bank in self.busy - self.claimed and (
                    self.rng.random() < self.rate):
                dut.claimed.value, dut.claimed_bank.value = 1, bank
                self.claimed.add(bank)
                break

    def _store(self) -> None:
        for p in range(P):
            port = f"write__{p}__"
            if not int(getattr(self.dut, f"{port}en").value):
                continue
            bank = int(getattr(self.dut, f"{port}bank").value)
            row = int(getattr(self.dut, f"{port}row").value)
            assert bank not in self.busy, f"bank {bank} was written while it was occupied"
            self.rows[bank][p, row] = tuple(read_array(self.dut, f"{port}data", (CONFIG.units,)))
            if len(self.rows[bank]) == CONFIG.slots:
                self._full(bank)

    def _full(self, bank: int) -> None:
        assert self.expected, f"bank {bank} was filled once too often"
        wanted, rows = self.expected.pop(0)
        assert (bank, self.rows[bank]) == (wanted, rows), f"load {self.loaded} of bank {bank}"
        self.busy.add(bank)
        self.loaded += 1


class LoaderBench:
    """Drivers of tasks and weights, and the banks behind the write ports."""

    def __init__(self, dut, stall: float, rate: float):
        self.dut, self.rng = dut, np.random.default_rng(cocotb.RANDOM_SEED)
        task, weights = Stream(dut, "task"), Stream(dut, "weights")
        seed = cocotb.RANDOM_SEED
        self.tasks = StreamDriver(task, stall_pattern(stall, seed, "task"))
        self.weights = StreamDriver(weights, stall_pattern(stall, seed, "weights"))
        self.banks = Banks(dut, self.rng, rate)
        self.monitor = StreamMonitor(weights)
        self.bench = Bench(dut, [task, weights],
                           [self.banks, self.tasks, self.weights, self.monitor])
        for name in ("discard", "clear", "claimed_bank", "released_bank"):
            getattr(dut, name).value = 0
        self.beats = 0
        self.selects: dict[int, list[int]] = {}

    def load(self, bank: int) -> None:
        """Queue a random tile; with ``pair`` its selects come first."""
        mode = CONFIG.modes[self.rng.integers(len(CONFIG.modes))]
        steps = int(self.rng.integers(1, CONFIG.max_steps + 1))
        tile = random_tile(CONFIG, mode, self.rng, steps)
        if tile.selects is not None:
            packed = pack_selects(CONFIG, *tile.selects)
            self.tasks.send([bank | 2 | steps << 2])
            self._send(packed)
            words = [join(step, CONFIG.weight_beat_bits) for step in
                     np.array(list(ints_of(packed)), dtype=object).reshape(steps, -1)]
            self.selects[bank] = [word & (1 << CONFIG.select_bits) - 1 for word in words]
        beats = pack_weights(CONFIG, tile.weight, tile.index)
        self.tasks.send([bank])
        self._send(beats)
        weight, index = unpack_weights(CONFIG, beats)
        share = CONFIG.index_share
        rows = {(p, r): tuple(join(weight[p, r, u * share:(u + 1) * share].tolist(), BITS)
                              | int(index[p, r, u]) << share * BITS for u in range(CONFIG.units))
                for p in range(P) for r in range(CONFIG.rows)}
        self.banks.expected.append((bank, rows))

    def _send(self, beats: np.ndarray) -> None:
        self.weights.send(beats)
        self.beats += len(beats)

    async def finish(self, limit: int) -> None:
        """Wait for every load, then keep watching."""
        await self.bench.run(lambda: not self.banks.expected, limit)
        await self.bench.idle(40)
        assert self.weights.done
        assert self.tasks.done
        assert int(self.dut.idle.value)

    async def check_selects(self) -> None:
        """Read the step memory of every bank."""
        for bank, words in self.selects.items():
            for step, word in enumerate(words):
                self.dut.step_bank.value, self.dut.step.value = bank, step
                await self.bench.idle(2)
                assert int(self.dut.selects.value) == word, f"step {step} of bank {bank}"


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.4], rate=[0.05, 1.0])
async def random_loads(dut, stall, rate):
    """Loads in turn and at random, with banks released early and late."""
    bench = LoaderBench(dut, stall, rate)
    await bench.bench.reset()
    for i in range(12):
        bench.load(i % CONFIG.weight_banks if i < 6 else int(
            bench.rng.integers(CONFIG.weight_banks)))
    await bench.finish(8000)
    assert bench.banks.loaded == 12
    assert bench.monitor.transfers == bench.beats
    await bench.check_selects()


@cocotb.test()
async def throughput(dut):
    """Tasks follow each other without a bubble while banks are empty."""
    bench = LoaderBench(dut, 0.0, 0.0)
    await bench.bench.reset()
    for bank in range(CONFIG.weight_banks):
        bench.load(bank)
    await bench.bench.run(lambda: not bench.banks.expected, 1000)
    # offered, into the queue, out of the queue, then the beats
    assert bench.bench.cycle == bench.beats + 3, (bench.bench.cycle, bench.beats)


@cocotb.test()
async def clear_discard_and_reset(dut):
    """``clear`` and reset empty the banks; discarded beats write nothing."""
    bench = LoaderBench(dut, 0.2, 0.0)
    await bench.bench.reset()
    bench.load(0)
    await bench.finish(1000)
    dut.clear.value = dut.discard.value = 1
    await bench.bench.idle(1)
    dut.clear.value = 0
    bench.weights.send([0] * 9)
    await bench.bench.run(lambda: bench.weights.done, 100)
    dut.discard.value = 0
    await bench.bench.idle(2)
    assert not int(dut.ready.value)
    bench.banks.reset()
    bench.load(0)
    await bench.finish(1000)
    bench.load(CONFIG.weight_banks - 1)  # reset interrupts it, or comes while it waits
    await bench.bench.idle(6)
    await bench.bench.reset()
    bench.load(0)
    await bench.finish(1000)
