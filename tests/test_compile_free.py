"""Patterns that are free in every column: one step per tile with line, several with pair."""

import numpy as np
import pytest
from compile_interpreter import SMALL

from cimforge.spec.errors import ConfigError
from cimforge.spec.pattern import NmPattern
from cimforge.spec.timing import cycles
from cimforge_sw.compile import compile_layer, free_pattern, free_weights

CONFIGS = {"line": SMALL.replace(sub_macros=4, max_m=8, cols=8),
           "pair": SMALL.replace(sub_macros=4, max_m=8, cols=8, select="pair")}


@pytest.mark.parametrize("pattern", ["2:4", "1:8"])
def test_line_takes_one_step_where_pair_takes_several(pattern):
    costs = free_pattern(CONFIGS, pattern, 32, 64, 4)
    assert set(costs["line"].steps) == {1}
    assert costs["pair"].steps_per_tile > 3
    assert max(costs["pair"].steps) <= CONFIGS["pair"].cols
    assert costs["pair"].cycles > costs["line"].cycles
    for name, cost in costs.items():
        assert cost.tiles == len(cost.steps)
        assert cost.resident_cycles <= cost.cycles
        weight = free_weights(NmPattern.parse(pattern), 32, 64)
        layer = compile_layer(CONFIGS[name], "free", weight, NmPattern.parse(pattern), 4)
        assert cost.cycles == cycles(CONFIGS[name], layer.commands)
        assert str(layer.mode) == cost.mode


def test_a_pattern_that_columns_share_takes_one_step_of_pair():
    weight = np.where(np.arange(64) % 4 < 2, 5, 0)[None].repeat(32, axis=0)
    assert compile_layer(CONFIGS["pair"], "shared", weight, NmPattern(2, 4), 4).steps == 1


@pytest.mark.parametrize(("n", "m", "inputs"), [(2, 4, 64), (1, 8, 30), (3, 3, 7)])
def test_weights_keep_exactly_n_of_m_at_places_of_their_own(n, m, inputs):
    weight = free_weights(NmPattern(n, m), 40, inputs, 4, seed=2)
    assert weight.shape == (40, inputs)
    assert weight.dtype == np.int8
    assert np.abs(weight).max() <= 7
    whole = weight[:, :inputs // m * m].reshape(40, -1, m)
    assert (np.count_nonzero(whole, axis=-1) == n).all()
    assert (weight == free_weights(NmPattern(n, m), 40, inputs, 4, seed=2)).all()
    if n < m:
        assert len({tuple(row) for row in weight != 0}) > 30


def test_unknown_patterns_are_refused():
    with pytest.raises(ConfigError):
        free_pattern(CONFIGS, "2", 32, 64, 4)
