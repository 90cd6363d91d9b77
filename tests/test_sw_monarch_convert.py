"""D2S of whole models: every family runs on factors, and the rest of the flow knows them."""

import copy

import pytest
import torch
from sw_checkpoints import ALL_FAMILIES, save_tiny, token_rows

from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.blocks import Blocks
from cimforge_sw.calibration import calibrate
from cimforge_sw.layers import (
    bias_vector,
    block_lists,
    fused_outputs,
    layer_shape,
    linear_layers,
    weight_matrix,
)
from cimforge_sw.models import load_model
from cimforge_sw.monarch.convert import d2s, d2s_with_recovery
from cimforge_sw.monarch.cost import Cost
from cimforge_sw.monarch.factors import project
from cimforge_sw.monarch.fidelity import relative_errors
from cimforge_sw.monarch.module import MonarchLinear
from cimforge_sw.monarch.plan import MonarchPlan
from cimforge_sw.monarch.rule import MonarchRule
from cimforge_sw.monarch.shape import MonarchShape
from cimforge_sw.packed import save_packed
from cimforge_sw.plan import Plan
from cimforge_sw.prune import prune
from cimforge_sw.quantize import quantize
from cimforge_sw.update import gram_matrices, prune_with_update

IDS = torch.tensor([[3, 9, 27, 17, 51]])
PLAN = MonarchPlan("4x4 r2")


def outputs(module):
    """Return what a model says of a few tokens."""
    with torch.inference_mode():
        return module(input_ids=IDS)[0]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {family: load_model(save_tiny(family, tmp_path_factory.mktemp(family)))
            for family in ALL_FAMILIES}


@pytest.mark.parametrize("family", ALL_FAMILIES)
@pytest.mark.parametrize("plan", [PLAN, MonarchPlan("square", order="contiguous")], ids=["4", "sq"])
def test_a_converted_model_equals_the_model_of_the_products(models, family, plan):
    model = models[family]
    before = outputs(model.module)
    converted = d2s(model, plan)
    assert torch.equal(outputs(model.module), before)
    dense = copy.deepcopy(model.module)
    with torch.no_grad():
        for name, layer in linear_layers(dense).items():
            monarch = converted.model.module.get_submodule(name)
            assert isinstance(monarch, MonarchLinear)
            assert layer_shape(monarch) == layer_shape(layer) == tuple(monarch.weight.shape)
            assert torch.equal(bias_vector(monarch), bias_vector(layer))
            weight_matrix(layer).copy_(monarch.dense())
    assert not torch.allclose(outputs(dense), before, atol=1e-3)
    torch.testing.assert_close(outputs(converted.model.module), outputs(dense), rtol=1e-4,
                               atol=1e-5)
    assert list(converted.layers) == list(linear_layers(model.module))
    assert converted.cost.params == sum(
        part.numel() for layer in linear_layers(converted.model.module).values()
        for part in (*layer.right, *layer.left))


@pytest.mark.parametrize("family", ALL_FAMILIES)
def test_calibration_and_grams_see_converted_layers(models, family):
    converted = d2s(models[family], PLAN).model
    stats, rows = calibrate(converted, token_rows()), token_rows()
    grams = gram_matrices(converted, rows)
    for name, layer in linear_layers(converted.module).items():
        assert len(stats.layers[name].norm) == len(grams[name]) == layer.inputs
        torch.testing.assert_close(grams[name].diagonal().sqrt().float(), stats.layers[name].norm)
    blocks = Blocks(converted.module)
    assert len(blocks) == len(Blocks(models[family].module)) == 2
    assert len(list(block_lists(converted.module))) == 1


def test_what_needs_weights_says_that_there_are_none(models, tmp_path):
    model = models["llama"]
    converted = d2s(model, MonarchPlan("dense", {"*.1.mlp.*": "4x4"})).model
    message = r"a Monarch layer \(.*, 4x4\) has factors and no weight: prune, quantize and pack the"
    stats, plan = calibrate(converted, token_rows()), Plan.uniform("2:4")
    pruned = prune(model, Plan.uniform("dense"), calibrate(model, token_rows()))
    mixed = type(pruned)(converted, pruned.masks, pruned.patterns, plan, 0.0)
    for use in (lambda: prune(converted, plan, stats), lambda: quantize(mixed, stats),
                lambda: prune_with_update(converted, plan, token_rows()),
                lambda: save_packed(mixed, tmp_path / "packed")):
        with pytest.raises(DataError, match=message):
            use()


def test_a_fused_layer_is_converted_part_by_part(models):
    model = models["gpt2"]
    name = "transformer.h.1.attn.c_attn"
    assert fused_outputs(model.module, name) == (32, 32, 32)
    assert fused_outputs(model.module, "transformer.h.1.attn.c_proj") == (32,)
    assert fused_outputs(model.module, "transformer.h.1.mlp.c_fc") == (128,)
    converted = d2s(model, MonarchPlan("square"))
    layer, weight = converted.model.module.get_submodule(name), linear_layers(model.module)[name]
    assert converted.layers[name].blocks == "6x6 + 6x6 + 6x6"
    shape = MonarchRule("square").shape(32, 32)
    assert layer.shapes == (shape,) * 3
    for part, rows in zip(layer.parts, weight_matrix(weight).split(32), strict=True):
        torch.testing.assert_close(part.dense(), project(rows, shape).dense())
    assert fused_outputs(converted.model.module, name) == (32, 32, 32)
    assert not torch.allclose(layer.parts[0].dense(), layer.parts[1].dense())


@pytest.mark.parametrize("family", ALL_FAMILIES)
@pytest.mark.parametrize("sequential", [False, True])
def test_recovery_lowers_the_error_of_every_layer(models, family, sequential):
    model, rows, seen = models[family], token_rows(rows=40), []
    plain = d2s(model, PLAN, rows)
    better = d2s_with_recovery(model, PLAN, rows, sequential=sequential,
                               progress=lambda *at: seen.append(at))
    count = len(linear_layers(model.module))
    assert seen == [(done, count) for done in range(1, count + 1)]
    grams = gram_matrices(model, rows)
    for name, layer in linear_layers(model.module).items():
        record, weight = better.layers[name], weight_matrix(layer)
        assert record.recovered.output <= record.projected.output
        assert record.errors == record.recovered
        assert record.projected.weight == plain.layers[name].projected.weight
        assert plain.layers[name].recovered is None
        matrix = better.model.module.get_submodule(name).dense()
        if not sequential:
            assert record.projected == plain.layers[name].projected
            measured = relative_errors(weight, matrix, grams[name])
            assert measured.output == pytest.approx(record.recovered.output, rel=1e-6)
    mean = [sum(layer.errors.output for layer in each.layers.values()) / count
            for each in (plain, better)]
    assert mean[1] < 0.9 * mean[0]
    last = list(better.layers)[-1]  # after converted blocks, its inputs are others
    assert (better.layers[last].projected != plain.layers[last].projected) == sequential


def test_layers_that_the_plan_leaves_dense_are_untouched(models):
    model = models["mamba"]
    plan = MonarchPlan("4x4", {"*.dt_proj": "dense", "*.0.*": "dense"})
    rows = [[1, 2, 3]]
    for converted in (d2s(model, plan), d2s(model, plan, rows), d2s_with_recovery(
            model, plan, token_rows())):
        assert all(".1." in name and "dt_proj" not in name for name in converted.layers)
        for name, layer in linear_layers(model.module).items():
            other = converted.model.module.get_submodule(name)
            assert isinstance(other, MonarchLinear) == (name in converted.layers)
            if name not in converted.layers:
                assert torch.equal(other.weight, layer.weight)
    nothing = d2s(model, MonarchPlan("dense"))
    assert nothing.layers == {}
    assert nothing.cost == Cost()
    assert (nothing.cost.compression, nothing.cost.speedup) == (1, 1)
    assert torch.equal(outputs(nothing.model.module), outputs(model.module))


@pytest.mark.parametrize(("plan", "error", "message"), [
    (MonarchPlan("5x4"), ConfigError, r"layers\.0\.self_attn\.q_proj: in_blocks must divide 32 in"),
    (MonarchPlan("4x4 r9"), ConfigError, r"q_proj: rank must be at most 8 for slices of 8 x 8"),
    (MonarchPlan("4x4", {"*.gate": "dense"}), DataError, r"'\*\.gate' matches none of 14 layers"),
])
def test_plans_that_do_not_fit_are_named(models, plan, error, message):
    with pytest.raises(error, match=message):
        d2s(models["llama"], plan)


def test_weights_and_texts_that_cannot_be_used(models, tmp_path):
    with pytest.raises(DataError, match="at least one text"):
        d2s_with_recovery(models["opt"], PLAN, [])
    with pytest.raises(DataError, match="at least one text"):
        d2s(models["opt"], PLAN, [])
    model = load_model(save_tiny("opt", tmp_path))
    name, layer = list(linear_layers(model.module).items())[2]
    weight_matrix(layer)[3, 1] = torch.inf
    with pytest.raises(DataError, match=rf"{name}: NaN or infinite weights cannot be projected"):
        d2s(model, PLAN)
    with pytest.raises(DataError, match=r"q_proj: a Monarch layer \(32 -> 32, 4x4 r2\) has"):
        d2s(d2s(models["llama"], PLAN).model, PLAN)


def test_parts_must_belong_together():
    def part(inputs):
        return project(torch.randn(8, inputs), MonarchShape(8, inputs, 2, 2))
    layer = MonarchLinear([part(4), part(4)], torch.ones(16))
    assert str(layer).startswith("MonarchLinear(\n  4 -> 16, 2x2 + 2x2")
    with pytest.raises(DataError, match=r"expected parts that share their inputs, not \[4, 6\]"):
        MonarchLinear([part(4), part(6)])
    with pytest.raises(DataError, match=r"share their inputs, not \[\]"):
        MonarchLinear([])
    with pytest.raises(DataError, match=r"expected a bias \[8\], not \[16\]"):
        MonarchLinear([part(4)], torch.ones(16))


def test_gradients_reach_the_factors():
    layer = MonarchLinear([project(torch.randn(8, 4), MonarchShape(8, 4, 2, 2))], torch.zeros(8))
    assert not any(parameter.requires_grad for parameter in layer.parameters())
    layer.requires_grad_(True)
    layer(torch.randn(3, 4)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())
