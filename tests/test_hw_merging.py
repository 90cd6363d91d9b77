"""The merging network against golden, for every G."""

import numpy as np
import pytest
from hw_support import BASE, SMALLEST, drive, ids, peek, random_signed_lanes, simulate

from cimforge_hw.dcim.merging import Merging
from cimforge_verif import golden
from cimforge_verif.compare import assert_equal

CONFIGS = [SMALLEST, BASE, BASE.replace(sub_macros=4, cols=3), BASE.replace(sub_macros=8, cols=1)]


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_matches_golden(config):
    dut, rng = Merging(config), np.random.default_rng(7)

    async def bench(ctx):
        shape = (config.sub_macros, config.cols)
        for sums in random_signed_lanes(rng, shape, config.column_bits, 10):
            drive(ctx, dut.sum, sums)
            for group in config.groups:
                drive(ctx, dut.group_log2, group.bit_length() - 1)
                assert_equal(f"lanes, G = {group}", peek(ctx, dut.merged),
                             golden.merging(config, sums, group), ("lane",))

    simulate(dut, bench)


@pytest.mark.parametrize("group_log2", [2, 3, 7])
def test_lanes_of_no_group_are_zero(group_log2):
    dut = Merging(BASE)

    async def bench(ctx):
        drive(ctx, dut.sum, np.full((BASE.sub_macros, BASE.cols), -1))
        drive(ctx, dut.group_log2, group_log2)
        assert not peek(ctx, dut.merged).any()

    simulate(dut, bench)
