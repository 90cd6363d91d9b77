"""Illegal programs: code and position as replayed, nothing dispatched is lost, and clear."""

from dataclasses import replace

import numpy as np
import pytest
from hw_random_program import random_program, random_weight_beats
from hw_support import BASE, PAIR, drive, ids, peek
from hw_tile_bench import Program, run_and_check, run_tile

from cimforge.spec.commands import (
    FIELDS,
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
from cimforge_verif.compare import assert_equal
from cimforge_verif.stimulus import random_inputs, random_layer
from cimforge_verif.tile import Tile

STALLS = dict(commands=0.2, weights=0.5, acts=0.3, results=0.6)
MODE = BASE.modes[-1]
GOOD = Compute(bank=0, n=MODE.n, m=MODE.m, group=MODE.group, row=0, stride=1, count=2)
SCALE = SetRequantize(output=0, bias=0, multiplier=0, shift=0)
ACTS = LoadActs(row=0, count=1, beats=1)
ONE_BANK = BASE.replace(weight_banks=1)
PAIRED = replace(GOOD, n=2, m=4, group=2)

#: Every line of the table: configuration, illegal command, code. Bank 0 is full, bank 1 is empty.
TABLE = [
    (BASE, 0, ErrorCode.OPCODE), (BASE, 7, ErrorCode.OPCODE), (BASE, 15, ErrorCode.OPCODE),
    (BASE, LoadSelects(bank=1, steps=1), ErrorCode.OPCODE),
    (ONE_BANK, LoadWeights(bank=1), ErrorCode.OPCODE),
    (ONE_BANK, replace(GOOD, bank=1), ErrorCode.OPCODE),
    (BASE, replace(GOOD, n=0), ErrorCode.MODE), (BASE, replace(GOOD, m=2), ErrorCode.MODE),
    (BASE, replace(GOOD, group=4), ErrorCode.MODE), (PAIR, replace(PAIRED, n=3), ErrorCode.MODE),
    (BASE, replace(GOOD, count=0), ErrorCode.COUNT),
    (BASE, replace(GOOD, steps=0), ErrorCode.COUNT),
    (BASE, replace(GOOD, steps=2), ErrorCode.COUNT),
    (BASE, replace(ACTS, count=0), ErrorCode.COUNT),
    (BASE, replace(ACTS, beats=0), ErrorCode.COUNT),
    (BASE, replace(ACTS, beats=BASE.window_beats + 1), ErrorCode.COUNT),
    (PAIR, LoadSelects(bank=1, steps=0), ErrorCode.COUNT),
    (PAIR, LoadSelects(bank=1, steps=3), ErrorCode.COUNT),
    (PAIR, replace(PAIRED, steps=3), ErrorCode.COUNT),
    (BASE, replace(SCALE, shift=48), ErrorCode.COUNT),
    (BASE, replace(ACTS, row=8), ErrorCode.ADDRESS),
    (BASE, replace(ACTS, row=7, count=2), ErrorCode.ADDRESS),
    (BASE, replace(GOOD, row=7), ErrorCode.ADDRESS),
    (BASE, replace(GOOD, stride=8), ErrorCode.ADDRESS),
    (BASE, replace(GOOD, acc=3, first=False), ErrorCode.ADDRESS),
    (BASE, replace(GOOD, acc=3, last=False), ErrorCode.ADDRESS),
    (PAIR, replace(PAIRED, acc=3, steps=2), ErrorCode.ADDRESS),
    (BASE, replace(SCALE, output=4), ErrorCode.ADDRESS),
    (BASE, replace(GOOD, bank=1), ErrorCode.NO_WEIGHTS),
    (BASE, LoadWeights(bank=0), ErrorCode.BANK_FULL),
    (PAIR, LoadSelects(bank=0, steps=1), ErrorCode.BANK_FULL),
    (PAIR, replace(PAIRED, steps=2), ErrorCode.NO_SELECTS),
]


def good_program(config, rng, tokens=2):
    """Return a program that reads nothing it has not written."""
    layer = random_layer(config, config.modes[-1], rng, tokens=tokens, requantize=True)
    x = random_inputs(config, layer.program, rng)
    return Program(layer.program.commands, layer.program.weights,
                   layer.program.act_beats(config, x))


def words_of(command):
    """Return the word of a command, or one that has only an opcode."""
    if isinstance(command, int):
        return np.array([[command, *[0] * 15]], dtype=np.uint8)
    return encode([command])


def bad_program(config, rng, command):
    """Return work that keeps the tile busy, then the illegal command, then much that must go."""
    good = good_program(config, rng)
    again = [c for c in good.commands if isinstance(c, (LoadSelects, LoadWeights))]
    words = np.concatenate([encode([*good.commands[:-1], *again]), words_of(command),
                            encode([GOOD, LoadWeights(bank=1), ACTS, End()])])
    weights = np.concatenate([good.weights, good.weights, random_weight_beats(config, rng)])
    return Program(words, weights, np.concatenate([good.acts, good.acts]))


@pytest.mark.parametrize(("config", "command", "code"), TABLE)
def test_every_error_of_the_table(config, command, code):
    async def bench(b, rng):
        program = bad_program(config, rng, command)
        await b.run(program)  # compares code and position
        assert b.error()[0] == code
        await b.clear()
        await run_and_check(b, good_program(config, rng))

    run_tile(config, bench, seed=30)


def test_the_table_has_every_code():
    assert {code for _, _, code in TABLE} == set(ErrorCode) - {ErrorCode.NONE}


def corrupted(config, rng):
    """Return a random program with one word changed so that the tile must refuse it."""
    while True:
        program = random_program(config, rng, length=14)
        words = encode(program.commands).copy()
        position = int(rng.integers(len(words)))
        offset, bits = FIELD_BITS[rng.integers(len(FIELD_BITS))]
        value = int.from_bytes(words[position].tobytes(), "little")
        value ^= int(rng.integers(1, min(1 << bits, 1 << 62))) << offset
        words[position] = np.frombuffer(value.to_bytes(16, "little"), np.uint8)
        tile = Tile(config)
        try:
            tile.run(words, program.weights, program.acts)
        except DataError:
            continue  # a legal program that wants other data
        if tile.error is not ErrorCode.NONE:
            return Program(words, program.weights, program.acts)


FIELD_BITS = [(sum(b for _, b in FIELDS[:i]), bits) for i, (_, bits) in enumerate(FIELDS)]


@pytest.mark.parametrize("config", [BASE, PAIR, BASE.replace(act_slice=2, out_port=1)], ids=ids)
@pytest.mark.parametrize("stalls", [{}, STALLS], ids=["ready", "stalls"])
def test_random_errors(config, stalls):
    async def bench(b, rng):
        for _ in range(6):
            await b.run(corrupted(config, rng))
            await b.clear()
            await b.run(good_program(config, rng))
            b.check_counters()
            await b.clear()

    run_tile(config, bench, stalls, seed=31)


@pytest.mark.parametrize("config", [BASE, BASE.replace(act_slice=1, out_port=1)], ids=ids)
def test_what_was_dispatched_before_an_error_finishes_before_clear(config):
    async def bench(b, rng):
        good = good_program(config, rng)
        words = np.concatenate([encode(good.commands[:-1]), words_of(0)])
        b.send(replace(good, commands=words))
        while not b.error()[0]:
            await b.tick()
        assert peek(b.ctx, b.dut.busy)
        drive(b.ctx, b.dut.clear, 1)
        while b.error()[0]:
            await b.tick()
        drive(b.ctx, b.dut.clear, 0)
        outcome = await b.finish()
        expected = b.model.run(words, good.weights, good.acts)
        assert_equal("results", np.array(outcome.beats), expected, ("beat", "lane"))

    run_tile(config, bench, dict(results=0.8, weights=0.6), seed=32)


def test_a_queued_load_still_gets_its_weights_after_an_error():
    async def bench(b, rng):
        good = good_program(BASE, rng)
        lanes = BASE.act_lanes * BASE.window_beats
        commands = [LoadActs(row=0, count=8, beats=BASE.window_beats), LoadWeights(bank=0),
                    replace(GOOD, count=8), LoadWeights(bank=0)]  # waits for the release
        words = np.concatenate([encode(commands), words_of(0)])
        assert lanes == good.acts.shape[1] * BASE.window_beats
        acts = np.resize(good.acts, (8 * BASE.window_beats, good.acts.shape[1]))
        weights = np.concatenate([good.weights, random_weight_beats(BASE, rng)])
        await b.run(Program(words, weights, acts))
        b.check_counters()
        await b.clear()
        await run_and_check(b, good)

    run_tile(BASE, bench, seed=33)


def test_clear_of_a_program_without_end():
    async def bench(b, rng):
        good = good_program(BASE, rng)
        b.send(replace(good, commands=[c for c in good.commands[:-1]
                                       if not isinstance(c, Compute)]))
        for _ in range(60):
            await b.tick()
        assert peek(b.ctx, b.dut.busy)  # it still waits for End
        await b.clear()
        assert not peek(b.ctx, b.dut.busy)
        await run_and_check(b, good)  # loads the bank that clear has forgotten

    run_tile(BASE, bench, seed=34)


@pytest.mark.parametrize("after", [4, 8, 13, 19])
def test_clear_in_flight_waits_for_what_was_dispatched(after):
    async def bench(b, rng):
        good = good_program(BASE, rng)
        b.send(good)
        for _ in range(after):
            await b.tick()
        drive(b.ctx, b.dut.clear, 1)
        for _ in range(3):
            await b.tick()
        drive(b.ctx, b.dut.clear, 0)
        outcome = await b.finish()
        expected = b.model.run(good.commands, good.weights, good.acts)
        assert_equal("results", np.array(outcome.beats), expected, ("beat", "lane"))

    run_tile(BASE, bench, seed=35)
