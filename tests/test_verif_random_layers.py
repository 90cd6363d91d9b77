"""Random tiles and layers: the golden tile counts what was predicted, as the RTL's tests can."""

import numpy as np
import pytest

from cimforge.spec.commands import LoadWeights
from cimforge.spec.timing import timeline
from cimforge_sw.compile import compile_layer, estimate, layer_cycles
from cimforge_verif.random_layers import random_config, random_points
from cimforge_verif.replay import golden_replay

CONFIGS = 24


@pytest.mark.parametrize("seed", range(CONFIGS))
def test_predicted_is_counted_by_the_golden_tile(seed):
    rng = np.random.default_rng(seed)
    config, points = random_config(rng), 0
    for point in random_points(config, rng, 4):
        layer = compile_layer(config, point.name, point.weight, point.pattern, len(point.x))
        result = golden_replay(config, layer, point.x)
        time, counted = timeline(config, layer.commands), result.counters
        assert (counted.compute, counted.load_weights, counted.load_acts) == (
            time.compute, time.load_weights, time.load_acts), (config, point.name)
        assert estimate(config, layer).cycles == time.end
        if config.select == "line" or config.max_m <= 2:
            assert layer_cycles(config, layer.outputs, layer.inputs, layer.mode.n, layer.tokens,
                                layer.mode.group, m=layer.mode.m, passes=layer.passes) == time.end
        assert np.array_equal(result.y, point.x.astype(int) @ point.weight.T.astype(int))
        assert sum(isinstance(c, LoadWeights) for c in layer.commands) <= 400
        points += 1
    assert points == 4


def test_the_same_seed_gives_the_same_points_and_others_differ():
    def drawn(seed):
        rng = np.random.default_rng(seed)
        return random_config(rng), [p.weight.tobytes() for p in random_points(random_config(rng),
                                                                             rng, 3)]

    assert drawn(3) == drawn(3)
    assert len({drawn(seed)[0].digest for seed in range(CONFIGS)}) > CONFIGS // 2


def test_every_feature_is_drawn():
    drawn = [random_config(np.random.default_rng(seed)) for seed in range(80)]
    for name, wanted in (("select", {"line", "pair"}), ("weight_banks", {1, 2}),
                         ("adder_stages", {1, 2}), ("max_m", {1, 2, 4, 8}), ("fixed_n", {0, 1, 2}),
                         ("index_share", {1, 2}), ("index_coding", {"binary", "one_hot"}),
                         ("act_bits", {4, 8}), ("weight_bits", {4, 8}), ("sub_macros", {1, 2, 4})):
        assert {getattr(config, name) for config in drawn} == wanted, name


@pytest.mark.parametrize("seed", range(40))
def test_every_group_is_as_full_as_its_pattern_allows(seed):
    """What costs from shapes assume; a group at the end may be short."""
    rng = np.random.default_rng(seed)
    config = random_config(rng)
    for point in random_points(config, rng, 4):
        outputs, inputs = point.weight.shape
        for start in range(0, inputs, point.pattern.m):
            group = point.weight[:, start:start + point.pattern.m]
            wanted = min(point.pattern.n, group.shape[1])
            assert ((group != 0).sum(axis=1) == wanted).all(), (config, point.name, outputs)
