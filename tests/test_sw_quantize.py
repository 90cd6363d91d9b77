"""Quantization: exact integers, scales, rounding, and the whole model on integer layers."""



import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sw_checkpoints import FAMILIES, save_tiny, token_rows

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern, group_counts
from cimforge_sw.calibration import calibrate
from cimforge_sw.models import linear_layers, load_model, weight_matrix
from cimforge_sw.plan import Plan
from cimforge_sw.prune import prune
from cimforge_sw.quantize import (
    QuantByWeight,
    QuantizedLinear,
    QuantLinear,
    capture_inputs,
    quantize,
    quantized_model,
    requantize_params,
)

WIDTHS = [(8, 8), (4, 8), (8, 4), (4, 4)]


@pytest.fixture(params=FAMILIES)
def pruned(request, tmp_path):
    model = load_model(save_tiny(request.param, tmp_path))
    stats = calibrate(model, token_rows())
    return prune(model, Plan.uniform("2:4"), stats), stats


def linear(weight, act_scale=1.0, **options):
    """Return a layer with given integers and unit scales."""
    weight = np.asarray(weight, dtype=np.int8)
    ones = np.ones(len(weight), dtype=np.float32)
    return QuantizedLinear("layer", weight, ones, np.float32(act_scale), 0 * ones,
                           NmPattern(1, 1), **options)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.integers(1, 9), st.integers(1, 70), st.integers(0, 2**31))
def test_accumulators_equal_numpy(tokens, outputs, inputs, seed):
    rng = np.random.default_rng(seed)
    weight = rng.integers(-127, 128, (outputs, inputs), dtype=np.int8)
    x = rng.integers(-128, 128, (tokens, inputs), dtype=np.int8)
    acc = linear(weight).int_matmul(x)
    assert acc.dtype == np.int32
    assert np.array_equal(acc, x.astype(np.int64) @ weight.astype(np.int64).T)


def test_accumulators_are_exact_at_the_extremes():
    inputs = 131071  # the longest sum of 127 * 128 that is sure to fit 32 bits
    acc = linear(np.full((2, inputs), 127)).int_matmul(np.full((1, inputs), -128, dtype=np.int8))
    assert acc.tolist() == [[-127 * 128 * inputs] * 2]


@pytest.mark.parametrize(("weight_bits", "act_bits"), WIDTHS)
def test_layers_of_a_model(pruned, weight_bits, act_bits):
    model, stats = pruned
    quantized = quantize(model, stats, weight_bits, act_bits)
    largest, act_largest = 2**(weight_bits - 1) - 1, 2**(act_bits - 1) - 1
    for name, source in linear_layers(model.model.module).items():
        layer, weight = quantized.layers[name], weight_matrix(source).numpy()
        expected = np.clip(np.rint(weight / layer.weight_scale[:, None]), -largest, largest)
        assert np.array_equal(layer.weight, expected)
        assert np.abs(layer.weight).max(axis=1).tolist() == [largest] * len(weight)
        assert np.abs(layer.weight * layer.weight_scale[:, None] - weight).max() <= (
            0.5001 * layer.weight_scale.max())
        assert layer.act_scale == np.float32(stats.layers[name].abs_max / act_largest)
        assert group_counts(layer.weight, 4).max() <= 2
        assert layer.weight.dtype == np.int8
        assert layer.bias.dtype == layer.weight_scale.dtype == np.float32


def test_inputs_round_half_to_even_and_saturate():
    x = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, 300.0, -300.0]], dtype=np.float32)
    layer = linear(np.zeros((1, 7)))
    assert layer.quantize_input(x).tolist() == [[0, 2, 2, 0, -2, 127, -127]]
    layer = linear(np.zeros((1, 7)), act_bits=4)
    assert layer.quantize_input(x).tolist() == [[0, 2, 2, 0, -2, 7, -7]]


def test_all_zero_rows_and_silent_inputs_get_scale_one(pruned):
    model, stats = pruned
    name, layer = next(iter(linear_layers(model.model.module).items()))
    weight_matrix(layer)[3] = 0
    silent = dataclasses.replace(stats.layers[name], abs_max=0.0)
    got = quantize(model, dataclasses.replace(stats, layers={**stats.layers, name: silent}))
    assert got.layers[name].weight_scale[3] == 1
    assert not got.layers[name].weight[3].any()
    assert got.layers[name].act_scale == 1


@pytest.mark.parametrize(("weight_bits", "act_bits"), WIDTHS)
def test_the_module_and_the_arrays_say_the_same(pruned, weight_bits, act_bits):
    model, stats = pruned
    generator = torch.Generator().manual_seed(2)
    for layer in quantize(model, stats, weight_bits, act_bits).layers.values():
        x = torch.randn(2, 3, layer.weight.shape[1], generator=generator)
        out = QuantLinear(layer)(x).reshape(6, -1).numpy()
        assert np.array_equal(out, layer.forward(x.reshape(6, -1).numpy()))


def test_the_whole_model_runs_on_integers_and_stays_close(pruned):
    model, stats = pruned
    quantized = quantize(model, stats)
    module = quantized_model(quantized)
    assert sum(isinstance(m, QuantLinear) for m in module.modules()) == len(quantized.layers)
    ids = torch.tensor(token_rows()[:1])
    with torch.inference_mode():
        expected, got = model.model.module(input_ids=ids)[0], module(input_ids=ids)[0]
    assert not torch.equal(expected, got)
    assert float((expected - got).norm() / expected.norm()) < 0.1


def test_a_layer_used_through_its_weight_runs_on_integers(tmp_path):
    model, rows = load_model(save_tiny("mamba", tmp_path)), token_rows()[:2]
    stats = calibrate(model, rows)
    quantized = quantize(prune(model, Plan.uniform("2:4"), stats), stats)
    name = "backbone.layers.1.mixer.dt_proj"
    layer, replaced = quantized.layers[name], quantized_model(quantized).get_submodule(name)
    assert isinstance(replaced, QuantByWeight)
    x_q = capture_inputs(quantized, rows, [name])[name]
    assert x_q.shape == (sum(map(len, rows)), 8)
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
    out = (replaced.weight @ x.transpose(1, 2)).transpose(1, 2) + replaced.bias
    assert np.array_equal(out.reshape(10, -1).numpy(), layer.forward(x.reshape(10, -1).numpy()))


def test_captured_inputs_are_what_each_layer_is_given(pruned):
    model, stats = pruned
    quantized, rows = quantize(model, stats), token_rows()[:3]
    first, *_, last = quantized.layers
    captured = capture_inputs(quantized, rows, [last, first])
    assert list(captured) == [first, last]
    module, seen = quantized_model(quantized), []
    module.get_submodule(last).register_forward_hook(
        lambda _, args, out: seen.append((args[0].flatten(0, -2), out.flatten(0, -2))))
    with torch.inference_mode():
        for row in rows:
            module(input_ids=torch.tensor([row]))
    x, out = (torch.cat(part).numpy() for part in zip(*seen, strict=True))
    layer = quantized.layers[last]
    assert captured[last].shape == (sum(map(len, rows)), layer.weight.shape[1])
    assert np.array_equal(captured[last], layer.quantize_input(x))
    acc = layer.int_matmul(captured[last]).astype(np.float32)
    assert np.array_equal(acc * (layer.act_scale * layer.weight_scale) + layer.bias, out)


def test_capture_refuses_unknown_layers(pruned):
    model, stats = pruned
    with pytest.raises(DataError, match="'nothing' matches none of"):
        capture_inputs(quantize(model, stats), token_rows(), ["nothing"])


def test_bad_calls_are_refused(pruned):
    model, stats = pruned
    with pytest.raises(ConfigError, match="expected 4 or 8 bits, not 5"):
        quantize(model, stats, weight_bits=5)
    name = next(iter(stats.layers))
    fewer = {k: v for k, v in stats.layers.items() if k != name}
    with pytest.raises(DataError, match=f"{name}: no calibration statistics, so no activation"):
        quantize(model, dataclasses.replace(stats, layers=fewer))
    tight = dataclasses.replace(model, patterns=dict.fromkeys(model.patterns, NmPattern(1, 4)))
    with pytest.raises(DataError, match="more than 1:4 allows"):
        quantize(tight, stats)


@pytest.mark.parametrize(("x", "options", "message"), [
    (np.zeros((2, 3), dtype=np.int8), {}, r"expected int8 inputs \[T, 4\], not int8 \[2, 3\]"),
    (np.zeros((2, 4), dtype=np.int32), {}, r"not int32 \[2, 4\]"),
    (np.full((1, 4), 8, dtype=np.int8), {"act_bits": 4}, "do not fit in 4 signed bits"),
])
def test_inputs_of_another_kind_are_refused(x, options, message):
    with pytest.raises(DataError, match=message):
        linear(np.zeros((1, 4)), **options).int_matmul(x)


@settings(max_examples=200, deadline=None)
@given(st.floats(2.0**-32, 65535.0))
def test_requantize_params_are_normalized_and_near(scale):
    multiplier, shift = requantize_params(np.array([scale]))
    assert multiplier.dtype == np.uint16
    assert shift.dtype == np.uint8
    assert 1 << 15 <= multiplier[0] < 1 << 16
    assert shift[0] <= 47
    error = abs(Fraction(int(multiplier[0]), 1 << int(shift[0])) / Fraction(scale) - 1)
    assert error <= Fraction(1, 1 << 16)


@pytest.mark.parametrize("scale", [0.0, -1.0, 65536.0, 2.0**-33, float("nan"), float("inf")])
def test_requantize_params_out_of_reach(scale):
    with pytest.raises(DataError, match=r"scale\[1\] = .* cannot be a 16-bit multiplier"):
        requantize_params(np.array([1.0, scale]))
