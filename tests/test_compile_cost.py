"""The cost model of selection says what the compiler then needs: every preset, every candidate."""

from types import SimpleNamespace

import pytest
import torch

import cimforge as cf
from cimforge.spec.pattern import NmPattern
from cimforge.spec.yaml_config import preset_names
from cimforge_sw.compile.cost import pattern_cycles
from cimforge_sw.masks import nm_mask
from cimforge_sw.select import PUBLISHED_CANDIDATES, line_candidates

TOKENS = 16


def _compiled(config, outputs, inputs, pattern):
    """Return the cycles of a pruned layer of random weights, positions as the hardware shares."""
    torch.manual_seed(outputs + inputs)
    share = config.index_share
    granularity = "tile" if config.select == "pair" else "free" if share == 1 else f"share{share}"
    mask = nm_mask(torch.rand(outputs, inputs), pattern, granularity, config.cols)
    weight = (torch.randint(1, 1 << config.weight_bits - 1, mask.shape) * mask).numpy()
    layers = {"layer": SimpleNamespace(weight=weight, pattern=pattern)}
    return cf.estimate(cf.compile(layers, config, TOKENS), "layer").cycles


@pytest.mark.parametrize("shape", [(48, 64), (100, 72), (5, 3)])
@pytest.mark.parametrize("preset", preset_names())
def test_cycles_predicted_are_the_compilers(preset, shape):
    config = cf.load_config(preset)
    candidates = {*line_candidates(config.max_m), *line_candidates(8), *PUBLISHED_CANDIDATES}
    if config.select == "pair":
        candidates = {*PUBLISHED_CANDIDATES}
    runs = 0
    for pattern in sorted(candidates, key=str):
        predicted = pattern_cycles(config, *shape, pattern, TOKENS)
        if predicted == float("inf"):
            with pytest.raises(cf.api.DataError, match="windows per token"):
                _compiled(config, *shape, pattern)
        elif config.max_m % pattern.m == 0 or config.select == "pair":
            assert predicted == _compiled(config, *shape, pattern), pattern
            runs += 1
        else:  # the worst block that a longer group allows is not in every mask
            assert predicted >= _compiled(config, *shape, pattern), pattern
    assert runs or preset == "tiny"


@pytest.mark.parametrize("changes", [{"max_m": 4}, {"max_m": 2}, {"sub_macros": 2, "max_m": 4}])
def test_pair_hardware_with_fewer_modes_runs_what_it_lacks_as_what_holds_it(changes):
    config = cf.load_config("pair").replace(**changes)
    for pattern in PUBLISHED_CANDIDATES:
        predicted = pattern_cycles(config, 100, 72, pattern, TOKENS)
        assert predicted == _compiled(config, 100, 72, pattern), pattern


def test_columns_that_share_their_index_cost_the_same():
    config, shape = cf.load_config("default").replace(index_share=2), (96, 72)
    for pattern in line_candidates(8):
        assert pattern_cycles(config, *shape, pattern, TOKENS) == _compiled(config, *shape, pattern)


def test_a_fixed_tile_runs_denser_layers_in_passes():
    config = cf.load_config("fixed_2_4")
    assert pattern_cycles(config, 384, 384, NmPattern(2, 4), TOKENS) < pattern_cycles(
        config, 384, 384, NmPattern(3, 4), TOKENS) < float("inf")
    # A layer of few inputs has less in its only block than its pattern allows.
    assert pattern_cycles(cf.load_config("default"), 8, 3, NmPattern(1, 1), TOKENS) == \
        pattern_cycles(cf.load_config("default"), 8, 3, NmPattern(3, 8), TOKENS)
