"""Monarch layers in integers: torch, golden and tile agree, and the float layer is near."""

import numpy as np
import pytest
import torch
from sw_checkpoints import save_tiny, token_rows
from sw_families import save_family

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.analog.converter import Conversion
from cimforge_sw.analog.deploy import deploy, shared_inputs
from cimforge_sw.analog.integer import align, quantize_factors, quantize_monarch
from cimforge_sw.analog.mappings import MAPPINGS
from cimforge_sw.analog.schedule import Precision, schedule
from cimforge_sw.calibration import calibrate
from cimforge_sw.forward import forward
from cimforge_sw.models import load_model
from cimforge_sw.monarch.convert import d2s
from cimforge_sw.monarch.factors import project
from cimforge_sw.monarch.plan import MonarchPlan
from cimforge_sw.monarch.rule import MonarchRule
from cimforge_sw.monarch.shape import MonarchShape
from cimforge_sw.plan import Plan
from cimforge_sw.prune import prune
from cimforge_sw.quantize import capture_inputs, quantize
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


@pytest.mark.parametrize("family", ["mamba", "t5"])
def test_owners_that_read_the_weight_run_on_integers(family, tmp_path):
    """Mamba multiplies by dt_proj's weight itself; T5 has a decoder, and asks for wo's type."""
    save = save_tiny if family == "mamba" else save_family
    model = load_model(save(family, tmp_path))
    texts = token_rows(4, 12)
    converted = d2s(model, MonarchPlan(MonarchRule("2x2", 1))).model
    groups = shared_inputs(converted, texts)
    integers = quantize_monarch(converted, texts, groups)
    name = next(n for n in reversed(integers.layers) if n.endswith(("dt_proj", "wo")))
    rows = capture_inputs(integers, texts, [name])[name]
    assert rows.dtype == np.int8
    assert len(rows) == sum(map(len, texts))
    ids = torch.tensor(texts[:1])
    real, ours, coarse = (forward(m.module, ids).logits for m in (
        converted, integers.as_model(), integers.as_model(Conversion(64, bits=1))))
    assert 0 < (ours - real).norm() < 0.05 * real.norm()
    assert (coarse - real).norm() > 4 * (ours - real).norm()


def test_a_layer_of_zeros_costs_its_neighbours_no_resolution():
    real, _, x = _layer(SHAPES[0])
    zeros = project(torch.zeros(64, 64), SHAPES[0])
    dead = quantize_factors("z", zeros, float(x.abs().max()), 0.0)
    both = align([dead, real])
    assert both[1].scale == real.scale
    assert np.float32(both[1].middle_scale) == real.middle_scale
    assert not both[0].int_product(real.quantize_input(x)).any()


def test_what_cannot_be_quantized_or_mapped():
    layer, part, _ = _layer(MonarchShape(64, 64, 8, 8, order="contiguous"))
    with pytest.raises(ConfigError, match="takes strided inputs, not contiguous"):
        layer.matrix()
    with pytest.raises(DataError, match=r"w: scale\[0\] = .* cannot be a 16-bit multiplier"):
        quantize_factors("w", part, 1e20, 1e-20)
    with pytest.raises(DataError, match=r"expected int8 inputs \[T, 64\], not torch.float32"):
        layer.int_product(torch.zeros(2, 64))


def test_layers_that_share_an_input_get_one_requantizer_setting(tmp_path):
    model = load_model(save_tiny("bert", tmp_path))
    converted = d2s(model, MonarchPlan(MonarchRule("4x4", 2))).model
    groups = shared_inputs(converted, token_rows(1, 12))
    assert len(groups) == 2
    assert [name.rpartition(".")[2] for name in groups[0]] == ["query", "key", "value"]
    apart = quantize_monarch(converted, token_rows(6, 12))
    together = quantize_monarch(converted, token_rows(6, 12), groups)
    assert len({apart.layers[name][0].scale for name in groups[0]}) == 3
    assert len({together.layers[name][0].scale for name in groups[0]}) == 1
    ids = torch.tensor(token_rows(2, 12)[:1])
    with torch.inference_mode():
        real, ours = (m.module(input_ids=ids)[0] for m in (converted, together.as_model()))
    assert (ours - real).norm() < 0.05 * real.norm()
    config = AnalogConfig(arrays=64, array=16, grain=2, port=2, act_depth=4096, acc_depth=4096)
    x = {name: rows[:3] for name, rows in capture_inputs(
        together, token_rows(1, 12), groups[0]).items()}
    drives = []
    for quantized in (apart, together):
        (program,) = deploy(quantized, config, groups[0], tokens=3, shared=groups)
        assert program.names == groups[0]
        beats = AnalogTile(config).run(program.commands, program.weights,
                                       program.acts(x[groups[0][0]]))
        for name, out in zip(groups[0], program.results(beats), strict=True):
            exact = quantized.layers[name][0].int_product(torch.from_numpy(x[name]))
            np.testing.assert_array_equal(out, exact.numpy())
        drives.append(sum(hasattr(command, "row_mask") for command in program.run))
    assert drives[1] < drives[0]


def test_a_model_is_deployed_layer_by_layer(tmp_path):
    model = load_model(save_tiny("gpt2", tmp_path))
    texts = token_rows(6, 12)
    converted = d2s(model, MonarchPlan(MonarchRule("4x4", 1))).model
    quantized = quantize_monarch(converted, texts)
    config = AnalogConfig(arrays=64, array=16, grain=2, port=2, act_depth=4096, acc_depth=4096)
    x = {name: rows[:2] for name, rows in capture_inputs(
        quantized, token_rows(1, 12), ["*"]).items()}
    with pytest.raises(ConfigError, match="need 4 ADC bits, but there are 2"):
        deploy(quantized, config.replace(adc_bits=2), mapping="hybrid")
    assert deploy(quantized, config.replace(adc_bits=2), mapping="hybrid",
                  precision=Precision(bits=2))
    for name in ("sparse", "dense", "scatter", "hybrid"):
        programs = deploy(quantized, config, mapping=name, tokens=2)
        assert [program.names[0].partition("[")[0] for program in programs] == list(x)
        for program, (layer, rows) in zip(programs, x.items(), strict=True):
            tile = AnalogTile(config)
            beats = tile.run(program.commands, program.weights, program.acts(rows))
            assert tile.illegal is None
            for part, out in zip(quantized.layers[layer], program.results(beats), strict=True):
                np.testing.assert_array_equal(
                    out, part.int_product(torch.from_numpy(rows)).numpy())


def test_dense_layers_are_linear_and_nothing_else(tmp_path):
    model = load_model(save_tiny("bert", tmp_path))
    texts = token_rows(6, 12)
    stats = calibrate(model, texts)
    quantized = quantize(prune(model, Plan.uniform("dense"), stats), stats)
    config = AnalogConfig(arrays=64, array=16, grain=2, port=2, act_depth=4096, acc_depth=4096)
    x = {name: rows[:2] for name, rows in capture_inputs(
        quantized, token_rows(1, 12), ["*.0.*"]).items()}
    for name in ("linear", "hybrid"):
        for program, (layer, rows) in zip(deploy(quantized, config, ["*.0.*"], mapping=name,
                                                 tokens=2), x.items(), strict=True):
            beats = AnalogTile(config).run(program.commands, program.weights, program.acts(rows))
            np.testing.assert_array_equal(program.results(beats)[0],
                                          quantized.layers[layer].int_matmul(rows))
    for bad, error, message in (
            (dict(mapping="dense"), ConfigError, "has no Monarch structure"),
            (dict(mapping="diagonal"), ConfigError, "mapping must be one of linear, sparse, dense"),
            (dict(mapping="linear", tokens=0), ConfigError, "tokens must be an integer"),
            (dict(mapping="linear", tokens=2.5), ConfigError, "tokens must be .*, not 2.5"),
            (dict(mapping="linear", layers="nope"), ConfigError, r"globs in a list, .*'nope'"),
            (dict(mapping="linear", layers=["nope"]), DataError, "'nope' matches none of")):
        with pytest.raises(error, match=message):
            deploy(quantized, config, **bad)
    coarse = quantize(prune(model, Plan.uniform("dense"), stats), stats, weight_bits=4)
    with pytest.raises(ConfigError, match="takes INT8 weights and activations, not INT4 and INT8"):
        deploy(coarse, config, mapping="linear")
    converted = d2s(model, MonarchPlan(MonarchRule("4x4", 1))).model
    with pytest.raises(ConfigError, match="is a Monarch layer, and 'linear' maps dense weights"):
        deploy(quantize_monarch(converted, texts), config, mapping="linear")
