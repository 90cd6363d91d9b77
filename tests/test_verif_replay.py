"""Replay of whole layers: fast path, slow path and a plain dense product say the same."""

import dataclasses

import numpy as np
import pytest

from cimforge.spec.commands import Compute, End, LoadActs, LoadSelects, LoadWeights
from cimforge.spec.errors import DataError
from cimforge.spec.layout import pack_acts, pack_selects, pack_weights
from cimforge.spec.mode import Mode
from cimforge.spec.timing import timeline
from cimforge.spec.yaml_config import load_config
from cimforge_verif.products import products, reference
from cimforge_verif.random_tile import random_tile
from cimforge_verif.replay import Tile, golden_replay, replay
from cimforge_verif.stimulus import random_inputs, random_layer

TINY = load_config("tiny")
CONFIGS = {
    "tiny": TINY,
    "one-bank": TINY.replace(weight_banks=1),
    "narrow": TINY.replace(load_rows=1, out_port=1, act_port_bits=8, act_depth=128),
    "serial": TINY.replace(act_slice=1),
    "share-2": TINY.replace(index_share=2),
    "fixed-2-4": TINY.replace(fixed_n=2),
    "int4": TINY.replace(weight_bits=4, act_bits=4, act_slice=4),
    "pair-1": TINY.replace(sub_macros=1, select="pair", max_m=2),
    "pair-2": TINY.replace(select="pair", act_slice=4),
    "pair-4": TINY.replace(sub_macros=4, select="pair", max_m=8),
}
MODES = [pytest.param(config, mode, id=f"{name}-{mode.n}:{mode.m}-G{mode.group}")
         for name, config in CONFIGS.items() for mode in config.modes]


@pytest.mark.parametrize(("config", "mode"), MODES)
def test_layer_is_a_dense_product(config, mode):
    rng = np.random.default_rng(3)
    depth, width = config.k_tile(mode), config.outputs(mode)
    for steps, requantize in ((1, True), (2, False)) if config.select == "pair" else (
            (1, True), (1, False)):
        layer = random_layer(config, mode, rng, tokens=2, inputs=2 * depth - 1,
                             outputs=2 * width - 1, steps=steps, requantize=requantize)
        x = random_inputs(config, layer.program, rng)
        result = replay(config, layer.program, x)
        assert (result.y == layer.expected(config, x)).all()
        slow = golden_replay(config, layer.program, x)
        assert (result.beats == slow.beats).all()
        assert (result.last == slow.last).all()
        assert result.counters == slow.counters


def test_requantized_results_reach_both_ends():
    rng = np.random.default_rng(4)
    layer = random_layer(TINY, Mode(2, 4, 2), rng, tokens=16, outputs=64, requantize=True)
    y = replay(TINY, layer.program, random_inputs(TINY, layer.program, rng)).y
    assert {-128, 127} < set(y.ravel().tolist())


@pytest.mark.parametrize("config", [TINY, CONFIGS["pair-2"], CONFIGS["serial"]])
def test_counters(config):
    rng, mode = np.random.default_rng(5), config.modes[-1]
    steps = 3 if config.select == "pair" else 1
    layer = random_layer(config, mode, rng, tokens=3, outputs=3 * config.outputs(mode),
                         steps=steps)
    program = layer.program
    counters = replay(config, program, random_inputs(config, program, rng)).counters
    time = timeline(config, program.commands)
    assert counters.compute == time.compute == 3 * 3 * steps * config.slices
    assert counters.load_weights == time.load_weights == len(program.weights)
    assert counters.load_acts == time.load_acts
    nonzeros = np.count_nonzero(layer.weight)  # every slot of this mode is used
    assert counters.macs == 3 * nonzeros
    cells = config.slots * config.cols * steps
    assert counters.idle_slots == 3 * (3 * cells - nonzeros)
    assert counters.to_dict()["macs"] == counters.macs


def edited(program, **changes):
    return dataclasses.replace(program, **changes)


def make(**arguments):
    rng = np.random.default_rng(6)
    layer = random_layer(TINY, Mode(2, 4, 2), rng, tokens=2, **arguments)
    return layer.program, random_inputs(TINY, layer.program, rng)


def failure(program, x):
    with pytest.raises(DataError) as error:
        replay(TINY, program, x)
    return str(error.value)


def test_an_illegal_program_is_named():
    program, x = make()
    compute = next(c for c in program.commands if isinstance(c, Compute))
    commands = [dataclasses.replace(c, row=15) if c is compute else c for c in program.commands]
    assert failure(edited(program, commands=commands), x) == (
        f"random: command 2 is illegal (ADDRESS): {commands[2]}")


def test_streams_must_fit_the_program():
    program, x = make()
    assert failure(edited(program, weights=program.weights[:-1]), x) == (
        "random: command 1 wants 4 weight beats, but 3 are left")
    more = np.concatenate([program.weights, program.weights[:1]])
    assert failure(edited(program, weights=more), x) == (
        "random: the commands leave 1 weight beats")
    commands = [c for c in program.commands if not isinstance(c, Compute)]
    assert failure(edited(program, commands=commands), x).startswith(
        "random: expected results of shape (2, 4), got (0, 4)")


@pytest.mark.parametrize(("x", "message"), [
    (np.zeros((2, 15), int),
     "random: inputs must have shape (2, 16) (tokens, inputs), not (2, 15)"),
    (np.zeros((2, 16)), "random: inputs must be integers, not float64"),
    (np.full((2, 16), 128), "activations must be in -128..127, not 128..128"),
])
def test_bad_inputs(x, message):
    assert failure(make()[0], x) == message


def test_an_overflow_is_named():
    config = TINY.replace(acc_bits=20, max_k=16)
    rng = np.random.default_rng(7)
    layer = random_layer(config, Mode(4, 4, 2), rng, tokens=1)
    program = layer.program
    again = Compute(bank=0, n=4, m=4, group=2, row=0, stride=1, count=1, last=False,
                    release=False)
    loads = [c for c in program.commands if not isinstance(c, (Compute, End))]
    repeats = [dataclasses.replace(again, first=i == 0) for i in range(100)]
    x = np.full((1, 8), 127)
    with pytest.raises(DataError, match=r"^random: command \d+ overflows acc_bits = 20: vector 0, "
                                        r"lane \d sums to -?\d+$"):
        replay(config, edited(program, commands=[*loads, *repeats, End()]), x)


@pytest.mark.parametrize(("value", "legal"), [(-128, 3), (64, 8)])
def test_the_largest_sums_are_legal(value, legal):
    config = TINY.replace(acc_bits=20, max_k=16)
    weights = pack_weights(config, np.full((2, 4, 4), -128), np.zeros((2, 4, 4), int))
    acts = pack_acts(config, np.full((1, 8), value))  # eight products of 2^14, or of -2^13
    compute = Compute(bank=0, n=4, m=4, group=2, row=0, stride=1, count=1, release=False)
    loads = [LoadActs(row=0, count=1, beats=1), LoadWeights(bank=0)]

    def run(count):
        adds = [dataclasses.replace(compute, first=i == 0, last=i == count - 1)
                for i in range(count)]
        return Tile(config).run([*loads, *adds], weights, acts)

    assert (run(legal) == legal * 8 * -128 * value).all()
    with pytest.raises(DataError, match="overflows acc_bits = 20"):
        run(legal + 1)


@pytest.mark.parametrize("multiply", [products, reference])
def test_a_compute_may_take_fewer_steps_than_there_are(multiply):
    config, mode, rng = CONFIGS["pair-2"], Mode(1, 4, 1), np.random.default_rng(9)
    tile = random_tile(config, mode, rng, steps=4)
    x = rng.integers(-128, 128, (1, config.k_tile(mode)))
    commands = [LoadActs(row=0, count=1, beats=-(-x.size // config.act_lanes)),
                LoadSelects(bank=0, steps=4), LoadWeights(bank=0),
                *(Compute(bank=0, n=1, m=4, group=1, row=0, stride=1, count=1, steps=steps,
                          release=False) for steps in (4, 3))]
    weights = np.concatenate([pack_selects(config, *tile.selects),
                              pack_weights(config, tile.weight, tile.index)])
    out = Tile(config, multiply=multiply).run(commands, weights, pack_acts(config, x))
    full, part = out.reshape(2, -1)
    wanted = (x @ tile.dense)[0]
    assert (full == wanted).all()
    wanted[[3, 7]] = 0  # the columns of the last step
    assert (part == wanted).all()


def test_one_wrong_weight_is_seen():
    program, x = make()
    weights = program.weights.copy()
    weights[0, 0] ^= 1
    wrong = replay(TINY, edited(program, weights=weights), x)
    assert (wrong.y != replay(TINY, program, x).y).any()


def test_a_narrow_load_zeroes_the_rest_of_a_window():
    config = TINY.replace(act_port_bits=32)  # four inputs per beat
    rng = np.random.default_rng(8)
    layer = random_layer(config, Mode(2, 4, 2), rng, tokens=1)
    program = layer.program
    load = LoadActs(row=0, count=1, beats=1)
    commands = [program.commands[0], load, *program.commands[1:]]
    windows = np.concatenate([program.windows, [[0, 12, 4]]])
    x = random_inputs(config, program, rng)
    seen = np.zeros_like(x)
    seen[:, :4] = x[:, 12:]
    result = replay(config, edited(program, commands=commands, windows=windows), x)
    assert (result.y == layer.expected(config, seen)).all()


def test_stimulus_refuses_what_does_not_fit():
    with pytest.raises(DataError, match="17 tokens of 16 inputs do not fit the buffers"):
        random_layer(TINY, Mode(2, 4, 2), np.random.default_rng(0), tokens=17)
