"""cocotb bench of ``distribution``: table and golden; started by ``test_blocks.py``."""

import cocotb
import numpy as np

from cimforge_verif.compare import assert_equal
from cimforge_verif.golden import distribution
from tb.bfm import block_config, drive_array, join, mode_bits, read_array, settle

CONFIG = block_config()
P, R, S = CONFIG.sub_macros, CONFIG.rows, CONFIG.act_slice
TOP = 1 << S


def windows(rng):
    """All ones, every input alone, its number (low bits, then high bits), and random windows.

    The network sees slices, which are unsigned.
    """
    inputs = np.arange(CONFIG.window_inputs)
    yield np.full(len(inputs), TOP - 1)
    for bit in range(0, max(1, int(inputs[-1]).bit_length()), S):  # tells all inputs apart
        yield inputs >> bit & TOP - 1
    for alone in inputs[::max(1, len(inputs) // 16)]:
        yield np.where(inputs == alone, TOP - 1, 0)
    for _ in range(4):
        yield rng.integers(0, TOP, len(inputs))


def selects(rng):
    """Every level-1 and level-2 select on all multiplexers at once, then random ones."""
    if CONFIG.select != "pair":
        yield ()
        return
    for first in range(P):
        for second in range(P):
            yield np.full((R, P), first), np.full((R, P), second)
    for _ in range(4):
        yield rng.integers(0, P, (R, P)), rng.integers(0, P, (R, P))


def wider(values: np.ndarray) -> np.ndarray:
    """Return unsigned slices as the signed activations that golden wants."""
    return values - np.where(values >> CONFIG.act_bits - 1, 1 << CONFIG.act_bits, 0)


async def check(dut, mode, window, chosen):
    m = CONFIG.max_m
    drive_array(dut, "window", np.array([join(block, S) for block in window.reshape(-1, m)],
                                        dtype=object))
    for name, level in zip(("level1", "level2"), chosen, strict=False):
        drive_array(dut, name, level)
    await settle()
    packed = read_array(dut, "line", (P, R))
    lines = np.array([[[word >> S * i & TOP - 1 for i in range(CONFIG.lines)] for word in row]
                      for row in packed.tolist()])
    expected = distribution(CONFIG, wider(window), mode, *chosen) & TOP - 1
    assert_equal(f"{mode}", lines, expected.swapaxes(0, 1), ("sub-macro", "row", "line"))


@cocotb.test()
async def every_mode(dut):
    """Modes change from one vector to the next; each sees every window of the table."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    choices = list(selects(rng))
    for index, window in enumerate(windows(rng)):
        for mode in CONFIG.modes:
            dut.mode.value = mode_bits(mode)
            for chosen in choices if index < 4 else choices[-2:]:
                await check(dut, mode, window, chosen)
