"""The requantizer against golden: rounding of every remainder, saturation, extreme operands."""

import itertools

import numpy as np
import pytest
from hw_support import BASE, SMALLEST, drive, ids, signed_range, simulate

from cimforge_hw.common.requantizer import MAX_SHIFT, Requantizer
from cimforge_verif import golden

CONFIGS = [BASE, SMALLEST, BASE.replace(acc_bits=48), BASE.replace(act_bits=4, act_slice=4)]


def check(config, operands):
    """Compare the requantizer with golden on rows of (acc, bias, multiplier, shift)."""
    dut = Requantizer(config)
    operands = np.array(list(operands), dtype=np.int64)
    expected = golden.requantize(*operands.T, config.act_bits)

    async def bench(ctx):
        for (acc, bias, multiplier, shift), want in zip(operands, expected, strict=True):
            p = dut.parameters
            drive(ctx, [dut.acc, p.bias, p.multiplier, p.shift], [acc, bias, multiplier, shift])
            got = ctx.get(dut.quantized)
            assert got == want, f"{acc=} {bias=} {multiplier=} {shift=}: {got}, not {want}"

    simulate(dut, bench)
    return expected


@pytest.mark.parametrize("shift", [1, 2, 3, 4])
def test_every_remainder_rounds_half_to_even(shift):
    expected = check(BASE, [(acc, 0, 1, shift) for acc in range(-64, 65)])
    assert expected[64 + (1 << shift - 1)] == 0  # a half, downwards
    assert expected[64 + (3 << shift - 1)] == 2  # one and a half, upwards


@pytest.mark.parametrize("shift", [0, 16, 31, MAX_SHIFT])
def test_around_halves_of_every_shift(shift):
    config = BASE.replace(acc_bits=48)
    halves = [(k << shift) + (1 << shift >> 1) + d for k in (-3, -2, -1, 0, 1, 2)
              for d in (-1, 0, 1)]
    low, high = signed_range(48)
    check(config, [(acc, 0, 1, shift) for acc in halves if low <= acc <= high])


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_corners(config):
    low, high = signed_range(config.acc_bits)
    check(config, itertools.product(
        (low, -1, 0, 1, high), (*signed_range(32), 0, -1), (0, 1, 0xFFFF), (0, 1, 46, MAX_SHIFT)))


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_saturates_exactly_at_the_ends(config):
    low, high = signed_range(config.act_bits)
    expected = check(config, [(0, value, 1, 0) for value in range(low - 3, high + 4)])
    assert (expected.min(), expected.max()) == (low, high)


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_random(config):
    rng = np.random.default_rng(10)
    low, high = signed_range(config.acc_bits)

    def operands():
        for _ in range(400):
            shift = rng.integers(0, MAX_SHIFT, endpoint=True)
            size = min(high, 1 << rng.integers(1, 40))
            yield (rng.integers(max(low, -size), size), rng.integers(-size, size) % (1 << 20),
                   rng.integers(0, 1 << 16), shift)

    check(config, operands())
