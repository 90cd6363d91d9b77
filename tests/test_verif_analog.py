"""The golden analog tile: exact products where nothing is lost, and what loses is counted."""

import numpy as np
import pytest

from cimforge.spec.analog.commands import (
    AnalogError,
    Drive,
    End,
    Erase,
    Input,
    Output,
    Program,
    ReadSaturation,
    SetRequantize,
    decode,
    encode,
)
from cimforge.spec.analog.config import AnalogConfig, lossless_bits
from cimforge.spec.analog.timing import cycles, rounds
from cimforge.spec.errors import ConfigError, DataError
from cimforge_verif.analog import AnalogTile, lfsr_states, monarch, transfer
from cimforge_verif.golden import requantize

TINY = AnalogConfig(arrays=2, array=8, grain=2, port=1, adcs=4, act_depth=64, acc_depth=64)


def _program(config, array, weight, tags):
    """Return commands and beats that program a whole array with [rows, columns] weights."""
    commands, beats, g = [], [], config.grain
    for row, col in np.argwhere(tags).tolist():
        commands.append(Program(array=array, row=row, col=col, tag=int(tags[row, col])))
        beats.append(weight[row * g:(row + 1) * g, col * g:(col + 1) * g].reshape(-1, config.port))
    return commands, beats


def _whole(config, full_scale=False, **drive):
    """Return tile, weight, x and result of one drive of a whole array."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-128, 128, (config.array,) * 2, dtype=np.int8)
    x = rng.integers(-128, 128, config.array, dtype=np.int8)
    if full_scale:  # every cell and every bit of x is 1
        weight[:], x[:] = 127, -1
    commands, beats = _program(config, 0, weight, np.ones((config.grains,) * 2, dtype=int))
    full, count = (1 << config.grains) - 1, config.array // config.port
    commands += [
        Input(dst=0, count=count),
        Drive(**{"array": 0, "row_mask": full, "col_mask": full, "src": 0, "dst": 0,
                 "src_jump": config.grain, "dst_jump": config.grain, "bits": config.adc_bits,
                 "depends": 1, **drive}),
        Output(src=0, count=count), ReadSaturation(array=0), End()]
    assert decode(encode(commands)) == commands
    tile = AnalogTile(config)
    out = tile.run(commands, np.concatenate(beats), x.reshape(-1, config.port))
    return tile, weight.astype(int), x.astype(int), out[:count].ravel(), out[count:].ravel()


@pytest.mark.parametrize("changes", [
    {}, {"cell_bits": 2}, {"cell_bits": 4}, {"cell_bits": 8}, {"adcs": 1}, {"adcs": 8},
    {"array": 16, "grain": 4, "port": 4}, {"dither": 99}])
def test_nothing_is_lost_with_enough_bits(changes):
    config = TINY.replace(**changes)
    tile, weight, x, out, saturations = _whole(config)
    np.testing.assert_array_equal(out, x @ weight)
    assert not saturations.any()
    assert (tile.error, tile.illegal, tile.saturated) == (AnalogError.NONE, None, False)
    assert tile.counters.conversions == 8 * config.planes * config.array


@pytest.mark.parametrize("group", [1, 2, 4, 8])
def test_fewer_rows_per_pulse_need_fewer_bits(group):
    tile, weight, x, out, _ = _whole(TINY, row_group=group, bits=lossless_bits(group, 1))
    np.testing.assert_array_equal(out, x @ weight)
    assert tile.counters.conversions == 8 * 8 * 8 * (8 // group)
    if group > 1:
        lost, weight, x, out, saturations = _whole(
            TINY, full_scale=True, row_group=group, bits=lossless_bits(group, 1) - 1)
        assert lost.saturated
        assert saturations.sum() == lost.counters.saturations > 0
        assert (out != x @ weight).any()


def _by_hand(config, weight, x, bits, shift=0, offset=0, rounding=False):
    """Return sums and clamped counts by one loop per conversion."""
    sums, clamps = np.zeros(config.array, dtype=int), np.zeros(config.array, dtype=int)
    mask = (1 << config.cell_bits) - 1
    for c in range(config.array):
        for t in range(8):
            for s in range(config.planes):
                found = sum((int(x[r]) >> t & 1) * (int(weight[r, c]) + 128
                                                    >> config.cell_bits * s & mask)
                            for r in range(config.array))
                code = found - offset + (1 << shift >> 1 if rounding else 0) >> shift
                kept = min(max(code, 0), (1 << bits) - 1)
                clamps[c] += kept != code
                value = (kept << shift) + offset
                sums[c] += (-1 if t == 7 else 1) * value << t + config.cell_bits * s
        sums[c] -= 128 * x.sum()
    return sums, clamps


@pytest.mark.parametrize(("bits", "shift", "offset", "rounding"), [
    (2, 0, 0, False), (3, 0, 1, False), (2, 1, 0, False), (3, 1, 0, True), (1, 2, 3, True)])
def test_conversions_as_the_equations_say(bits, shift, offset, rounding):
    tile, weight, x, out, saturations = _whole(TINY, bits=bits, shift=shift, offset=offset,
                                               round=rounding)
    sums, clamps = _by_hand(TINY, weight, x, bits, shift, offset, rounding)
    np.testing.assert_array_equal(out, sums)
    np.testing.assert_array_equal(saturations, clamps)
    assert tile.saturated == bool(clamps.sum())


def test_two_tags_in_a_driven_column_are_illegal_and_mix():
    rng = np.random.default_rng(1)
    weight = rng.integers(-9, 10, (8, 8), dtype=np.int8)
    tags = np.array([[1, 2, 0, 0], [3, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    commands, beats = _program(TINY, 0, weight, tags)
    blocks = [Drive(array=0, row_mask=1 << row, col_mask=0b11, src=2 * row, dst=8 + 4 * row,
                    dst_jump=2, bits=4, depends=1 + row) for row in range(2)]
    both = Drive(array=0, row_mask=0b11, col_mask=0b11, src=0, dst=0, src_jump=2, dst_jump=2,
                 bits=4, depends=3)
    apart = Drive(array=0, row_mask=0b1100, col_mask=0b1100, src=4, dst=16, src_jump=2,
                  dst_jump=2, src_rotation=2, dst_rotation=2, bits=4, depends=4)
    x = np.arange(1, 9, dtype=np.int8)
    for drives, illegal in (([*blocks, apart], None), ([*blocks, both], len(commands) + 3)):
        tile = AnalogTile(TINY)
        tile.run([*commands, Input(dst=0, count=8), *drives, End()], np.concatenate(beats),
                 x.reshape(-1, 1))
        assert tile.illegal == illegal
        for row in range(2):
            rows = slice(2 * row, 2 * row + 2)
            np.testing.assert_array_equal(
                tile._sums[8 + 4 * row:12 + 4 * row], x[rows].astype(int) @ weight[rows, :4])
    np.testing.assert_array_equal(tile._sums[:4], x[:4].astype(int) @ weight[:4, :4])


def test_strides_rotation_accumulation_and_requantizer():
    rng = np.random.default_rng(2)
    weight = rng.integers(-128, 128, (8, 8), dtype=np.int8)
    commands, beats = _program(TINY, 1, weight, np.full((4, 4), 7))
    x = rng.integers(-128, 128, 16, dtype=np.int8)
    drive = dict(array=1, row_mask=15, bits=4, src=1, src_stride=2, src_jump=8, src_rotation=1,
                 src_block=2, dst=2, dst_stride=3, dst_jump=6, dst_rotation=2, depends=1)
    tile = AnalogTile(TINY)
    tile.run([*commands, SetRequantize(slot=3, bias=-5, multiplier=77, shift=14),
              Input(dst=0, count=16), Drive(col_mask=0b1011, **drive),
              Drive(col_mask=0b0011, accumulate=True, **drive),
              Drive(col_mask=0b1000, accumulate=True, requantize=True, slot=3, **drive), End()],
             np.concatenate(beats), x.reshape(-1, 1))
    # rows 0..3 are block 0, at position 0 - 1 mod 2 = 1: addresses 1 + 8 + 2 i
    inputs = x[[9, 11, 13, 15, 1, 3, 5, 7]].astype(int)
    y = inputs @ weight
    for grain, times in ((0, 2), (1, 2), (3, 1)):
        first = 2 + 6 * ((grain - 2) % 4)
        np.testing.assert_array_equal(tile._sums[[first, first + 3]],
                                      times * y[2 * grain:2 * grain + 2])
    np.testing.assert_array_equal(tile._acts[[8, 11]], requantize(2 * y[6:8], -5, 77, 14, 8))
    assert tile.error is AnalogError.NONE


_DRIVE = dict(array=0, row_mask=1, col_mask=1, src=0, dst=0, bits=4)


@pytest.mark.parametrize(("command", "code"), [
    (Erase(array=2), AnalogError.ARRAY),
    (ReadSaturation(array=2), AnalogError.ARRAY),
    (Drive(**_DRIVE | {"array": 2}), AnalogError.ARRAY),
    (Drive(**_DRIVE | {"row_mask": 0}), AnalogError.MASK),
    (Drive(**_DRIVE | {"col_mask": 16}), AnalogError.MASK),
    (Drive(**_DRIVE | {"bits": 5}), AnalogError.PRECISION),
    (Drive(**_DRIVE | {"bits": 0}), AnalogError.PRECISION),
    (Drive(**_DRIVE | {"src_block": 8}), AnalogError.PRECISION),
    (Program(array=0, row=0, col=0, tag=0), AnalogError.COUNT),
    (Program(array=0, row=4, col=0, tag=1), AnalogError.ADDRESS),
    (Input(dst=0, count=0), AnalogError.COUNT),
    (Input(dst=60, count=5), AnalogError.ADDRESS),
    (Output(src=60, count=5), AnalogError.ADDRESS),
    (SetRequantize(slot=0, bias=0, multiplier=1, shift=48), AnalogError.COUNT),
    (SetRequantize(slot=16, bias=0, multiplier=1, shift=0), AnalogError.ADDRESS),
    (Drive(**_DRIVE | {"requantize": True, "slot": 16}), AnalogError.ADDRESS),
    (Drive(**_DRIVE | {"src": 63}), AnalogError.ADDRESS),
    (Drive(**_DRIVE | {"dst": 1, "dst_stride": 63}), AnalogError.ADDRESS),
    (Drive(**_DRIVE | {"row_mask": 9, "src_jump": 21}), AnalogError.ADDRESS),
])
def test_illegal_commands_stop_the_program(command, code):
    tile = AnalogTile(TINY)
    words = encode([Erase(array=0), command, Input(dst=0, count=3)])
    assert len(tile.run(words)) == 0
    assert (tile.error, tile.position) == (code, 1)


def test_an_unknown_opcode_and_streams_of_the_wrong_length():
    tile = AnalogTile(TINY)
    tile.run(np.zeros((1, 32), dtype=np.uint8))
    assert tile.error is AnalogError.OPCODE
    tile.clear()
    with pytest.raises(DataError, match="command 0 wants 3 activation beats, but 1 are left"):
        tile.run([Input(dst=0, count=3)], acts=np.zeros((1, 1), dtype=np.int8))
    with pytest.raises(DataError, match="leave 1 weight beats"):
        tile.run([End()], weights=np.zeros((1, 1), dtype=np.int8))
    with pytest.raises(DataError, match=r"words must be uint8 of shape \(n, 32\), not int64"):
        tile.run(np.zeros((1, 32), dtype=np.int64))
    with pytest.raises(DataError, match=r"acts must be int8 of shape \(beats, 1\)"):
        tile.run([End()], acts=np.zeros((1, 2), dtype=np.int8))


def test_the_generator_has_the_longest_period():
    states, after = lfsr_states(1, (1 << 16) - 1)
    assert after == 1
    assert len(set(states.tolist())) == (1 << 16) - 1


def test_transfer():
    value, clamped = transfer(np.array([0, 5, 8, 20]), 3, 1, 4, 1)
    np.testing.assert_array_equal(value, [4, 6, 8, 18])
    np.testing.assert_array_equal(clamped, [True, False, False, True])


def test_rounds_are_the_most_columns_of_a_converter():
    rng = np.random.default_rng(3)
    for adcs in (1, 2, 4, 8):
        config = TINY.replace(adcs=adcs)
        for _ in range(20):
            mask = int(rng.integers(1, 16))
            active = [c for c in range(8) if mask >> c // 2 & 1]
            assert rounds(config, mask) == max(
                sum(c % adcs == adc for c in active) for adc in range(adcs))


@pytest.mark.parametrize("adcs", [4, 8, 16, 32])
def test_cycles_of_one_drive_are_the_closed_form(adcs):
    config = AnalogConfig(adcs=adcs)
    drive = Drive(array=0, row_mask=255, col_mask=255, src=0, dst=0, bits=7)
    # accepted in 0, dispatched in 1, popped in 2, word lines loaded in 3..10, first pulse in 12
    convert = 8 * (4 + 64 // adcs * 7)
    assert cycles(config, [drive, End()]) == 12 + convert + 8 + 1


def test_monarch_is_its_dense_matrix_where_the_middle_fits():
    rng = np.random.default_rng(4)
    k, j, rank, size, out = 3, 4, 2, 5, 2
    right = rng.integers(-1, 2, (k, rank * j, size))
    left = rng.integers(-1, 2, (j, out, k * rank))
    dense = np.einsum("jlkr,krji->ljki", left.reshape(j, out, k, rank),
                      right.reshape(k, rank, j, size)).reshape(j * out, k * size)
    x = rng.integers(-20, 21, (6, k * size))
    np.testing.assert_array_equal(
        monarch(x, right, left, (0, 1, 0), rank=rank, strided=False), x @ dense.T)
    order = np.arange(k * size).reshape(size, k).T.ravel()  # block k: inputs i * k_count + k
    np.testing.assert_array_equal(
        monarch(x, right, left, (0, 1, 0), rank=rank), x[:, order] @ dense.T)


@pytest.mark.parametrize(("changes", "message"), [
    ({"array": 48}, "array must be a power of two in 8..512, not 48"),
    ({"grain": 1}, "grain must be a power of two in 2..64, not 1"),
    ({"adcs": 3}, "adcs must be a power of two in 1..64, not 3"),
    ({"adc_bits": 17}, "adc_bits must be in 0..16, not 17"),
    ({"cell_bits": 3}, "cell_bits must be one of 1, 2, 4, 8, not 3"),
    ({"port": 16}, "port must be a power of two in 1..8, not 16"),
    ({"arrays": 0}, "arrays must be in 1..64, not 0"),
    ({"t_settle": 0}, r"t_settle must be in 1..255, not 0"),
    ({"dither": True}, "dither must be an integer, not True"),
])
def test_configurations_that_cannot_be_built(changes, message):
    with pytest.raises(ConfigError, match=message):
        AnalogConfig(**changes)


def test_lossless_bits_follow_the_array():
    assert AnalogConfig().adc_bits == 7
    assert AnalogConfig().replace(array=128).adc_bits == 8
    assert AnalogConfig(adc_bits=5).replace(array=128).adc_bits == 5
    assert AnalogConfig().digest != AnalogConfig(adcs=8).digest
