"""cocotb bench of ``sub_macro``: the tests of ``array_bench`` on its ports."""

import cocotb

from tb import array_bench as array


@cocotb.test()
async def random_vectors(dut):
    """Gaps between slices, masks, both banks; writes to the bank that is not read."""
    await array.random_vectors(dut, array.CONFIG.units)


@cocotb.test()
async def extremes(dut):
    """The largest sums of both signs, and zeros."""
    await array.extremes(dut, array.CONFIG.units)


@cocotb.test()
async def back_to_back(dut):
    """A vector every ``slices`` cycles, each sum read as soon as it is there."""
    await array.back_to_back(dut, array.CONFIG.units)


@cocotb.test()
async def reset_in_flight(dut):
    """A vector that reset interrupts leaves no trace; the weights stay."""
    await array.reset_in_flight(dut, array.CONFIG.units)
