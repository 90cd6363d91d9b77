"""The tile's RTL against the golden model: results, counters and predicted cycles, every mode.

``default``, ``serial`` and ``pair`` are built at full size. The six baselines run every mode at
8 x 8 cells per sub-macro here, because six full-size builds would take longer than all other
tests together; ``CIMFORGE_FULL_BASELINES=1`` runs them at full size.
"""

import os
import zlib

import numpy as np
import pytest

from cimforge.spec.commands import Compute
from cimforge.spec.mode import Mode
from cimforge_verif.sim.layers import simulate_layers
from tb.designs import BASELINES, BUILDS, config_of, verilog
from tb.tile_cases import (
    compiled,
    extremes,
    free_pattern,
    in_passes,
    mode_layers,
    random_program,
    requantized,
)

pytestmark = pytest.mark.verilator

SIZE = "" if os.environ.get("CIMFORGE_FULL_BASELINES") == "1" else "-8x8"
SMALL = ["tile/tiny", "tile/narrow", "tile/tiny_pair", "tile/single", "tile/wide",
         "synthesis/tiny", "synthesis/narrow"]
REDUCED = [f"tile/{name}{SIZE}" for name in BASELINES]
FULL = ["tile/default", "tile/serial", "tile/pair"]
#: No stream waits; all do now and then; the sink is slow; the inputs trickle in.
STALLS = {"none": 0.0, "all": 0.3, "sink": {"results": 0.8},
          "sources": {"commands": 0.5, "weights": 0.5, "acts": 0.5}}


@pytest.fixture
def simulate(simulator, design):
    """Run vector sets on the tile of this test's design."""
    def start(vectors, **options):
        seed = options.setdefault("seed", zlib.crc32(design.encode()))
        print(f"{design}: {len(vectors)} programs, seed {seed}")
        return simulate_layers(config_of(design.partition("/")[2]),
                               {"dcim_tile.v": verilog(design)}, vectors, root=BUILDS, **options)
    return start


@pytest.fixture
def config(design):
    return config_of(design.partition("/")[2])


@pytest.mark.parametrize("design", ["tile/tiny", "tile/default"])
def test_passes_that_the_compiler_chooses(simulate, config):
    """Tiles of several passes add up, in exactly the predicted cycles."""
    rng = np.random.default_rng(3)
    layers = [in_passes(config, n, rng) for n in (config.max_m // 2 + 1, config.max_m - 1)]
    for layer, result in zip(layers, simulate(layers), strict=True):
        np.testing.assert_array_equal(result.results, layer.results)
        assert result.counters["cycles"] == layer.counters["cycles"]


@pytest.mark.parametrize(("design", "stalls"), [
    *((design, stalls) for design in SMALL for stalls in STALLS),
    *((design, stalls) for design in (*REDUCED, *FULL) for stalls in ("none", "all"))])
def test_every_mode(simulate, config, stalls):
    """Compiled layers with tails of K and O; the counters are checked with the results."""
    layers = mode_layers(config, seed=len(stalls))
    assert [layer.layer for layer in layers] == [str(mode) for mode in config.modes]
    results = simulate(layers, stalls=STALLS[stalls])
    for layer, result in zip(layers, results, strict=True):
        np.testing.assert_array_equal(result.results, layer.results)
        if stalls == "none":
            assert result.counters["cycles"] == layer.counters["cycles"]


@pytest.mark.parametrize("stalls", ["none", "all"])
@pytest.mark.parametrize("design", [*SMALL, *FULL])
def test_random_programs(simulate, config, stalls):
    """Programs with banks, strides, sums, modes and requantizers in any legal order."""
    rng = np.random.default_rng(config.slots + len(stalls))
    small = config.slots * config.cols <= 256
    count, length = (20, 80) if small else (2, 40)
    length += config.sub_macros * config.cols  # every requantizer is set first
    last_rows = max(0, config.act_depth - 16)
    simulate([random_program(config, rng, length, last_rows if i == 0 else None)
              for i in range(count)], stalls=STALLS[stalls])


@pytest.mark.parametrize("design", [*SMALL, "tile/default", "tile/pair"])
def test_requantized(simulate, config):
    rng = np.random.default_rng(3)
    steps = min(2, config.max_steps)
    simulate([requantized(config, mode, rng, steps) for mode in config.modes[::3]], stalls=0.1)


@pytest.mark.parametrize("design", [*SMALL, "tile/default", "tile/serial"])
def test_extreme_operands(simulate, config):
    """The largest possible sums, all zeros, and a single nonzero weight."""
    rng = np.random.default_rng(4)
    simulate(extremes(config, config.modes[-1], rng) + extremes(config, config.modes[0], rng))


@pytest.mark.parametrize(("design", "n", "m"), [
    ("tile/tiny_pair", 2, 4), ("tile/tiny_pair", 1, 8), ("tile/pair", 2, 4), ("tile/pair", 1, 8)])
def test_free_patterns_take_several_steps_of_pair(simulate, config, n, m):
    rng = np.random.default_rng(5)
    vectors = free_pattern(config, n, m, rng)
    group = max(mode.group for mode in config.modes if (mode.n, mode.m) == (n, m))
    shared = compiled(config, Mode(n, m, group), rng)
    assert vectors.counters["compute"] > 2 * config.slices * 2  # two tokens, two windows
    result, other = simulate([vectors, shared], stalls=0.0)
    assert result.counters["compute"] == vectors.counters["compute"]
    assert other.counters["compute"] == shared.counters["compute"]


def test_random_programs_reach_all_of_a_large_buffer():
    from cimforge.spec.commands import decode

    rng, config = np.random.default_rng(7), config_of("tiny").replace(act_depth=512)
    rows = [command.row for _ in range(20) for command in
            decode(random_program(config, rng, 30).words) if isinstance(command, Compute)]
    assert min(rows) < 50
    assert max(rows) > 450
    last = decode(random_program(config, rng, 300, 496).words)
    assert max(c.row + c.stride * (c.count - 1) for c in last if isinstance(c, Compute)) == 511


def test_random_programs_use_what_they_are_for():
    """Otherwise the tests above would pass without testing much."""
    from cimforge.spec.commands import decode

    rng = np.random.default_rng(6)
    config = config_of("tiny_pair")
    computes = [command for _ in range(8)
                for command in decode(random_program(config, rng, 100).words)
                if isinstance(command, Compute)]
    for name in ("first", "last", "requantize", "release", "bank"):
        assert {bool(getattr(command, name)) for command in computes} == {False, True}, name
    assert {command.stride for command in computes} == {0, 1, 2}
    assert {command.steps for command in computes} == {1, 2, 3}
