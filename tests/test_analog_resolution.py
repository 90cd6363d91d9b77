"""ADC resolution as a rule for every layer, and dense models through converters."""

import numpy as np
import pytest
import torch
from sw_checkpoints import save_tiny, token_rows

import cimforge as cf
from cimforge.spec.errors import ConfigError
from cimforge_sw.analog.converter import Conversion, converted_product
from cimforge_sw.analog.integer import quantize_monarch
from cimforge_sw.analog.linear import converted_model
from cimforge_sw.analog.resolution import Resolution
from cimforge_sw.models import load_model


def test_columns_get_what_they_need_and_no_more_than_there_is():
    for rule in ("clip", "shift"):
        assert Resolution(9, rule).of(1536) == Conversion(256)
        assert Resolution(6, rule).of(63) == Conversion(63)
    assert Resolution(6).of(64) == Conversion(64, bits=6)
    assert Resolution(3, "shift", array=64).of(100) == Conversion(64, 3, 4, rounded=True)
    assert Resolution(3, "shift", array=64, cell_bits=2).of(8) == Conversion(
        8, 3, 2, rounded=True, cell_bits=2)
    assert [Resolution(1).needed(size) for size in (12, 16, 64, 192, 256, 512)] == [
        4, 5, 7, 8, 9, 9]


def test_full_scale_is_the_converters_or_the_columns():
    x = torch.full((1, 255), 1, dtype=torch.int8)
    weight = torch.full((1, 255), 127, dtype=torch.int8)  # all planes of a cell are set
    exact = 255 * 127
    for bits in (7, 5, 3):
        clipped = converted_product(x, weight, Resolution(bits).of(255))[0]
        # Of every plane 2^A - 1 cells are read instead of 255.
        assert clipped.item() == ((1 << bits) - 1) * 255 - 128 * 255
        shifted = converted_product(x, weight, Resolution(bits, "shift").of(255))[0]
        assert abs(shifted.item() - exact) <= 255 << (8 - bits)


@pytest.mark.parametrize("wrong", [{"bits": 0}, {"bits": 17}, {"bits": 4, "rule": "round"},
                                   {"bits": 4, "array": 0}, {"bits": 4, "cell_bits": 3},
                                   {"bits": 2.5}, {"bits": True}, {"bits": 4, "rule": None},
                                   {"bits": 4, "array": 64.0}, {"bits": 4, "cell_bits": True}])
def test_resolutions_that_are_none(wrong):
    with pytest.raises(ConfigError, match="must be"):
        Resolution(**wrong)


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    model = load_model(save_tiny("llama", tmp_path_factory.mktemp("llama")))
    stats = cf.calibrate(model, token_rows(3, 12))
    return cf.quantize(cf.prune(model, cf.Plan.uniform("dense"), stats), stats)


def _logits(model):
    with torch.inference_mode():
        return model.module(input_ids=torch.tensor(token_rows(2, 12)[:1])).logits


def test_a_dense_model_through_lossless_converters_is_the_integer_model(quantized):
    exact = _logits(quantized.as_model())
    for how in (Conversion(16), Resolution(5, array=16), Resolution(5, "shift", array=16)):
        assert torch.equal(_logits(converted_model(quantized, how)), exact)
    assert not torch.equal(_logits(converted_model(quantized, Resolution(2, array=16))), exact)


def test_a_layer_of_the_model_is_the_product_of_its_parts(quantized):
    name, layer = next(iter(quantized.layers.items()))
    how = Resolution(3, "shift", array=16)
    module = converted_model(quantized, how).module.get_submodule(name)
    x = torch.from_numpy(np.random.default_rng(0).integers(
        -127, 128, (4, layer.weight.shape[1]), dtype=np.int8))
    parts = [converted_product(x[:, at:at + 16], torch.from_numpy(layer.weight[:, at:at + 16]),
                               Conversion(16, 3, 2, rounded=True))[0] for at in (0, 16)]
    assert torch.equal(module.accumulate(x), parts[0] + parts[1])


def test_only_int8_goes_through_the_tile(tmp_path):
    model = load_model(save_tiny("bert", tmp_path))
    stats = cf.calibrate(model, token_rows(3, 12))
    narrow = cf.quantize(cf.prune(model, cf.Plan.uniform("dense"), stats), stats, weight_bits=4)
    with pytest.raises(ConfigError, match="takes INT8 weights and inputs, not 4 and 8 bits"):
        converted_model(narrow, Resolution(8))


def test_each_stage_of_a_monarch_model_has_its_own_need(tmp_path):
    model = load_model(save_tiny("llama", tmp_path))
    integers = quantize_monarch(cf.d2s(model, cf.MonarchPlan("4x4 r2")).model, token_rows(3, 12))
    exact = _logits(integers.as_model())  # blocks of R have 8 or 14 rows, those of L 8
    for rule in ("clip", "shift"):
        assert torch.equal(_logits(integers.as_model(Resolution(4, rule))), exact)
        assert not torch.equal(_logits(integers.as_model(Resolution(2, rule))), exact)
