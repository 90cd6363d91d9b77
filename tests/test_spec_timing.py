"""The closed form of the cycles behaves as cycles must."""

import dataclasses

import numpy as np
import pytest

from cimforge.spec.commands import Compute, End, LoadActs, LoadWeights, SetRequantize
from cimforge.spec.mode import Mode
from cimforge.spec.timing import compute_interval, cycles, timeline
from cimforge.spec.yaml_config import load_config
from cimforge_verif.stimulus import random_layer

TINY = load_config("tiny")
PAIR = TINY.replace(select="pair")
LOAD = [LoadActs(row=0, count=4, beats=2), LoadWeights(bank=0)]
COMPUTE = Compute(bank=0, n=2, m=4, group=2, row=0, stride=1, count=4)


def run(config, *commands):
    return cycles(config, [*commands, End()])


def test_end_alone_takes_two_cycles():
    assert run(TINY) == 2  # accepted in cycle 0, dispatched in cycle 1


def test_one_compute_by_hand():
    # LoadActs: accepted 0, dispatched 1, beats 2..9. LoadWeights: dispatched 2, popped 3, beats
    # 4..7; Compute: dispatched 3, popped 8, vectors 9..12 (the last window is there from 10 on).
    # Last slice 13, sums 12 + 1 + 4, a cycle to hold them, 3 of the requantizers; then End.
    assert run(TINY, *LOAD, COMPUTE) == 12 + 1 + TINY.macro_latency + 1 + 3 + 1 + 1


@pytest.mark.parametrize(("config", "changes", "interval"), [
    (TINY, {}, 1),
    (TINY.replace(act_slice=1), {}, 8),
    (TINY.replace(out_port=1), {}, 4),
    (TINY.replace(out_port=1), dict(last=False), 1),
    (TINY, dict(group=1), 2),
    (PAIR, dict(steps=3), 3),
])
def test_interval(config, changes, interval):
    command = dataclasses.replace(COMPUTE, **changes)
    assert compute_interval(config, command) == interval
    long = dataclasses.replace(command, count=12)
    assert run(config, *LOAD, long) - run(config, *LOAD, dataclasses.replace(command, count=11)
                                          ) == interval


@pytest.mark.parametrize("change", [
    dict(count=5), dict(release=False), dict(steps=2), dict(requantize=True)])
def test_more_work_never_takes_fewer_cycles(change):
    more = dataclasses.replace(COMPUTE, **change)
    assert run(PAIR, *LOAD, more) >= run(PAIR, *LOAD, COMPUTE)


@pytest.mark.parametrize("change", [
    dict(act_slice=1), dict(out_port=1), dict(load_rows=1), dict(act_port_bits=8),
    dict(weight_banks=1)])
def test_less_hardware_never_takes_fewer_cycles(change):
    config = TINY.replace(**change)
    for mode in TINY.modes:
        layer = random_layer(config.replace(weight_banks=1), mode, np.random.default_rng(0),
                             tokens=4, outputs=3 * config.outputs(mode)).program
        banks = random_layer(TINY, mode, np.random.default_rng(0), tokens=4,
                             outputs=3 * config.outputs(mode)).program
        assert cycles(config, layer.commands) >= cycles(TINY, banks.commands)


def test_another_command_never_takes_fewer_cycles():
    commands = random_layer(TINY, Mode(2, 4, 1), np.random.default_rng(1), tokens=4, inputs=20,
                            outputs=30, requantize=True).program.commands
    ends = [run(TINY, *commands[:i]) for i in range(len(commands))]
    assert ends == sorted(ends)
    assert ends[-1] > ends[0]


def test_two_banks_hide_loading():
    def layer(banks):
        config = TINY.replace(weight_banks=banks)
        return cycles(config, random_layer(config, Mode(2, 4, 2), np.random.default_rng(2),
                                           tokens=16, outputs=40).program.commands)

    assert layer(2) < layer(1)


def test_results_of_a_short_compute_wait_for_those_of_a_long_one():
    config = PAIR.replace(out_port=1)
    long, short = (dataclasses.replace(COMPUTE, count=1, steps=steps, release=False)
                   for steps in (4, 1))
    alone = run(config, *LOAD, long)
    assert run(config, *LOAD, long, short) == alone + 4  # four more beats on the output
    stored = dataclasses.replace(short, last=False)
    assert run(config, *LOAD, long, stored) >= alone


def test_timeline():
    time = timeline(TINY, [*LOAD, SetRequantize(output=0, bias=0, multiplier=1, shift=0), COMPUTE,
                           End()])
    assert (time.compute, time.load_weights, time.load_acts) == (4, 4, 8)
    assert [name for name, *_ in time.spans] == ["acts", "weights", "compute"]
    assert all(first <= last < time.end for _, first, last in time.spans)
