"""Pruning: masks of the plan on a copy; the gates notice what breaks the pattern."""



import dataclasses

import pytest
import torch
from sw_checkpoints import FAMILIES, save_tiny, token_rows

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern, group_counts
from cimforge_sw.calibration import calibrate
from cimforge_sw.masks import nm_mask
from cimforge_sw.models import linear_layers, load_model, weight_matrix
from cimforge_sw.packed import load_packed, save_packed
from cimforge_sw.plan import Plan
from cimforge_sw.prune import check_groups, prune
from cimforge_sw.scores import wanda_score


@pytest.fixture(params=FAMILIES)
def calibrated(request, tmp_path):
    model = load_model(save_tiny(request.param, tmp_path))
    return model, calibrate(model, token_rows())


@pytest.mark.parametrize("granularity", ["free", "share2", "share4", "tile"])
def test_every_layer_is_its_weight_times_its_mask(calibrated, granularity):
    model, stats = calibrated
    before = {k: v.clone() for k, v in model.module.state_dict().items()}
    pruned = prune(model, Plan.uniform("2:8", granularity, tile_cols=8), stats)
    masked = linear_layers(pruned.model.module)
    for name, layer in linear_layers(model.module).items():
        weight = weight_matrix(layer)
        mask = nm_mask(wanda_score(weight, stats.layers[name].norm), NmPattern(2, 8),
                       granularity, 8)
        assert torch.equal(pruned.masks[name], mask)
        assert torch.equal(weight_matrix(masked[name]), weight * mask)
        assert group_counts(weight_matrix(masked[name]).numpy(), 8).max() == 2
    assert pruned.sparsity == pytest.approx(0.75)
    assert all(torch.equal(before[k], v) for k, v in model.module.state_dict().items())


def test_patterns_by_layer_and_dense_ones(calibrated):
    model, stats = calibrated
    names = list(linear_layers(model.module))
    plan = Plan(NmPattern(1, 2), {names[0]: NmPattern(1, 1), names[1]: NmPattern(3, 8)})
    pruned = prune(model, plan, stats)
    layers = linear_layers(pruned.model.module)
    zeros = [float((weight_matrix(layers[name]) == 0).float().mean()) for name in names[:3]]
    assert zeros == pytest.approx([0.0, 0.625, 0.5])
    assert [str(pruned.patterns[name]) for name in names[:3]] == ["1:1", "3:8", "1:2"]
    total = sum(weight_matrix(layer).numel() for layer in layers.values())
    kept = sum(int(weight_matrix(layer).count_nonzero()) for layer in layers.values())
    assert pruned.sparsity == pytest.approx(1 - kept / total)


def test_statistics_must_be_of_this_model(calibrated):
    model, stats = calibrated
    name = next(iter(stats.layers))
    fewer = {k: v for k, v in stats.layers.items() if k != name}
    with pytest.raises(DataError, match=f"{name}: no calibration statistics"):
        prune(model, Plan.uniform("2:4"), dataclasses.replace(stats, layers=fewer))
    short = dataclasses.replace(stats.layers[name], norm=torch.ones(3))
    with pytest.raises(DataError, match=f"{name}: statistics of 3 inputs, but the layer has 32"):
        prune(model, Plan.uniform("2:4"), dataclasses.replace(
            stats, layers={**stats.layers, name: short}))


def test_a_plan_for_another_model_is_refused(calibrated):
    model, stats = calibrated
    with pytest.raises(DataError, match=r"'block\.7' matches none of"):
        prune(model, Plan(NmPattern(2, 4), {"block.7": NmPattern(1, 4)}), stats)


def test_the_gate_names_the_first_group_that_breaks_the_pattern():
    weight = torch.zeros(3, 12)
    weight[1, 4:7] = 1.0
    check_groups("ok", weight, NmPattern(3, 4))
    with pytest.raises(DataError, match=r"layer\.9: output 1, inputs 4\.\.7 keep 3 weights, more "
                                        r"than 2:4 allows"):
        check_groups("layer.9", weight, NmPattern(2, 4))


def test_the_gate_runs_when_pruning(calibrated, monkeypatch):
    model, stats = calibrated
    monkeypatch.setattr("cimforge_sw.prune.nm_mask",
                        lambda score, *_: torch.ones(score.shape, dtype=torch.bool))
    with pytest.raises(DataError, match=r"inputs 0\.\.3 keep 4 weights, more than 2:4 allows"):
        prune(model, Plan.uniform("2:4"), stats)


@pytest.mark.parametrize("granularity", ["free", "share4", "tile"])
def test_an_m_beyond_the_inputs_is_one_group_and_takes_no_memory(tmp_path, granularity):
    model = load_model(save_tiny("llama", tmp_path / "dense"))
    stats = calibrate(model, token_rows())
    wide = prune(model, Plan.uniform("3:65536", granularity), stats)
    near = prune(model, Plan.uniform("3:60", granularity), stats)  # K is 32 or 56
    assert all(torch.equal(mask, near.masks[name]) for name, mask in wide.masks.items())
    if granularity == "free":
        assert all((mask.sum(1) == 3).all() for mask in wide.masks.values())
    save_packed(wide, tmp_path / "packed")
    assert load_packed(tmp_path / "packed").sparsity == wide.sparsity


@pytest.mark.parametrize(("text", "message"), [
    ("1:65537", "at most 65536 weights, not of 65537"),
    ("1:100000000000", "at most 65536 weights, not of 100000000000"),
    ("1:" + "9" * 5000, "at most 65536 weights, not of a number of 5000 digits"),
    ("9" * 4000 + ":4", "needs 1 <= N <= M, not a number of 13288 bits:4")])
def test_patterns_too_large_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        Plan.uniform(text)
