"""cocotb bench of ``column``; started by ``test_blocks.py``."""

import cocotb
import numpy as np

from tb.array_bench import CONFIG, ArrayBench, vectors_with_everything

UNITS = 1
LOW = -(1 << CONFIG.weight_bits - 1), -(1 << CONFIG.act_bits - 1)


@cocotb.test()
async def random_vectors(dut):
    """Gaps between slices, masks, both banks; writes to the bank that is not read."""
    bench = ArrayBench(dut, UNITS)
    await bench.start()
    await vectors_with_everything(bench, 150)
    await bench.finish()


@cocotb.test()
async def extremes(dut):
    """The largest sums of both signs, and zeros."""
    bench = ArrayBench(dut, UNITS)
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


@cocotb.test()
async def back_to_back(dut):
    """A vector every ``slices`` cycles, each sum read in the cycle after the last slice."""
    bench = ArrayBench(dut, UNITS)
    await bench.start()
    every = np.ones(bench.columns, dtype=bool)
    before = bench.compared
    for _ in range(60):
        await bench.vector(bench.lines(), 0, every)
    assert bench.compared - before == 59  # the sum of each but the last was seen by the next
    await bench.finish()


@cocotb.test()
async def reset_in_flight(dut):
    """A vector that reset interrupts leaves no trace; the weights stay."""
    bench = ArrayBench(dut, UNITS)
    await bench.start()
    await vectors_with_everything(bench, 3)
    dut.enable.value, dut.first.value, dut.last.value = 1, 1, int(CONFIG.slices == 1)
    bench.expected = None
    await bench.clock()
    dut.rst.value, dut.enable.value = 1, 0
    await bench.clock()
    dut.rst.value = 0
    bench.expected = np.zeros(bench.columns, dtype=np.int64)
    await bench.clock()
    await vectors_with_everything(bench, 10)
    await bench.finish()
