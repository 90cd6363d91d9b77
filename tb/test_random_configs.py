"""Random tiles and layers: cycles counted by the RTL are those of every closed form."""

import numpy as np
import pytest

from cimforge_hw.cache import simulation_rtl
from cimforge_sw.compile import compile_layer, estimate, layer_cycles
from cimforge_sw.compile.shape_cost import shape_costs
from cimforge_verif.batch.layers import batch_layers
from cimforge_verif.random_layers import random_config, random_points
from cimforge_verif.vectors import make_vectors
from tb.designs import BUILDS

pytestmark = pytest.mark.verilator

CONFIGS, POINTS = 20, 10


@pytest.mark.parametrize("seed", range(CONFIGS))
def test_predicted_is_counted_in_rtl(seed):
    rng = np.random.default_rng(seed)
    config = random_config(rng)
    points = list(random_points(config, rng, POINTS))
    layers = [compile_layer(config, point.name, point.weight, point.pattern, len(point.x))
              for point in points]
    vectors = [make_vectors(config, layer, point.x)
               for layer, point in zip(layers, points, strict=True)]
    counted = batch_layers(config, simulation_rtl(config, BUILDS / "rtl"), vectors, root=BUILDS)
    for layer, point, result in zip(layers, points, counted, strict=True):
        cycles = result.counters["cycles"]
        assert estimate(config, layer).cycles == cycles, (config, point.name)
        if config.select == "line":
            assert layer_cycles(config, layer.outputs, layer.inputs, layer.mode.n, layer.tokens,
                                layer.mode.group, m=layer.mode.m, passes=layer.passes) == cycles
            shape = shape_costs(config, [(point.name, layer.outputs, layer.inputs, point.pattern,
                                          layer.tokens)])
            assert shape.cycles[0] == cycles, (config, point.name)
    assert len(counted) == POINTS
