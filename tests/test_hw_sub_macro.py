"""A sub-macro against golden: columns in their place, one row of all written per cycle."""

import numpy as np
import pytest
from hw_support import (
    BASE,
    PAIR,
    SMALLEST,
    drive,
    ids,
    peek,
    random_signed_lanes,
    settle,
    simulate,
    words,
)

from cimforge_hw.dcim.sub_macro import SubMacro
from cimforge_verif import golden
from cimforge_verif.compare import assert_equal

CONFIGS = [SMALLEST, BASE, PAIR, BASE.replace(cols=4, index_share=2, act_slice=4),
           BASE.replace(cols=4, index_share=4), BASE.replace(cols=3, rows=4, weight_bits=4),
           BASE.replace(adder_stages=1)]


async def load(ctx, dut, bank, weight, index):
    """Write all rows, one per cycle."""
    config = dut.config
    share, bits = config.index_share, config.weight_bits
    for row in range(config.rows):
        units = [words(weight[row, u * share:][:share], bits) | int(index[row, u]) << share * bits
                 for u in range(config.units)]
        drive(ctx, [dut.write.en, dut.write.bank, dut.write.row], [1, bank, row])
        drive(ctx, dut.write.data, units)
        await ctx.tick()
    ctx.set(dut.write.en, 0)


async def vector(ctx, dut, lines, bank, active):
    """Pass one vector; return the sums in the cycle after its last slice."""
    config = dut.config
    for i in range(config.slices):
        drive(ctx, dut.line, words(lines >> i * config.act_slice, config.act_slice))
        if config.adder_stages == 2:
            ctx.set(dut.advance, 1)
        drive(ctx, [dut.enable, dut.first, dut.last, dut.bank, dut.active],
              [1, i == 0, i == config.slices - 1, bank, words(active, 1)])
        await ctx.tick()
    ctx.set(dut.enable, 0)
    await settle(ctx, dut)
    return peek(ctx, dut.sum)


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_matches_golden(config):
    dut, rng = SubMacro(config), np.random.default_rng(2)

    async def bench(ctx):
        shape = (config.rows, config.cols)
        for n, weight in enumerate(random_signed_lanes(rng, shape, config.weight_bits, 3)):
            bank = n % config.weight_banks
            index = rng.integers(0, config.lines, (config.rows, config.units))
            await load(ctx, dut, bank, weight, index)
            for lines in random_signed_lanes(rng, (config.rows, config.lines),
                                             config.act_bits, 3):
                active = rng.integers(0, 2, config.cols)
                assert_equal("sum", await vector(ctx, dut, lines, bank, active),
                             golden.sub_macro(config, weight, index, lines) * active, ("column",))

    simulate(dut, bench)


@pytest.mark.parametrize("config", [BASE.replace(cols=4, index_share=2)], ids=ids)
def test_both_banks_hold_their_weights(config):
    dut, rng = SubMacro(config), np.random.default_rng(3)

    async def bench(ctx):
        weight = rng.integers(-128, 128, (2, config.rows, config.cols))
        index = rng.integers(0, config.lines, (2, config.rows, config.units))
        lines = rng.integers(-128, 128, (config.rows, config.lines))
        for bank in range(2):
            await load(ctx, dut, bank, weight[bank], index[bank])
        for bank in (0, 1, 0):
            assert_equal(f"bank {bank}", await vector(ctx, dut, lines, bank, [1] * config.cols),
                         golden.sub_macro(config, weight[bank], index[bank], lines))

    simulate(dut, bench)
