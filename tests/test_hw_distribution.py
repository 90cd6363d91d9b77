"""The distribution network against golden, in every mode, with every select."""

import itertools

import numpy as np
import pytest
from hw_support import BASE, PAIR, SMALLEST, WIDEST, drive, ids, mode_word, peek, simulate, words

from cimforge.spec.mode import Mode
from cimforge_hw.dcim.distribution import Distribution
from cimforge_verif import golden
from cimforge_verif.compare import assert_equal

LINE = [SMALLEST, BASE, BASE.replace(max_m=1), BASE.replace(fixed_n=3), BASE.replace(rows=4),
        BASE.replace(sub_macros=4), BASE.replace(sub_macros=1, rows=4, max_m=8),
        BASE.replace(sub_macros=8, rows=1, max_m=8), *WIDEST[:4],
        BASE.replace(act_bits=4, act_slice=4)]
PAIRS = [PAIR, PAIR.replace(sub_macros=1, max_m=2), PAIR.replace(sub_macros=4, max_m=8),
         PAIR.replace(sub_macros=4, max_m=2, rows=1), PAIR.replace(rows=4),
         WIDEST[4]]


def check(ctx, dut, mode, window, selects=()):
    """Compare the lines of one window; the slices of an activation all travel alike."""
    config = dut.config
    blocks = window.reshape(-1, config.max_m)
    drive(ctx, dut.window, words(blocks, config.act_slice))
    ctx.set(dut.mode.as_value(), mode_word(mode))
    for port, values in zip(("level1", "level2"), selects, strict=False):
        if hasattr(dut, port):
            drive(ctx, getattr(dut, port), values)
    lines = golden.distribution(config, window, mode, *selects).swapaxes(0, 1)
    assert_equal(f"lines, mode {mode}", peek(ctx, dut.line),
                 np.array(words(lines, config.act_slice)), ("sub-macro", "row"))


def windows(config, rng):
    """Return windows that tell inputs apart: one per bit of their number, then random ones."""
    number = np.arange(config.window_inputs) + 1
    low, high = -1 << config.act_slice - 1, (1 << config.act_slice - 1) - 1
    if config.act_slice == 1:  # a golden operand has act_bits; one slice of it is 0 or 1
        low, high = 0, 1
    bits = [np.where(number >> b & 1, low, high) for b in range(int(number[-1]).bit_length())]
    return [*bits, rng.integers(low, high, config.window_inputs, endpoint=True)]


@pytest.mark.parametrize("config", [*LINE, BASE.replace(act_slice=1)], ids=ids)
def test_every_mode_gives_every_slot_its_block(config):
    dut, rng = Distribution(config), np.random.default_rng(5)

    async def bench(ctx):
        for mode in config.modes:
            for window in windows(config, rng):
                check(ctx, dut, mode, window)

    simulate(dut, bench)


@pytest.mark.parametrize("config", PAIRS, ids=ids)
def test_random_selects_reach_their_pairs(config):
    dut, rng = Distribution(config), np.random.default_rng(6)

    async def bench(ctx):
        shape = (2, config.rows, config.sub_macros)
        for mode in config.modes:
            for window in windows(config, rng):
                check(ctx, dut, mode, window, rng.integers(0, config.sub_macros, shape))

    simulate(dut, bench)


def test_every_select_of_a_row():
    config = PAIR.replace(rows=1)
    dut, window = Distribution(config), np.arange(1, config.window_inputs + 1)

    async def bench(ctx):
        for mode in config.modes:
            for row in itertools.product(range(config.sub_macros), repeat=4):
                check(ctx, dut, mode, window, np.array(row).reshape(2, 1, 2))

    simulate(dut, bench)


@pytest.mark.parametrize("config", [BASE, PAIR], ids=ids)
def test_an_unknown_mode_gives_zeros(config):
    dut = Distribution(config)

    async def bench(ctx):
        drive(ctx, dut.window, [(1 << len(block)) - 1 for block in dut.window])
        for mode in (Mode(0, config.max_m, 1), Mode(config.max_m, config.max_m, 4), Mode(1, 16, 1)):
            ctx.set(dut.mode.as_value(), mode_word(mode))
            assert not peek(ctx, dut.line).any(), f"mode {mode}"

    simulate(dut, bench)
