"""Words and beats: what is packed comes back, and what does not fit is refused."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimforge.spec.bits import bits_of, bytes_of, signed_of, unsigned_of
from cimforge.spec.commands import (
    FIELDS,
    WORD_BYTES,
    Compute,
    End,
    LoadActs,
    LoadSelects,
    LoadWeights,
    SetRequantize,
    decode,
    encode,
    unpack_word,
)
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.layout import (
    pack_acts,
    pack_selects,
    pack_weights,
    unpack_acts,
    unpack_selects,
    unpack_weights,
)
from cimforge.spec.mode import Mode, slot_blocks
from cimforge.spec.pattern import NmPattern, group_counts
from cimforge.spec.yaml_config import load_config

TINY = load_config("tiny")
PAIR = TINY.replace(select="pair")

bit, u5, u12, u16 = (st.integers(0, (1 << n) - 1) for n in (1, 5, 12, 16))
power = st.integers(0, 7).map(lambda n: 1 << n)
COMMANDS = st.one_of(
    st.builds(LoadWeights, bank=bit),
    st.builds(LoadSelects, bank=bit, steps=u12),
    st.builds(LoadActs, row=u16, count=u16, beats=u16),
    st.builds(Compute, bank=bit, n=u5, m=power, group=power, row=u16, stride=u16, count=u16,
              acc=u16, steps=u12, first=st.booleans(), last=st.booleans(),
              requantize=st.booleans(), release=st.booleans()),
    st.builds(SetRequantize, output=u16, bias=st.integers(-1 << 31, (1 << 31) - 1),
              multiplier=u16, shift=u12),
    st.builds(End),
)


@given(st.lists(COMMANDS, max_size=5))
def test_commands_round_trip(commands):
    words = encode(commands)
    assert words.shape == (len(commands), WORD_BYTES)
    again = decode(words)
    assert again == commands
    assert [type(c) for c in again] == [type(c) for c in commands]
    assert (encode(again) == words).all()


def test_a_word_has_128_bits_and_zero_is_illegal():
    assert sum(bits for _, bits in FIELDS) == 128
    with pytest.raises(DataError) as error:
        decode(np.zeros((1, 16), dtype=np.uint8))
    assert str(error.value) == "command 0: unknown opcode 0"
    words = encode([End(), End()]).copy()
    words[1, 0] = 15
    with pytest.raises(DataError, match="command 1: unknown opcode 15"):
        decode(words)


def test_fields_of_a_word():
    word = encode([Compute(bank=1, n=3, m=8, group=4, row=1, stride=2, count=3, acc=4, steps=5,
                           first=False, last=True, requantize=True, release=False)])
    assert unpack_word(int.from_bytes(word.tobytes(), "little")) == dict(
        opcode=4, bank=1, first=0, last=1, requantize=1, release=0, n=3, m_log2=3, group_log2=2,
        steps=5, row=1, stride=2, count=3, acc=4, bias=0)
    assert decode(word)[0].first is False


COMPUTE = Compute(bank=0, n=1, m=1, group=1, row=0, stride=0, count=1)


@pytest.mark.parametrize(("command", "message"), [
    (LoadWeights(bank=2), "bank = 2 does not fit 1 bits in LoadWeights(bank=2)"),
    (LoadActs(row=0, count=1 << 16, beats=1), "count = 65536 does not fit 16 bits in "),
    (LoadActs(row=-1, count=1, beats=1), "row = -1 does not fit 16 bits in "),
    (SetRequantize(output=0, bias=1 << 31, multiplier=0, shift=0),
     "bias = 2147483648 does not fit 32 bits in "),
    (SetRequantize(output=0, bias=0, multiplier=1 << 16, shift=0),
     "multiplier = 65536 does not fit 16 bits in "),
    (dataclasses.replace(COMPUTE, m=3), "m must be a power of two in Compute("),
    (dataclasses.replace(COMPUTE, group=0), "group must be a power of two in Compute("),
    (dataclasses.replace(COMPUTE, m=256), "m_log2 = 8 does not fit 3 bits in Compute("),
    (dataclasses.replace(COMPUTE, n=32), "n = 32 does not fit 5 bits in "),
    (dataclasses.replace(COMPUTE, steps=4096), "steps = 4096 does not fit 12 bits in "),
])
def test_values_that_do_not_fit(command, message):
    with pytest.raises(DataError) as error:
        encode([command])
    assert str(error.value).startswith(message)


@given(st.integers(1, 63), st.data())
def test_bits_round_trip(width, data):
    low, high = -(1 << width - 1), (1 << width - 1) - 1
    values = np.array(data.draw(st.lists(st.integers(low, high), min_size=1, max_size=9)))
    bits = bits_of(values, width)
    assert bits.shape == (len(values), width)
    assert (signed_of(bits) == values).all()
    if width < 63:
        assert (unsigned_of(bits) == values % (1 << width)).all()
    assert (np.unpackbits(bytes_of(bits), axis=-1, bitorder="little", count=width) == bits).all()


LAYOUTS = [TINY, TINY.replace(load_rows=1), TINY.replace(index_share=4), TINY.replace(max_m=1),
           TINY.replace(weight_bits=4, act_bits=4, act_slice=4, act_port_bits=12), PAIR,
           TINY.replace(sub_macros=1, rows=1, cols=1, max_m=2, act_port_bits=8),
           TINY.replace(sub_macros=1, max_m=2, select="pair"),
           TINY.replace(sub_macros=8, load_rows=2, max_m=8, select="pair")]


@pytest.mark.parametrize("config", LAYOUTS)
@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=10, deadline=None)
def test_beats_round_trip(config, seed):
    rng = np.random.default_rng(seed)
    p, r, c = config.sub_macros, config.rows, config.cols
    top = 1 << config.weight_bits - 1
    weight = rng.integers(-top, top, (p, r, c))
    index = rng.integers(0, config.lines, (p, r, config.units))
    beats = pack_weights(config, weight, index)
    assert beats.shape == (config.weight_beats, -(-config.weight_beat_bits // 8))
    back = unpack_weights(config, beats)
    assert (back[0] == weight).all()
    assert (back[1] == index).all()
    top = 1 << config.act_bits - 1
    lanes = rng.integers(-top, top, (4, config.act_lanes))
    assert (unpack_acts(config, pack_acts(config, lanes)) == lanes).all()
    wide = pack_acts(config, lanes[:1, :1].repeat(config.act_lanes + 1, axis=1))
    assert unpack_acts(config, wide)[1].tolist() == [lanes[0, 0]] + [0] * (config.act_lanes - 1)
    if config.select == "pair":
        level1, level2 = rng.integers(0, p, (2, 3, r, p))
        mask = rng.integers(0, 2, (3, p, c))
        beats = pack_selects(config, level1, level2, mask)
        assert len(beats) == 3 * config.select_beats
        for one, two in zip(unpack_selects(config, beats), (level1, level2, mask), strict=True):
            assert (one == two).all()


def test_place_of_a_weight_in_its_beat():
    config = TINY.replace(load_rows=1)
    weight, index = np.zeros((2, 4, 4), int), np.zeros((2, 4, 4), int)
    weight[1, 2, 3], index[1, 2, 3] = -1, 2  # beat 2·2 + 1, unit 3: eight bits, then two
    beats = pack_weights(config, weight, index)
    assert beats.nonzero()[0].min() == beats.nonzero()[0].max() == 5
    assert int.from_bytes(beats[5].tobytes(), "little") == (0xFF | 2 << 8) << 30


@pytest.mark.parametrize(("call", "message"), [
    (lambda: pack_weights(TINY, np.zeros((2, 4, 3), int), np.zeros((2, 4, 4), int)),
     "weight must have shape (2, 4, 4), not (2, 4, 3)"),
    (lambda: pack_weights(TINY, np.full((2, 4, 4), 128), np.zeros((2, 4, 4), int)),
     "weight must be in -128..127, not 128..128"),
    (lambda: pack_weights(TINY, np.zeros((2, 4, 4), int), np.full((2, 4, 4), 4)),
     "index must be in 0..3, not 4..4"),
    (lambda: unpack_weights(TINY, np.zeros((3, 10), np.uint8)),
     "weights must have shape (4, 10), not (3, 10)"),
    (lambda: pack_acts(TINY, np.full((1, 3), -129)),
     "activations must be in -128..127, not -129..-129"),
    (lambda: pack_selects(PAIR, np.full((1, 4, 2), 2), np.zeros((1, 4, 2), int),
                          np.zeros((1, 2, 4), int)), "level1 must be in 0..1, not 2..2"),
    (lambda: pack_selects(PAIR, np.zeros((1, 4, 2), int), np.zeros((2, 4, 2), int),
                          np.zeros((1, 2, 4), int)),
     "level2 must have shape (1, 4, 2), not (2, 4, 2)"),
    (lambda: pack_selects(PAIR, *np.zeros((2, 1, 4, 2), int), np.full((1, 2, 4), 2)),
     "mask must be in 0..1, not 2..2"),
])
def test_beats_that_cannot_be(call, message):
    with pytest.raises(DataError) as error:
        call()
    assert str(error.value) == message


@pytest.mark.parametrize(("text", "pattern"), [
    ("2:4", NmPattern(2, 4)), ("dense", NmPattern(1, 1)), ("8:8", NmPattern(8, 8))])
def test_patterns(text, pattern):
    assert NmPattern.parse(text) == pattern
    assert NmPattern.parse(str(pattern)) == pattern
    assert pattern.density == pattern.n / pattern.m


@pytest.mark.parametrize(("call", "message"), [
    (lambda: NmPattern.parse("2-4"),
     "expected an N:M pattern such as '2:4', or 'dense', not '2-4'"),
    (lambda: NmPattern.parse("4:2"), "N:M keeps N of M weights and needs 1 <= N <= M, not 4:2"),
    (lambda: NmPattern(0, 4), "N:M keeps N of M weights and needs 1 <= N <= M, not 0:4"),
    (lambda: NmPattern(2, 4.0), "N:M needs integers, not 2:4.0"),
])
def test_bad_patterns(call, message):
    with pytest.raises(ConfigError) as error:
        call()
    assert str(error.value) == message


def test_group_counts_pad_the_last_group():
    weight = np.array([[1, 0, 2, 0, 0, 3], [0] * 6])
    assert group_counts(weight, 4).tolist() == [[2, 1], [0, 0]]


def test_slot_blocks():
    assert slot_blocks(TINY, Mode(3, 4, 2)).tolist() == [[0, 0], [0, 1], [1, 1], [-1, -1]]
    assert slot_blocks(TINY, Mode(2, 4, 1)).tolist() == [[0, 0], [0, 0], [1, 1], [1, 1]]
    assert str(Mode(2, 4, 1)) == "2:4 G=1"
