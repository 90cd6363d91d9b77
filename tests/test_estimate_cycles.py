"""Cycles from shapes are those of the compiler, for random shapes, patterns, presets and tokens."""

import numpy as np
import pytest
from compile_interpreter import random_weight
from test_compile_estimate import random_config

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.mode import Mode
from cimforge.spec.pattern import NmPattern
from cimforge.spec.timing import cycles
from cimforge.spec.yaml_config import load_config, preset_names
from cimforge_sw.compile import compile_layer, estimate, resident_cycles
from cimforge_sw.compile.cost import pattern_cycles
from cimforge_sw.compile.geometry import Geometry
from cimforge_sw.compile.lanes import lane_cycles
from cimforge_sw.compile.loop import Loop
from cimforge_sw.compile.shape_cost import kept_weights, shape_costs
from cimforge_sw.compile.tiling import Tiling


def random_tilings(rng, config, count):
    """Return tilings that their programs are small enough to walk, with tokens and steps."""
    found = []
    while len(found) < count:
        mode = config.modes[rng.integers(len(config.modes))]
        tiling = Tiling(config, mode, int(rng.integers(1, 40 * config.outputs(mode))),
                        int(rng.integers(1, 12 * config.k_tile(mode) + 2)),
                        int(rng.integers(1, 4)))
        tokens, steps = int(rng.integers(1, 70)), int(rng.integers(1, config.max_steps + 1))
        if tiling.fits and tiling.inputs <= config.max_k and (
                tiling.tiles * len(tiling.chunks(tokens)) <= 800):
            found.append((tiling, tokens, steps))
    return found


@pytest.mark.parametrize("seed", range(16))
def test_lanes_are_the_recurrence_over_the_commands(seed):
    rng = np.random.default_rng(seed)
    config = random_config(rng)
    tilings, tokens, steps = zip(*random_tilings(rng, config, 8), strict=True)
    geometry = Geometry.of(config, [t.mode for t in tilings], *(
        np.array([getattr(t, name) for t in tilings]) for name in ("outputs", "inputs", "passes")))
    streamed = lane_cycles(geometry, tokens, steps)
    placed = lane_cycles(geometry, tokens, steps, loads=False)
    for i, tiling in enumerate(tilings):
        assert geometry.cells[i] == tiling.cells
        commands = list(Loop(tiling, tokens[i], np.full(tiling.tiles, steps[i])).commands())
        assert streamed[i] == cycles(config, commands), (config, tiling, tokens[i])
        without = [c for c in commands if "Load" not in type(c).__name__
                   or type(c).__name__ == "LoadActs"]
        assert placed[i] == cycles(config, without), (config, tiling, tokens[i])


@pytest.mark.parametrize("preset", [name for name in preset_names() if name != "tiny"])
def test_costs_are_the_compilers(preset):
    rng, config = np.random.default_rng(len(preset)), load_config(preset)
    patterns = [NmPattern(n, 8) for n in range(1, 9)] if config.select == "line" else [
        NmPattern(n, m) for n, m in ((1, 1), (1, 2), (2, 4), (4, 8), (1, 4), (2, 8), (1, 8))]
    jobs = [(f"layer{i}", int(rng.integers(1, 300)), 8 * int(rng.integers(1, 90)), pattern,
             int(rng.integers(1, 40))) for i, pattern in enumerate(patterns)]
    costs = shape_costs(config, jobs)
    for i, (name, outputs, inputs, pattern, tokens) in enumerate(jobs):
        shared = config.cols if config.select == "pair" else 1
        weight = random_weight(rng, outputs, inputs, pattern.n, pattern.m, shared=shared)
        layer = compile_layer(config, name, weight, pattern, tokens)
        assert costs.cycles[i] == estimate(config, layer).cycles, jobs[i]
        assert costs.resident_cycles[i] == resident_cycles(config, layer)
        assert (costs.modes[i], costs.passes[i]) == (layer.mode, layer.passes)
        assert costs.slot_use[i] == pytest.approx(layer.slot_use, abs=0)


def test_costs_are_those_of_selection_for_real_shapes():
    shapes, tokens = ((4096, 4096), (11008, 4096), (4096, 11008), (192, 5120)), (1, 16, 100)
    for preset in ("default", "fixed_1_2"):
        config = load_config(preset)
        jobs = [("", *shape, NmPattern(n, 8), t)
                for shape in shapes[:2 + 2 * (preset == "default")] for n in (2, 3) for t in tokens]
        wanted = [pattern_cycles(config, *job[1:]) for job in jobs]
        assert shape_costs(config, jobs).cycles.tolist() == wanted


def test_a_short_last_group_keeps_what_fits():
    for inputs in (1, 7, 8, 9, 20):
        weight = np.arange(inputs) % 8 < 3
        assert kept_weights(5, inputs, NmPattern(3, 8)) == 5 * weight.sum()


@pytest.mark.parametrize(("job", "message"), [
    (("head", 8, 2048, NmPattern(1, 4), 1), r"^head: .* at most max_k = 1024 inputs, not 2048$"),
    (("q", 0, 8, NmPattern(1, 4), 1), r"^q: outputs, inputs and tokens must be at least 1, not 0"),
    (("q", 8, 8, NmPattern(1, 4), 0), r"at least 1, not 8, 8 and 0$"),
    (("q", 8, 1024, NmPattern(1, 1), 1), r"^q: 1024 inputs in 1:1 take 32 windows .* = 16$"),
])
def test_layers_that_no_tile_takes(job, message):
    with pytest.raises(DataError, match=message):
        shape_costs(load_config("tiny"), [("good", 4, 8, NmPattern(1, 4), 1), job])


def test_no_layers_cost_nothing():
    assert shape_costs(DcimConfig(), []).cycles.sum() == 0


def test_geometry_refuses():
    with pytest.raises(ConfigError, match=r"^mode must be one of the configuration's, not 9:8 G=4"):
        Geometry.of(DcimConfig(), [Mode(9, 8, 4)], *np.ones((3, 1), dtype=int))
    with pytest.raises(DataError, match=r"must be at least 1"):
        Geometry.of(DcimConfig(), [Mode(8, 8, 4)], *np.zeros((3, 1), dtype=int))
    geometry = Geometry.of(DcimConfig(), [Mode(8, 8, 4)], *np.ones((3, 1), dtype=int))
    with pytest.raises(DataError, match=r"^tokens and steps must be at least 1"):
        lane_cycles(geometry, 0)
