"""SparseGPT over whole models: better than masks alone, and on every family."""

import pytest
import torch
from sw_checkpoints import ALL_FAMILIES, save_tiny, token_rows

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern, group_counts
from cimforge_sw.blocks import Blocks
from cimforge_sw.calibration import calibrate
from cimforge_sw.layers import linear_layers, watch_inputs, weight_matrix
from cimforge_sw.models import load_model
from cimforge_sw.plan import Plan
from cimforge_sw.prune import prune
from cimforge_sw.update import prune_with_update

PLAN = Plan(NmPattern(2, 4), {"*.0.*": NmPattern(3, 8)})


@pytest.mark.parametrize("family", ALL_FAMILIES)
def test_updated_weights_keep_to_the_plan_and_disturb_their_layers_less(tmp_path, family):
    model = load_model(save_tiny(family, tmp_path))
    rows = token_rows(5, 24)
    before = {name: weight_matrix(layer).clone()
              for name, layer in linear_layers(model.module).items()}
    updated = prune_with_update(model, PLAN, rows)
    masked = prune(model, PLAN, calibrate(model, rows))
    assert updated.sparsity == masked.sparsity > 0.5
    for name, layer in linear_layers(updated.model.module).items():
        weight, pattern = weight_matrix(layer), updated.patterns[name]
        assert group_counts(weight.numpy(), pattern.m).max() <= pattern.n
        assert not weight[~updated.masks[name]].any()
        assert torch.equal(weight_matrix(linear_layers(model.module)[name]), before[name])
    errors = _first_block_errors(model, rows, updated), _first_block_errors(model, rows, masked)
    assert sum(errors[0]) < 0.9 * sum(errors[1])
    assert all(ours <= 1.001 * theirs for ours, theirs in zip(*errors, strict=True))


def _first_block_errors(model, rows, pruned):
    """Return ``|X (W' - W)^T|^2`` of the layers of the first block, on the dense model's inputs."""
    blocks, errors = Blocks(model.module), dict[str, float]()
    layers, others = linear_layers(model.module), linear_layers(pruned.model.module)

    def see(name, x):
        change = weight_matrix(others[name]) - weight_matrix(layers[name])
        errors[name] = errors.get(name, 0.0) + float((x @ change.T).square().sum())

    names = [name for name in layers if blocks.index_of(name) == 0]
    with torch.inference_mode(), watch_inputs(model.module, names, see):
        for row in rows:
            blocks.run(torch.tensor([row]))
    return [errors[name] for name in names]


def test_what_stops_it(tmp_path):
    model = load_model(save_tiny("llama", tmp_path))
    weight_matrix(next(iter(linear_layers(model.module).values())))[0, 0] = float("nan")
    with pytest.raises(DataError, match=r"layers\.0\.self_attn\.q_proj"):
        prune_with_update(model, PLAN, token_rows())
    with pytest.raises(DataError, match="at least one text"):
        prune_with_update(model, PLAN, [])


def test_magnitude_needs_no_statistics_and_differs_from_wanda(tmp_path):
    model = load_model(save_tiny("llama", tmp_path))
    rows = token_rows()
    stats = calibrate(model, rows)
    empty = type(stats)({}, 0, 0)
    by_size, by_wanda = prune(model, PLAN, empty, "magnitude"), prune(model, PLAN, stats)
    assert by_size.sparsity == by_wanda.sparsity
    assert any(not torch.equal(by_size.masks[name], by_wanda.masks[name]) for name in by_size.masks)
    name = next(iter(by_size.masks))
    weight = weight_matrix(linear_layers(model.module)[name])
    pattern = by_size.patterns[name]
    groups = weight.abs().reshape(-1, pattern.m)
    best = groups.topk(pattern.n, dim=1).indices
    kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, best, True)
    assert torch.equal(by_size.masks[name].reshape(-1, pattern.m), kept)
    with pytest.raises(ConfigError, match="score must be one of wanda, magnitude, not 'size'"):
        prune(model, PLAN, stats, "size")
