"""cocotb bench of ``requantizer``: table and golden; started by ``test_blocks.py``."""

import cocotb
import numpy as np

from cimforge_verif.golden import requantize
from tb.bfm import block_config, drive, low_bits, settle, signed

CONFIG = block_config()
LOW, HIGH = -(1 << CONFIG.acc_bits - 1), (1 << CONFIG.acc_bits - 1) - 1
ACCS = (LOW, LOW + 1, -129, -128, -2, -1, 0, 1, 2, 127, 128, HIGH - 1, HIGH)
BIASES = (-1 << 31, -1, 0, 1, (1 << 31) - 1)
MULTIPLIERS = (0, 1, 2, 1 << 15, (1 << 16) - 1)


def halves(rng):
    """Products around ``(k + 1/2) * 2**shift``, for k odd and even, of both signs."""
    for shift in range(1, min(47, CONFIG.acc_bits - 3)):
        for _ in range(6):
            k = int(rng.integers(-3, 4))
            for offset in (-1, 0, 1):
                value = (2 * k + 1 << shift >> 1) + offset
                yield value, 0, 1, shift


def table(rng):
    """Corners of every operand with every other's, halves, and random ones that use the range."""
    for acc in ACCS:
        for bias in BIASES:
            for multiplier in MULTIPLIERS:
                for shift in (0, 1, 31, 46, 47):
                    yield acc, bias, multiplier, shift
    yield from halves(rng)
    for _ in range(3000):
        acc = int(rng.integers(LOW, HIGH, endpoint=True)) >> int(rng.integers(0, CONFIG.acc_bits))
        multiplier = int(rng.integers(0, 1 << 16))
        size = max(1, abs(acc)).bit_length() + multiplier.bit_length() - CONFIG.act_bits
        shift = int(np.clip(size + rng.integers(-2, 3), 0, 47))
        yield acc, int(rng.integers(-1 << 31, 1 << 31)) >> int(rng.integers(0, 32)), multiplier, \
            shift


@cocotb.test()
async def table_and_model(dut):
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    rows = np.array(list(table(rng)), dtype=np.int64)
    expected = requantize(*rows.T, CONFIG.act_bits)
    for row, wanted in zip(rows.tolist(), expected.tolist(), strict=True):
        acc, bias, multiplier, shift = row
        drive(dut.acc, acc)
        dut.parameters.value = low_bits(bias, 32) | multiplier << 32 | shift << 48
        await settle()
        got = signed(int(dut.quantized.value), CONFIG.act_bits)
        assert got == wanted, f"acc, bias, multiplier, shift = {row}: got {got}, expected {wanted}"
    top = 1 << CONFIG.act_bits - 1
    assert {-top, -1, 0, 1, top - 1} <= set(expected.tolist())  # the table saturates and does not
