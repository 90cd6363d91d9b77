"""Addresses, counts and positions that need more bits than small configurations give them."""

import pytest
from hw_random_program import random_program, random_weight_beats
from hw_support import BASE, PAIR, ids
from hw_tile_bench import Program, run_and_check, run_tile

from cimforge.spec.commands import (
    Compute,
    End,
    ErrorCode,
    LoadActs,
    LoadWeights,
    SetRequantize,
)
from cimforge.spec.layout import pack_acts
from cimforge_verif.random_tile import random_signed

LARGE = BASE.replace(act_depth=1024, acc_depth=256, act_port_bits=128)


def large_program(config, rng):
    """Return a program that fills the buffer and uses rows, strides, counts and sums of 8 bits up.

    Its activations are all different, so that no truncated address finds the right ones.
    """
    mode, depth = config.modes[-1], config.act_depth
    half, stride = depth // 2 + 88, depth // 4 + 50
    common = dict(bank=0, n=mode.n, m=mode.m, group=mode.group, release=False)
    sums = dict(row=half - 400, stride=2, count=190, acc=config.acc_depth - 190)
    commands = [
        LoadActs(row=0, count=half, beats=config.window_beats),
        LoadActs(row=half, count=depth - half, beats=config.window_beats), LoadWeights(bank=0),
        Compute(**common, row=depth - 1, stride=7, count=1),
        Compute(**common, row=100, stride=stride, count=4),
        Compute(**common, row=depth - 16, stride=1, count=16),
        Compute(**common, **sums, last=False),
        Compute(**common, **{**sums, "row": depth - 190, "stride": 1}, first=False), End()]
    acts = random_signed(rng, (depth, config.window_beats * config.act_lanes), config.act_bits)
    return Program(commands, random_weight_beats(config, rng), pack_acts(config, acts))


def test_the_whole_depth_of_the_memories():
    async def bench(b, rng):
        await run_and_check(b, large_program(LARGE, rng))

    run_tile(LARGE, bench, seed=50)


@pytest.mark.parametrize("config", [LARGE, PAIR.replace(act_depth=600, acc_depth=200)], ids=ids)
def test_random_programs_in_large_memories(config):
    async def bench(b, rng):
        for _ in range(3):
            await run_and_check(b, random_program(config, rng))
            await b.clear()

    run_tile(config, bench, seed=51)


def test_the_position_of_a_late_error():
    cheap = SetRequantize(output=0, bias=0, multiplier=1, shift=0)

    async def bench(b, rng):
        for count in (256, 300):
            await b.run(Program([*[cheap] * count, LoadActs(row=0, count=0, beats=1), End()]))
            assert b.error() == (ErrorCode.COUNT, count)
            await b.clear()

    run_tile(BASE, bench, seed=52)
