"""The tile in program order: every error of the table, what sticks, and what clear forgets."""

import numpy as np
import pytest

from cimforge.spec.commands import (
    Compute,
    End,
    ErrorCode,
    LoadActs,
    LoadSelects,
    LoadWeights,
    SetRequantize,
    encode,
)
from cimforge.spec.errors import DataError
from cimforge.spec.layout import pack_acts, pack_selects, pack_weights
from cimforge.spec.mode import Mode
from cimforge.spec.yaml_config import load_config
from cimforge_verif.random_tile import random_signed, random_tile
from cimforge_verif.replay import Counters, Tile

LINE = load_config("tiny")
PAIR = LINE.replace(select="pair")
ONE_BANK = LINE.replace(weight_banks=1)
MODE = Mode(2, 4, 2)
LOAD, ACTS = LoadWeights(bank=0), LoadActs(row=0, count=1, beats=2)


def compute(**changes):
    return Compute(**{**dict(bank=0, n=2, m=4, group=2, row=0, stride=1, count=1), **changes})


def streams(config, commands, rng):
    """Return enough of both streams for commands, however far they are legal."""
    tile = random_tile(config, MODE, rng)
    weights, acts = [np.zeros((0, -(-config.weight_beat_bits // 8)), np.uint8)], [
        np.zeros((0, config.act_port_bits // 8), np.uint8)]
    for command in commands:
        if isinstance(command, LoadWeights):
            weights.append(pack_weights(config, tile.weight, tile.index))
        elif isinstance(command, LoadSelects) and tile.selects is not None:
            steps = (np.repeat(part, command.steps, axis=0) for part in tile.selects)
            weights.append(pack_selects(config, *steps))
        elif isinstance(command, LoadActs):
            block = random_signed(rng, (command.count, command.beats * config.act_lanes), 8)
            acts.append(pack_acts(config, block))
    return np.concatenate(weights), np.concatenate(acts)


LEGAL = [
    (LINE, [LOAD, ACTS, compute()]),
    (LINE, [LoadActs(row=15, count=1, beats=4), LOAD, compute(row=15, stride=0, count=100)]),
    (LINE, [LOAD, compute(row=0, stride=15, count=2, acc=2, last=False)]),
    (LINE, [LOAD, compute(count=16, acc=65535)]),  # first and last: nothing is stored
    (LINE, [LOAD, compute(release=False), compute(), LOAD]),
    (LINE, [LOAD, LoadWeights(bank=1), compute(), compute(bank=1)]),
    (LINE, [SetRequantize(output=7, bias=-1 << 31, multiplier=65535, shift=47), End(), LOAD]),
    (PAIR, [LoadSelects(bank=0, steps=4), LOAD, compute(steps=4, release=False), compute()]),
    (PAIR, [LoadSelects(bank=0, steps=1), LoadSelects(bank=0, steps=2), LOAD, compute(steps=2)]),
]


@pytest.mark.parametrize(("config", "commands"), LEGAL)
def test_the_edges_are_legal(config, commands):
    tile = Tile(config)
    tile.run(commands, *streams(config, commands, np.random.default_rng(0)))
    assert (tile.error, tile.position) == (ErrorCode.NONE, len(commands) - 1)


ILLEGAL = [
    (ErrorCode.OPCODE, LINE, [], LoadSelects(bank=0, steps=1)),
    (ErrorCode.OPCODE, ONE_BANK, [], LoadWeights(bank=1)),
    (ErrorCode.OPCODE, ONE_BANK, [LOAD], compute(bank=1)),
    (ErrorCode.OPCODE, PAIR.replace(weight_banks=1), [], LoadSelects(bank=1, steps=1)),
    (ErrorCode.MODE, LINE, [LOAD], compute(n=0)),
    (ErrorCode.MODE, LINE, [LOAD], compute(n=5)),
    (ErrorCode.MODE, LINE, [LOAD], compute(m=8)),
    (ErrorCode.MODE, LINE, [LOAD], compute(group=4)),
    (ErrorCode.MODE, PAIR, [LoadSelects(bank=0, steps=1), LOAD], compute(group=1)),
    (ErrorCode.COUNT, LINE, [LOAD], compute(count=0)),
    (ErrorCode.COUNT, LINE, [LOAD], compute(steps=0)),
    (ErrorCode.COUNT, LINE, [LOAD], compute(steps=2)),
    (ErrorCode.COUNT, PAIR, [LoadSelects(bank=0, steps=4), LOAD], compute(steps=5)),
    (ErrorCode.COUNT, PAIR, [], LoadSelects(bank=0, steps=0)),
    (ErrorCode.COUNT, PAIR, [], LoadSelects(bank=0, steps=5)),
    (ErrorCode.COUNT, LINE, [], LoadActs(row=0, count=0, beats=1)),
    (ErrorCode.COUNT, LINE, [], LoadActs(row=0, count=1, beats=0)),
    (ErrorCode.COUNT, LINE, [], LoadActs(row=0, count=1, beats=5)),
    (ErrorCode.COUNT, LINE, [], SetRequantize(output=0, bias=0, multiplier=0, shift=48)),
    (ErrorCode.ADDRESS, LINE, [], LoadActs(row=15, count=2, beats=1)),
    (ErrorCode.ADDRESS, LINE, [LOAD], compute(row=16)),
    (ErrorCode.ADDRESS, LINE, [LOAD], compute(row=1, stride=15, count=2)),
    (ErrorCode.ADDRESS, LINE, [LOAD], compute(stride=65535, count=65535)),
    (ErrorCode.ADDRESS, LINE, [LOAD], compute(acc=4, last=False)),
    (ErrorCode.ADDRESS, LINE, [LOAD], compute(acc=3, count=2, first=False)),
    (ErrorCode.ADDRESS, LINE, [], SetRequantize(output=8, bias=0, multiplier=0, shift=0)),
    (ErrorCode.NO_WEIGHTS, LINE, [], compute()),
    (ErrorCode.NO_WEIGHTS, LINE, [LOAD], compute(bank=1)),
    (ErrorCode.NO_WEIGHTS, LINE, [LOAD, compute()], compute()),
    (ErrorCode.NO_WEIGHTS, PAIR, [LoadSelects(bank=0, steps=1)], compute()),
    (ErrorCode.BANK_FULL, LINE, [LOAD], LOAD),
    (ErrorCode.BANK_FULL, LINE, [LOAD, compute(release=False)], LOAD),
    (ErrorCode.BANK_FULL, PAIR, [LOAD], LoadSelects(bank=0, steps=1)),
    (ErrorCode.NO_SELECTS, PAIR, [LOAD], compute()),
    (ErrorCode.NO_SELECTS, PAIR, [LoadSelects(bank=0, steps=2), LOAD], compute(steps=3)),
    (ErrorCode.NO_SELECTS, PAIR, [LoadSelects(bank=0, steps=3), LoadSelects(bank=0, steps=2),
                                  LOAD], compute(steps=3)),
    # Several apply: the first of the table.
    (ErrorCode.OPCODE, ONE_BANK, [], compute(bank=1, n=0, count=0)),
    (ErrorCode.MODE, LINE, [], compute(n=0, count=0, row=99)),
    (ErrorCode.COUNT, LINE, [], compute(count=0, row=99)),
    (ErrorCode.COUNT, LINE, [], LoadActs(row=99, count=1, beats=0)),
    (ErrorCode.COUNT, LINE, [], SetRequantize(output=99, bias=0, multiplier=0, shift=48)),
    (ErrorCode.ADDRESS, LINE, [], compute(row=99)),
    (ErrorCode.NO_WEIGHTS, PAIR, [], compute()),
]


@pytest.mark.parametrize(("code", "config", "before", "bad"), ILLEGAL)
def test_errors(code, config, before, bad):
    commands = [*before, bad, ACTS, LOAD, compute(), End()]
    tile = Tile(config)
    weights, acts = streams(config, before, np.random.default_rng(1))
    assert len(tile.run(commands, weights, acts)) == sum(
        isinstance(command, Compute) for command in before)
    assert (tile.error, tile.position) == (code, len(before))


def test_every_code_of_the_table_is_tested():
    assert {code for code, *_ in ILLEGAL} == set(ErrorCode) - {ErrorCode.NONE}


@pytest.mark.parametrize("opcode", [0, 7, 8, 15])
def test_unknown_opcodes(opcode):
    words = encode([End(), End()]).copy()
    words[1, 0] = opcode
    tile = Tile(LINE)
    tile.run(words)
    assert (tile.error, tile.position) == (ErrorCode.OPCODE, 1)


def test_an_error_sticks_and_discards_until_clear():
    rng, tile = np.random.default_rng(2), Tile(LINE)
    good = [LOAD, ACTS, compute()]
    weights, acts = streams(LINE, good, rng)
    first = tile.run([*good, compute(), LOAD, compute(count=0)], weights, acts)
    assert (tile.error, tile.position, len(first)) == (ErrorCode.NO_WEIGHTS, 3, 1)
    before = tile.counters.to_dict()
    assert tile.run(good, weights, acts).shape == (0, 4)  # taken and thrown away
    assert (tile.error, tile.position) == (ErrorCode.NO_WEIGHTS, 3)
    assert tile.counters.to_dict() == before
    tile.clear()
    assert (tile.error, tile.position, tile.counters) == (ErrorCode.NONE, 0, Counters())
    assert (tile.run(good, weights, acts) == first).all()
    tile.run([compute()])
    assert (tile.error, tile.position) == (ErrorCode.NO_WEIGHTS, 3)


def test_clear_forgets_the_banks():
    rng, tile = np.random.default_rng(3), Tile(PAIR)
    load = [LoadSelects(bank=0, steps=2), LOAD]
    weights, _ = streams(PAIR, load, rng)
    tile.run(load, weights)
    tile.clear()
    tile.run(load[1:], weights[-4:])  # the bank is empty again …
    tile.run([compute(steps=1)])  # … and so is its step memory
    assert (tile.error, tile.position) == (ErrorCode.NO_SELECTS, 1)


def test_sums_stay_between_computes():
    rng, tile = np.random.default_rng(4), Tile(LINE)
    commands = [LOAD, LoadActs(row=0, count=2, beats=2),
                compute(row=0, last=False, acc=3, release=False),
                compute(row=1, first=False, acc=3, release=False),
                compute(row=0, stride=1, count=2)]
    both, one, two = tile.run(commands, *streams(LINE, commands, rng))
    assert (both == one + two).all()
    assert both.any()


def test_requantizer_of_every_output():
    rng, tile = np.random.default_rng(5), Tile(LINE)
    scale = [SetRequantize(output=i, bias=10 + i, multiplier=0 if i == 2 else 1, shift=0)
             for i in range(8)]
    zero = [LOAD, *scale, compute(requantize=True, release=False), compute(requantize=False)]
    quantized, raw = tile.run(zero, *streams(LINE, zero, rng))
    assert quantized.tolist() == [10, 11, 0, 13]
    assert raw.tolist() == [0] * 4


def test_streams_are_checked():
    with pytest.raises(DataError) as error:
        Tile(LINE).run([End()], acts=np.zeros((1, 7), np.uint8))
    assert str(error.value) == "acts must be uint8 of shape (beats, 8), not uint8 of shape (1, 7)"
    with pytest.raises(DataError, match="program: the commands leave 2 activation beats"):
        Tile(LINE).run([End()], acts=np.zeros((2, 8), np.uint8))
