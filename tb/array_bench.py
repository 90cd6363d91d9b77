"""What the benches of ``column`` and ``sub_macro`` share: both are columns on the same lines."""

from functools import partial

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from cimforge_verif.compare import assert_equal
from cimforge_verif.golden import sub_macro
from cimforge_verif.random_tile import random_signed
from cimforge_verif.sim.bfm import Bench
from tb.bfm import block_config, drive_array, join, low_bits, read_array

__all__ = ["back_to_back", "extremes", "random_vectors", "reset_in_flight"]

CONFIG = block_config()
R, L = CONFIG.rows, CONFIG.lines
LOW = -(1 << CONFIG.weight_bits - 1), -(1 << CONFIG.act_bits - 1)


class ArrayBench:
    """Writes rows and sends slices; sums are compared with golden after every clock.

    Parameters
    ----------
    dut : handle
    units : int
        Column units: 1 for a column.
    """

    def __init__(self, dut, units: int):
        self.dut, self.units = dut, units
        self.columns = units * CONFIG.index_share
        self.rng = np.random.default_rng(cocotb.RANDOM_SEED)
        self.weight = np.zeros((CONFIG.weight_banks, R, self.columns), dtype=np.int64)
        self.index = np.zeros((CONFIG.weight_banks, R, units), dtype=np.int64)
        self.config = CONFIG.replace(cols=self.columns, out_port=self.columns)
        # Sums there now, and those when what the first adder stage has is added up; None: unknown.
        self.expected: np.ndarray | None = None
        self.coming: np.ndarray | None = None
        self.compared = 0

    async def start(self) -> None:
        """Reset, and fill every bank."""
        for name in ("enable", "first", "last", "bank", "write__en"):
            getattr(self.dut, name).value = 0
        if CONFIG.adder_stages == 2:
            self.dut.advance.value = 1
        await Bench(self.dut).reset()
        for bank in range(CONFIG.weight_banks):
            for row in range(R):
                self.write(bank, row)
                await self.clock()
        self.dut.write__en.value = 0

    def write(self, bank: int, row: int, weight=None) -> None:
        """Drive a random row onto the write port; it is stored at the next edge."""
        weights = random_signed(self.rng, self.columns, CONFIG.weight_bits)
        weights = weights if weight is None else np.full(self.columns, weight)
        index = self.rng.integers(0, L, self.units)
        share, bits = CONFIG.index_share, CONFIG.weight_bits
        units = [join(weights[u * share:(u + 1) * share], bits) | int(index[u]) << share * bits
                 for u in range(self.units)]
        drive_array(self.dut, "write__data", np.array(units, dtype=object))
        for name, value in (("en", 1), ("bank", bank), ("row", row)):
            getattr(self.dut, f"write__{name}").value = value
        self.weight[bank, row], self.index[bank, row] = weights, index

    async def clock(self) -> None:
        """Pass an edge and compare what was there before it."""
        await RisingEdge(self.dut.clk)
        if self.expected is not None:
            sums = read_array(self.dut, "sum", (self.columns,), CONFIG.column_bits)
            assert_equal(f"vector {self.compared}", sums.astype(np.int64), self.expected)
            self.compared += 1
        self.expected = self.coming

    def will_be(self, sums: np.ndarray | None) -> None:
        """Say what the slices so far add up to."""
        self.coming = sums
        if CONFIG.adder_stages == 1:
            self.expected = sums

    async def vector(self, lines: np.ndarray, bank: int, active: np.ndarray, idle: int = 0,
                     during=lambda: None) -> None:
        """Send a vector, slice by slice, with ``idle`` cycles before each slice."""
        expected = sub_macro(self.config, self.weight[bank], self.index[bank], lines) * active
        a, s = CONFIG.act_bits, CONFIG.act_slice
        for index in range(CONFIG.slices):
            for _ in range(idle):
                self.dut.enable.value = 0
                await self.clock()
                self.dut.write__en.value = 0
            slices = [join((low_bits(x, a) >> index * s for x in row), s)
                      for row in lines.tolist()]
            drive_array(self.dut, "line", np.array(slices, dtype=object))
            flags = {"enable": 1, "first": index == 0, "last": index == CONFIG.slices - 1,
                     "bank": bank, "active": join(active.tolist(), 1)}
            for name, value in flags.items():
                getattr(self.dut, name).value = int(value)
            during()
            await self.clock()
            self.dut.write__en.value = 0
            self.will_be(None)  # sums move while slices enter
        self.will_be(expected)
        self.dut.enable.value = 0

    async def finish(self) -> None:
        """Keep watching: the last sums must hold while nothing is enabled."""
        for _ in range(5):
            await self.clock()
        assert self.compared > 5

    def lines(self, value=None) -> np.ndarray:
        """Return activation lines: random, or all the same."""
        if value is None:
            return random_signed(self.rng, (R, L), CONFIG.act_bits)
        return np.full((R, L), value)


def write_anywhere(bench: ArrayBench, bank: int):
    """Start a write to some row of a bank."""
    return bench.write(bank, int(bench.rng.integers(R)))


async def vectors_with_everything(bench: ArrayBench, count: int) -> None:
    """Send random vectors: gaps, banks and masks change, the other bank is written meanwhile."""
    rng, banks = bench.rng, CONFIG.weight_banks
    for _ in range(count):
        bank = int(rng.integers(banks))
        other = partial(write_anywhere, bench, (bank + 1) % banks)
        active = rng.random(bench.columns) < 0.8
        await bench.vector(bench.lines(), bank, active, int(rng.integers(0, 3)),
                           other if banks > 1 else lambda: None)


async def random_vectors(dut, units: int) -> None:
    """Gaps between slices, masks, both banks; writes to the bank that is not read."""
    bench = ArrayBench(dut, units)
    await bench.start()
    await vectors_with_everything(bench, 150)
    await bench.finish()


async def extremes(dut, units: int) -> None:
    """The largest sums of both signs, and zeros."""
    bench = ArrayBench(dut, units)
    await bench.start()
    every = np.ones(bench.columns, dtype=bool)
    for weight in (LOW[0], -LOW[0] - 1, 0, -1):
        for row in range(CONFIG.rows):
            bench.write(0, row, weight)
            await bench.clock()
        bench.dut.write__en.value = 0
        for act in (LOW[1], -LOW[1] - 1, 0, -1, 1):
            await bench.vector(bench.lines(act), 0, every)
    await bench.finish()


async def back_to_back(dut, units: int) -> None:
    """A vector every ``slices`` cycles, each sum read as soon as it is there."""
    bench = ArrayBench(dut, units)
    await bench.start()
    every = np.ones(bench.columns, dtype=bool)
    before = bench.compared
    for _ in range(60):
        await bench.vector(bench.lines(), 0, every)
    coming = -(-CONFIG.adder_stages // CONFIG.slices)  # vectors whose sums are not there yet
    assert bench.compared - before == 60 - coming
    await bench.finish()


async def reset_in_flight(dut, units: int) -> None:
    """A vector that reset interrupts leaves no trace; the weights stay."""
    bench = ArrayBench(dut, units)
    await bench.start()
    await vectors_with_everything(bench, 3)
    dut.enable.value, dut.first.value, dut.last.value = 1, 1, int(CONFIG.slices == 1)
    await bench.clock()
    bench.will_be(None)
    dut.rst.value, dut.enable.value = 1, 0
    await bench.clock()
    dut.rst.value = 0
    bench.expected = bench.coming = np.zeros(bench.columns, dtype=np.int64)
    await bench.clock()
    await vectors_with_everything(bench, 10)
    await bench.finish()
