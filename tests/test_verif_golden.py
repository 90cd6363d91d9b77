"""Golden blocks against each other and against the dense matrix they stand for."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimforge.spec.errors import DataError
from cimforge.spec.mode import Mode
from cimforge.spec.yaml_config import load_config
from cimforge_verif import golden
from cimforge_verif.products import dense_tile
from cimforge_verif.random_tile import random_signed, random_tile

TINY = load_config("tiny")
CONFIGS = {
    "tiny": TINY,
    "one-sub-macro": TINY.replace(sub_macros=1),
    "one-row": TINY.replace(rows=1),
    "one-column": TINY.replace(cols=1),
    "m16": TINY.replace(sub_macros=4, rows=8, max_m=16),  # N = 3, 5, 6, 7 … do not divide 8 slots
    "no-sparsity": TINY.replace(max_m=1),
    "fixed-2-4": TINY.replace(fixed_n=2),
    "fixed-3-4": TINY.replace(fixed_n=3),
    "share-2": TINY.replace(index_share=2),
    "share-4": TINY.replace(index_share=4),
    "int4": TINY.replace(weight_bits=4, act_bits=4, act_slice=4),
    "int4-weights": TINY.replace(weight_bits=4),
    "pair-1": TINY.replace(sub_macros=1, select="pair", max_m=2),
    "pair-2": TINY.replace(select="pair"),
    "pair-4": TINY.replace(sub_macros=4, select="pair", max_m=8),
    "pair-8": TINY.replace(sub_macros=8, rows=2, select="pair", max_m=8),
}
MODES = [pytest.param(config, mode, id=f"{name}-{mode.n}:{mode.m}-G{mode.group}")
         for name, config in CONFIGS.items() for mode in config.modes]


def extreme(bits):
    return -(1 << bits - 1), (1 << bits - 1) - 1


def tile_sums(config, mode, tile, windows):
    """Return the merged sums over all steps."""
    if tile.selects is None:
        return golden.macro(config, windows, mode, tile.weight, tile.index)
    return sum(golden.macro(config, windows, mode, tile.weight, tile.index, *step)
               for step in zip(*tile.selects, strict=True))


@pytest.mark.parametrize(("config", "mode"), MODES)
def test_macro_is_a_dense_product(config, mode):
    rng = np.random.default_rng(1)
    windows = random_signed(rng, (5, config.window_inputs), config.act_bits)
    depth, width = config.k_tile(mode), config.outputs(mode)
    for steps in {1, 2, config.cols} if config.select == "pair" else {1}:
        tile = random_tile(config, mode, rng, min(steps, config.cols))
        assert np.count_nonzero(tile.dense, axis=0).max() <= depth // mode.m * mode.n
        lanes = tile_sums(config, mode, tile, windows)
        assert (lanes[:, :width] == windows[:, :depth] @ tile.dense).all()
        assert not lanes[:, width:].any()
        fast = dense_tile(config, mode, tile.weight, tile.index, tile.selects)
        assert (fast == tile.dense).all()


@pytest.mark.parametrize(("config", "mode"), MODES)
def test_extremes_fit_the_declared_widths(config, mode):
    low_w, low_x = extreme(config.weight_bits)[0], extreme(config.act_bits)[0]
    weight = np.full((config.sub_macros, config.rows, config.cols), low_w)
    index = np.zeros((config.sub_macros, config.rows, config.units), dtype=np.int64)
    selects = ([np.zeros((config.rows, config.sub_macros), dtype=np.int64)] * 2
               if config.select == "pair" else [])
    lanes = golden.macro(config, np.full(config.window_inputs, low_x), mode, weight, index,
                         *selects)
    used = config.k_tile(mode) // mode.m * mode.n
    assert (lanes[:config.outputs(mode)] == used * low_w * low_x).all()
    assert lanes.max() < 1 << config.macro_bits - 1


@pytest.mark.parametrize("share", [1, 2, 4])
@pytest.mark.parametrize(("act_bits", "act_slice"),
                         [(8, 8), (8, 4), (8, 2), (8, 1), (4, 4), (4, 2), (4, 1)])
def test_column_slice_by_slice(act_bits, act_slice, share):
    config = TINY.replace(act_bits=act_bits, act_slice=act_slice, index_share=share)

    @given(st.data())
    @settings(max_examples=15, deadline=None)
    def check(data):
        def draw(shape, low, high):
            size = int(np.prod(shape))
            values = data.draw(st.lists(st.integers(low, high), min_size=size, max_size=size))
            return np.array(values, dtype=np.int64).reshape(shape)

        weight = draw((config.rows, share), *extreme(config.weight_bits))
        index = draw((config.rows,), 0, config.lines - 1)
        lines = draw((2, config.rows, config.lines), *extreme(act_bits))
        sums = golden.column(config, weight, index, lines)
        assert (golden.column_slices(config, weight, index, lines) == sums).all()
        wanted = [[sum(int(weight[r, j]) * int(x[r, index[r]]) for r in range(config.rows))
                   for j in range(share)] for x in lines]
        assert sums.tolist() == wanted

    check()


def test_distribution_of_lines():
    mode = Mode(3, 4, 2)  # 8 slots of a group: two blocks of 3, and two slots that are not used
    lines = golden.distribution(TINY, np.arange(TINY.window_inputs) + 1, mode)
    assert lines.shape == (4, 2, 4)
    blocks = [[1, 2, 3, 4]] * 3 + [[5, 6, 7, 8]] * 3 + [[0] * 4] * 2
    assert lines.reshape(8, 4).tolist() == blocks


def test_distribution_of_pairs():
    config = CONFIGS["pair-4"]
    window = np.minimum(np.arange(config.window_inputs) + 1, 127)
    level1 = np.tile([1, 0, 3, 2], (4, 1))
    level2 = np.tile([0, 3, 1, 1], (4, 1))
    lines = golden.distribution(config, window, Mode(2, 8, 4), level1, level2)
    # Row 0: sub-macros 0, 1 share inputs 1..8, and 2, 3 share 9..16.
    assert lines[0].tolist() == [[3, 4], [13, 14], [1, 2], [1, 2]]
    lines = golden.distribution(config, window, Mode(2, 4, 4), level1, level2)
    assert lines[0].tolist() == [[3, 4], [0, 0], [1, 2], [1, 2]]  # M = 4 has two pairs
    lines = golden.distribution(config, window, Mode(1, 1, 4), level1, level2)
    assert lines[0].tolist() == [[0, 0], [0, 0], [2, 0], [2, 0]]  # M = 1 has the pair (x, 0)


def test_merging_keeps_groups_apart():
    sums = np.arange(8).reshape(2, 4)
    assert golden.merging(TINY, sums, 1).tolist() == list(range(8))
    assert golden.merging(TINY, sums, 2).tolist() == [4, 6, 8, 10, 0, 0, 0, 0]


def test_a_masked_column_gives_nothing():
    config, rng = CONFIGS["pair-2"], np.random.default_rng(2)
    tile = random_tile(config, Mode(1, 2, 1), rng)
    windows = random_signed(rng, (3, config.window_inputs), 8)
    level1, level2, mask = (part[0] for part in tile.selects)
    whole = golden.macro(config, windows, Mode(1, 2, 1), tile.weight, tile.index, level1, level2)
    mask = mask.copy()
    mask[1, 2] = 0
    part = golden.macro(config, windows, Mode(1, 2, 1), tile.weight, tile.index, level1, level2,
                        mask)
    assert part[:, 6].any() is np.False_
    assert (np.delete(part, 6, axis=1) == np.delete(whole, 6, axis=1)).all()


def test_accumulator_starts_adds_and_wraps():
    stored, sums = np.full(8, 5), np.full(8, 3)
    assert (golden.accumulator(TINY, stored, sums, True) == 3).all()
    assert (golden.accumulator(TINY, stored, sums, False) == 8).all()
    top = np.full(8, (1 << 31) - 1)
    assert (golden.accumulator(TINY, top, sums, False) == -(1 << 31) + 2).all()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: golden.merging(TINY, np.zeros((2, 4), int), 3),
     "group must be one of 1, 2, not 3"),
    (lambda: golden.merging(TINY, np.zeros((2, 3), int), 1),
     "sums must have shape (..., 2, 4), not (2, 3)"),
    (lambda: golden.distribution(TINY, np.zeros(64, int), Mode(5, 4, 1)),
     ("mode must be one of 1:4 G=1, 1:4 G=2, 2:4 G=1, 2:4 G=2, 3:4 G=1, 3:4 G=2, 4:4 G=1, "
     "4:4 G=2, not 5:4 G=1")),
    (lambda: golden.distribution(TINY, np.full(32, 128), Mode(1, 4, 1)),
     "window must be in -128..127, not 128..128"),
    (lambda: golden.distribution(TINY, np.zeros(32), Mode(1, 4, 1)),
     "window must be integers, not float64"),
    (lambda: golden.distribution(TINY, np.zeros(32, int), Mode(1, 4, 1), np.zeros((4, 2), int)),
     "level1 and level2 need select: pair"),
    (lambda: golden.distribution(CONFIGS["pair-2"], np.zeros(32, int), Mode(1, 4, 1)),
     "select: pair wants level1 and level2"),
    (lambda: golden.requantize(0, 0, 1 << 16, 0, 8),
     "multiplier must be in 0..65535, not 65536..65536"),
    (lambda: golden.requantize(0, 0, 1, 48, 8), "shift must be in 0..47, not 48..48"),
    (lambda: golden.requantize(0, 1 << 31, 1, 0, 8),
     "bias must be in -2147483648..2147483647, not 2147483648..2147483648"),
])
def test_bad_operands(call, message):
    with pytest.raises(DataError) as error:
        call()
    assert str(error.value) == message


def exact(acc, bias, multiplier, shift, bits):
    """Return the requantized value by rational arithmetic; Python's round is half to even."""
    value = round(Fraction((acc + bias) * multiplier, 1 << shift))
    low, high = extreme(bits)
    return min(max(value, low), high)


@given(acc=st.one_of(st.integers(-1 << 47, (1 << 47) - 1), st.integers(-300, 300)),
       bias=st.one_of(st.integers(-1 << 31, (1 << 31) - 1), st.integers(-3, 3)),
       multiplier=st.one_of(st.integers(0, (1 << 16) - 1), st.sampled_from([1, 2, 1 << 15])),
       shift=st.integers(0, 47), bits=st.sampled_from([4, 8]))
@settings(max_examples=500, deadline=None)
def test_requantize_is_exact(acc, bias, multiplier, shift, bits):
    assert golden.requantize(acc, bias, multiplier, shift, bits) == exact(
        acc, bias, multiplier, shift, bits)


@pytest.mark.parametrize(("acc", "bias", "multiplier", "shift", "wanted"), [
    (1, 0, 1, 1, 0), (3, 0, 1, 1, 2), (5, 0, 1, 1, 2), (-1, 0, 1, 1, 0), (-3, 0, 1, 1, -2),
    (-5, 0, 1, 1, -2),  # ties of both parities and signs
    (7, 0, 1, 0, 7), (-7, 0, 3, 0, -21),  # no shift, nothing to round
    (127, 0, 1, 0, 127), (128, 0, 1, 0, 127), (-128, 0, 1, 0, -128), (-129, 0, 1, 0, -128),
    (255, 0, 1, 1, 127), (-257, 0, 1, 1, -128),  # a tie that rounds out of range saturates
    ((1 << 31) - 1, (1 << 31) - 1, 65535, 47, 2), (-1 << 31, -1 << 31, 65535, 47, -2),
    ((1 << 47) - 1, (1 << 31) - 1, 65535, 0, 127), (-1 << 47, -1 << 31, 65535, 0, -128),
    ((1 << 47) - 1, 0, 65535, 47, 127), (-1 << 47, 0, 1, 47, -1), (1 << 46, 0, 1, 47, 0),
    (3 << 45, 0, 1, 46, 2), (12345, 0, 0, 5, 0), (-100, 100, 65535, 0, 0),
])
def test_requantize_corners(acc, bias, multiplier, shift, wanted):
    assert golden.requantize(acc, bias, multiplier, shift, 8) == wanted
    assert exact(acc, bias, multiplier, shift, 8) == wanted


def test_requantize_broadcasts_lanes():
    acc = np.array([[10, 20], [30, 40]])
    y = golden.requantize(acc, [1, 2], [1, 3], [1, 0], 8)
    assert y.tolist() == [[6, 66], [16, 126]]
