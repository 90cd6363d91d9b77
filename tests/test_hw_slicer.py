"""Every slice of every activation, for every width of a slice."""

import numpy as np
import pytest
from hw_support import BASE, SMALLEST, drive, ids, peek, random_signed_lanes, simulate, words

from cimforge_hw.dcim.slicer import Slicer
from cimforge_verif.compare import assert_equal

CONFIGS = [SMALLEST, *(BASE.replace(act_slice=s) for s in (1, 2, 4, 8)),
           BASE.replace(act_bits=4, act_slice=1, max_m=1)]


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_cuts_every_slice(config):
    dut, rng = Slicer(config), np.random.default_rng(4)

    async def bench(ctx):
        shape = (config.window_inputs // config.max_m, config.max_m)
        for window in random_signed_lanes(rng, shape, config.act_bits, 10):
            drive(ctx, dut.window, words(window, config.act_bits))
            for index in rng.permutation(config.slices):
                drive(ctx, dut.index, index)
                expected = words(window >> index * config.act_slice, config.act_slice)
                assert_equal(f"slice {index}", peek(ctx, dut.sliced), np.array(expected))

    simulate(dut, bench)
