"""The batch backend does what cocotb does: same programs, results, flags and counters."""

import numpy as np
import pytest

from cimforge_verif.analog.random_program import random_program
from cimforge_verif.batch.analog import batch_analog
from cimforge_verif.batch.layers import batch_layers
from cimforge_verif.sim.layers import simulate_layers
from tb.designs import BUILDS, config_of, verilog
from tb.tile_cases import mode_layers

pytestmark = pytest.mark.verilator


@pytest.mark.parametrize("stalls", [0.0, 0.3, {"results": 0.8}])
@pytest.mark.parametrize("design", ["tile/tiny", "tile/tiny_pair", "tile/narrow", "tile/wide"])
def test_every_mode_of_the_digital_tile(simulator, design, stalls):
    config = config_of(design.partition("/")[2])
    layers, rtl = mode_layers(config, seed=5), {"dcim_tile.v": verilog(design)}
    ours = batch_layers(config, rtl, layers, stalls=stalls, seed=7, root=BUILDS)
    theirs = simulate_layers(config, rtl, layers, stalls=stalls, seed=7, root=BUILDS)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.results, other.results)
        assert (one.name, one.counters) == (other.name, other.counters)
    assert any(one.counters["stall"] for one in ours) == bool(stalls)


@pytest.mark.parametrize("stalls", [0.0, 0.3])
@pytest.mark.parametrize("design", ["analog/tiny", "analog/small"])
def test_programs_of_the_analog_tile(simulate, config, design, stalls):
    rng = np.random.default_rng(6)
    programs = [random_program(config, rng, 50) for _ in range(6)]
    theirs = simulate(programs, stalls=stalls, seed=7)
    ours = batch_analog(config, {"analog_tile.v": verilog(design)}, programs, stalls=stalls, seed=7,
                        root=BUILDS)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.results, other.results)
        assert one.counters == other.counters
