"""The analog tile's RTL against the golden model: results, flags, counters, predicted cycles.

``m256`` is an array of the paper's size, whose build takes minutes: ``CIMFORGE_FULL_BASELINES=1``.
"""

import os

import numpy as np
import pytest

from cimforge_verif.analog.random_program import random_program
from tb.analog_cases import diagonals, full_scale, linear
from tb.designs import analog_config_of

pytestmark = pytest.mark.verilator

SMALL = ["analog/tiny", "analog/small", "analog/shared", "analog/m32"]
EVERY = [*SMALL, "analog/default",
         *(["analog/m256"] if os.environ.get("CIMFORGE_FULL_BASELINES") == "1" else [])]
#: No stream waits; all do now and then; the sink is slow; the inputs trickle in.
STALLS = {"none": 0.0, "all": 0.3, "sink": {"results": 0.8},
          "sources": {"commands": 0.5, "weights": 0.5, "acts": 0.5}}


@pytest.mark.parametrize(("design", "stalls"), [
    *((design, stalls) for design in SMALL[:2] for stalls in STALLS),
    *((design, stalls) for design in EVERY[2:] for stalls in ("none", "all"))])
def test_random_programs(simulate, config, design, stalls):
    """Drives, moves and programming in any legal order, exact and with everything that loses."""
    rng = np.random.default_rng([len(stalls), config.array])
    count, length = (12, 60) if config.array == 8 else (2, 30)
    simulate([random_program(config, rng, length, pulses=8 if config.array == 8 else 2)
              for _ in range(count)], stalls=STALLS[stalls])


@pytest.mark.parametrize("design", EVERY)
def test_linear_layers(simulate, config, design):
    """Exactly with enough bits; with fewer, as many saturations as the golden model counts."""
    rng = np.random.default_rng(1)
    bits = [bits for bits in (0, 8, 5, 3) if bits <= config.adc_bits]
    results = simulate([linear(config, rng, b) for b in bits])
    exact = config.adc_bits >= config.sum_bits
    assert not (exact and results[0].counters["saturations"])


@pytest.mark.parametrize("design", EVERY)
def test_diagonals_of_a_dense_mapping(simulate, config, design):
    """Driven row by row; driven whole, the tile says that blocks were mixed."""
    rng = np.random.default_rng(2)
    vectors = [diagonals(config, rng), diagonals(config, rng, whole=True)]
    assert [v.expected().illegal >= 0 for v in vectors] == [False, True]
    simulate(vectors)


@pytest.mark.parametrize("design", EVERY)
def test_full_scale(simulate, config, design):
    simulate(full_scale(config, np.random.default_rng(3)), stalls=0.1)


def test_random_programs_use_what_they_are_for():
    """Otherwise the tests above would pass without testing much."""
    from cimforge.spec.analog.commands import AnalogOpcode, Drive

    config, rng = analog_config_of("tiny"), np.random.default_rng(4)
    programs = [random_program(config, rng, 60) for _ in range(8)]
    commands = [command for program in programs for command in program.commands]
    assert {command.opcode for command in commands} == set(AnalogOpcode)
    drives = [command for command in commands if isinstance(command, Drive)]
    for name in ("round", "accumulate", "requantize"):
        assert {getattr(drive, name) for drive in drives} == {False, True}, name
    for name in ("row_mask", "bits", "src_block", "dst_rotation", "row_group", "shift", "offset",
                 "array", "slot", "depends"):
        assert len({getattr(drive, name) for drive in drives}) > 1, name
    expected = [program.expected() for program in programs]
    assert {e.illegal >= 0 for e in expected} == {False, True}
    assert all(e.counters["saturations"] > 0 for e in expected)
