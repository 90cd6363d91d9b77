"""Whole programs on the tile: results, counters and cycles equal replay and closed form."""

import gc
import warnings

import numpy as np
import pytest
from amaranth import UnusedElaboratable
from compile_interpreter import random_acts, random_weight
from hw_random_program import random_program
from hw_support import BASE, PAIR, SMALLEST, WIDEST, ids, peek
from hw_tile_bench import Program, run_and_check, run_tile

from cimforge.spec.commands import Compute, End, SetRequantize
from cimforge.spec.pattern import NmPattern
from cimforge.spec.timing import cycles
from cimforge.spec.yaml_config import load_config
from cimforge_hw.dcim.tile import DcimTile
from cimforge_sw.compile import compile_layer
from cimforge_verif.compare import assert_equal
from cimforge_verif.stimulus import random_inputs, random_layer

TINY = load_config("tiny")
ODD = [
    SMALLEST, BASE, BASE.replace(act_slice=1, weight_banks=1), BASE.replace(act_slice=2),
    BASE.replace(sub_macros=4, load_rows=1, cols=1), BASE.replace(out_port=1, act_slice=4),
    BASE.replace(cols=3, out_port=1, act_port_bits=8), BASE.replace(rows=1, fixed_n=1),
    BASE.replace(cols=4, index_share=2, load_rows=1), BASE.replace(max_m=1, act_depth=2),
    BASE.replace(weight_bits=4, act_bits=4, act_slice=4), BASE.replace(acc_depth=2, acc_bits=48),
    *(config.replace(act_slice=4) for config in WIDEST),
    PAIR, PAIR.replace(act_slice=4, out_port=1), PAIR.replace(sub_macros=4, rows=1, max_m=8),
    PAIR.replace(sub_macros=1, max_m=2, weight_banks=1, cols=4, load_rows=1),
]
STALLS = dict(commands=0.3, weights=0.3, acts=0.3, results=0.4)


def layer_program(config, rng, outputs, inputs, pattern, tokens):
    """Compile a random layer; return its program, the layer and its input."""
    n, m = map(int, pattern.split(":"))
    weight = random_weight(rng, outputs, inputs, n, m, config.weight_bits, config.index_share)
    layer = compile_layer(config, "layer", weight, NmPattern(n, m), tokens)
    x = random_acts(rng, config, tokens, inputs)
    return Program(layer.commands, layer.weights, layer.act_beats(config, x)), layer, x @ weight.T


COMPILED = [
    (TINY, 9, 40, "2:4", 5), (TINY, 5, 17, "1:4", 3), (TINY, 3, 9, "3:4", 6),
    (TINY.replace(act_slice=2), 9, 20, "1:2", 3), (BASE.replace(weight_banks=1), 3, 20, "2:4", 2),
    (BASE.replace(max_m=1), 3, 5, "1:1", 3), (BASE.replace(fixed_n=1), 3, 20, "2:4", 2),
    (TINY.replace(index_share=2, load_rows=1), 6, 20, "1:4", 3),
    (TINY.replace(select="pair"), 5, 20, "2:4", 3), (PAIR.replace(cols=4), 6, 16, "1:2", 3),
]


@pytest.mark.parametrize(("config", "outputs", "inputs", "pattern", "tokens"), COMPILED)
def test_compiled_layers(config, outputs, inputs, pattern, tokens):
    async def bench(b, rng):
        program, layer, expected = layer_program(config, rng, outputs, inputs, pattern, tokens)
        outcome = await run_and_check(b, program)
        assert b.counters()["cycles"] == cycles(config, program.commands)
        assert b.counters()["stall"] == 0
        assert_equal("layer", layer.collect(config, np.array(outcome.beats)), expected)

    run_tile(config, bench, seed=20)


@pytest.mark.parametrize(("config", "outputs", "inputs", "pattern", "tokens"), COMPILED[::3])
def test_compiled_layers_with_stalls(config, outputs, inputs, pattern, tokens):
    async def bench(b, rng):
        program = layer_program(config, rng, outputs, inputs, pattern, tokens)[0]
        await run_and_check(b, program)
        assert b.counters()["stall"] > 0

    run_tile(config, bench, STALLS, seed=21)


@pytest.mark.parametrize("config", ODD, ids=ids)
def test_random_programs_in_exactly_the_predicted_cycles(config):
    async def bench(b, rng):
        for _ in range(3):
            program = random_program(config, rng)
            await run_and_check(b, program)
            assert b.counters()["cycles"] == cycles(config, program.commands)
            assert b.counters()["stall"] == 0
            await b.clear()

    run_tile(config, bench, seed=22)


@pytest.mark.parametrize("config", ODD, ids=ids)
def test_random_programs_with_stalls(config):
    async def bench(b, rng):
        for _ in range(2):
            await run_and_check(b, random_program(config, rng))
            await b.clear()

    run_tile(config, bench, STALLS, seed=23)


@pytest.mark.parametrize("stream", STALLS)
def test_stalls_of_one_stream(stream):
    async def bench(b, rng):
        for _ in range(2):
            await run_and_check(b, random_program(BASE, rng))
            await b.clear()

    run_tile(BASE, bench, {stream: 0.7}, seed=24)


@pytest.mark.parametrize("config", [BASE, BASE.replace(cols=3, out_port=1)], ids=ids)
@pytest.mark.parametrize("requantize", [False, True])
def test_random_layers_with_and_without_the_requantizer(config, requantize):
    async def bench(b, rng):
        for mode in config.modes[::3]:
            layer = random_layer(config, mode, rng, tokens=2, requantize=requantize,
                                 inputs=2 * config.k_tile(mode) - 1)
            x = random_inputs(config, layer.program, rng)
            outcome = await run_and_check(b, Program(
                layer.program.commands, layer.program.weights,
                layer.program.act_beats(config, x)))
            assert_equal("layer", layer.program.collect(config, np.array(outcome.beats)),
                         layer.expected(config, x), ("token", "output"))
            await b.clear()

    run_tile(config, bench, seed=25)


@pytest.mark.parametrize("config", [BASE, BASE.replace(out_port=1)], ids=ids)
def test_last_marks_the_last_beat_of_every_command(config):
    async def bench(b, rng):
        program = random_program(config, rng)
        outcome = await run_and_check(b, program)
        wanted = []
        for c in program.commands:
            if isinstance(c, Compute) and c.last:
                beats = config.sub_macros // c.group * config.cols // config.out_port * c.count
                wanted += [0] * (beats - 1) + [1]
        assert outcome.last == wanted

    run_tile(config, bench, seed=26)


@pytest.mark.parametrize("config", [BASE, PAIR], ids=ids)
def test_programs_one_after_the_other_add_up(config):
    async def bench(b, rng):
        total = 0
        for _ in range(3):  # a program leaves its banks empty for the next
            program = random_program(config, rng, length=12)
            while not leaves_banks_empty(program.commands):
                program = random_program(config, rng, length=12)
            await b.run(program)
            total += cycles(config, program.commands)
            b.check_counters()
            assert b.counters()["cycles"] == total

    run_tile(config, bench, seed=27)


def leaves_banks_empty(commands):
    """Return whether every bank that is loaded is released."""
    names = [type(c).__name__ for c in commands]
    return names.count("LoadWeights") == sum(
        isinstance(c, Compute) and c.release for c in commands)


def test_programs_without_a_pause_between_them():
    programs = [[End()], [SetRequantize(output=1, bias=1, multiplier=2, shift=3), End()], [End()]]

    async def bench(b, rng):
        for commands in programs:
            b.send(Program(commands))
        await b.finish()
        assert b.counters()["cycles"] == cycles(BASE, [c for p in programs for c in p])

    run_tile(BASE, bench)


@pytest.mark.parametrize("stalls", [{}, dict(results=0.5, acts=0.2)], ids=["ready", "stalls"])
@pytest.mark.parametrize("config", [
    BASE.replace(act_slice=1), BASE.replace(act_slice=2, out_port=1), PAIR.replace(act_slice=1)],
    ids=ids)
def test_reset_in_flight(config, stalls):
    """Whatever cycle of a layer the reset comes in, the next one starts from nothing."""
    async def bench(b, rng):
        def known_layer():
            layer = random_layer(config, config.modes[-1], rng, tokens=2,
                                 steps=min(2, config.max_steps))
            x = random_inputs(config, layer.program, rng)
            return Program(layer.program.commands, layer.program.weights,
                           layer.program.act_beats(config, x))

        for after in range(1, cycles(config, known_layer().commands) + 3):
            b.send(known_layer())
            for _ in range(after):
                await b.tick()
            await b.restart()
            assert not peek(b.ctx, b.dut.busy)
            for value in (*b.counters().values(), *b.error()):
                assert value == 0
            # Memories keep what the cut program wrote; this one writes all that it reads.
            await run_and_check(b, known_layer())
            await b.restart()

    run_tile(config, bench, stalls, seed=28)


@pytest.mark.parametrize("config", ["x", None, {"rows": 4}])
def test_a_tile_wants_a_config(config):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        with pytest.raises(TypeError, match=r"^config must be a DcimConfig, not "):
            DcimTile(config=config)
        gc.collect()  # the tile that never was
