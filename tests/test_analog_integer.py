"""Monarch layers in integers: torch, golden and tile agree, and the float layer is near."""

import numpy as np
import pytest
import torch
from sw_checkpoints import save_tiny, token_rows

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.analog.converter import Conversion
from cimforge_sw.analog.integer import quantize_factors, quantize_monarch
from cimforge_sw.analog.mappings import MAPPINGS
from cimforge_sw.analog.schedule import schedule
from cimforge_sw.models import load_model
from cimforge_sw.monarch.convert import d2s
from cimforge_sw.monarch.factors import project
from cimforge_sw.monarch.plan import MonarchPlan
from cimforge_sw.monarch.rule import MonarchRule
from cimforge_sw.monarch.shape import MonarchShape
from cimforge_verif.analog import AnalogTile, monarch

SHAPES = (MonarchShape(64, 64, 8, 8), MonarchShape(48, 40, 5, 6, rank=2),
          MonarchShape(30, 50, 8, 8, padded=(64, 64)))


def _layer(shape, seed=0):
    """Return integers of a random layer, and float inputs in its range."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape.outputs, shape.inputs, generator=generator)
    x = torch.randn(20, shape.inputs, generator=generator)
    part = project(weight, shape)
    return quantize_factors("w", part, float(x.abs().max()), float(part.first(x).abs().max())), \
        part, x


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_torch_and_golden_agree_and_float_is_near(shape):
    layer, part, x = _layer(shape)
    x_q = layer.quantize_input(x)
    ours = layer.int_product(x_q)
    wide = np.zeros((len(x), shape.full[1]), dtype=np.int8)
    wide[:, :shape.inputs] = x_q.numpy()
    golden = monarch(wide, layer.right, layer.left, layer.scale, rank=shape.rank)
    np.testing.assert_array_equal(ours.numpy(), golden[:, :shape.outputs])
    real = part.apply(x)
    error = (ours.float() * float(layer.out_scale) - real).norm() / real.norm()
    assert error < 0.03


@pytest.mark.parametrize("name", ["sparse", "dense", "scatter"])
def test_the_tile_computes_the_layer(name):
    shape = MonarchShape(48, 40, 5, 6, rank=2)
    layer, _, x = _layer(shape)
    x_q = layer.quantize_input(x[:3])
    mapping = MAPPINGS[name]([layer.matrix()], 16, 2)
    config = AnalogConfig(arrays=mapping.arrays, array=16, grain=2, port=2)
    program = schedule(mapping, ["w"], layer.weights, config, tokens=3,
                       scales={"w": layer.scale})
    beats = AnalogTile(config).run(program.commands, program.weights,
                                   program.acts(x_q.numpy()))
    np.testing.assert_array_equal(program.results(beats)[0], layer.int_product(x_q).numpy())


def test_converters_with_enough_bits_change_nothing_and_with_fewer_do():
    layer, _, x = _layer(SHAPES[0])
    x_q = layer.quantize_input(x)
    exact = layer.int_product(x_q)
    assert torch.equal(layer.int_product(x_q, Conversion(64)), exact)
    assert not torch.equal(layer.int_product(x_q, Conversion(64, bits=1)), exact)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_whole_model_runs_on_integers(family, tmp_path):
    model = load_model(save_tiny(family, tmp_path))
    converted = d2s(model, MonarchPlan(MonarchRule("4x4", 2))).model
    integers = quantize_monarch(converted, token_rows(6, 12))
    assert len(integers.layers) > 4
    ids = torch.tensor(token_rows(2, 12)[:1])
    with torch.inference_mode():
        real, ours, coarse = (
            model.module(input_ids=ids)[0] for model in (
                converted, integers.as_model(), integers.as_model(Conversion(64, bits=1))))
    assert (ours - real).norm() < 0.05 * real.norm()
    assert (coarse - real).norm() > 4 * (ours - real).norm()
    with pytest.raises(DataError, match="has no Monarch layers"):
        quantize_monarch(model, token_rows(2, 12))
    with pytest.raises(DataError, match="at least one text"):
        quantize_monarch(converted, [])


def test_what_cannot_be_quantized_or_mapped():
    layer, part, _ = _layer(MonarchShape(64, 64, 8, 8, order="contiguous"))
    with pytest.raises(ConfigError, match="takes strided inputs, not contiguous"):
        layer.matrix()
    with pytest.raises(DataError, match=r"w: scale\[0\] = .* cannot be a 16-bit multiplier"):
        quantize_factors("w", part, 1e20, 1e-20)
    with pytest.raises(DataError, match=r"expected int8 inputs \[T, 64\], not torch.float32"):
        layer.int_product(torch.zeros(2, 64))
