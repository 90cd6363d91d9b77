"""cocotb bench of ``merging``: table and golden; started by ``test_blocks.py``."""

import cocotb
import numpy as np

from cimforge_verif.compare import assert_equal
from cimforge_verif.golden import merging
from cimforge_verif.random_tile import random_signed
from tb.bfm import block_config, drive_array, read_array, settle

CONFIG = block_config()
SHAPE = CONFIG.sub_macros, CONFIG.cols


def table(rng):
    """Extremes that make the largest sums, a single nonzero on every column, and random sums."""
    low = -(1 << CONFIG.column_bits - 1)
    yield from (np.full(SHAPE, value) for value in (0, low, -low - 1, -1))
    for position in np.ndindex(SHAPE):
        one = np.zeros(SHAPE, dtype=np.int64)
        one[position] = low
        yield one
    for _ in range(40):
        yield random_signed(rng, SHAPE, CONFIG.column_bits)


@cocotb.test()
async def every_group(dut):
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    for group in CONFIG.groups:
        dut.group_log2.value = group.bit_length() - 1
        for sums in table(rng):
            drive_array(dut, "sum", sums)
            await settle()
            lanes = read_array(dut, "merged", (sums.size,), CONFIG.macro_bits)
            assert_equal(f"G = {group}", lanes.astype(np.int64), merging(CONFIG, sums, group))
