"""A block of a real model as Monarch factors through the analog tile's RTL."""

import numpy as np
import pytest
import torch

import cimforge as cf
from cimforge_sw.sentences import calibration_sentences

_BLOCK = "encoder.layer.5.*"
_TOKENS = 2


@pytest.fixture(scope="module")
def monarch():
    """Block 5 of all-MiniLM-L6-v2 in 12 x 12 blocks, and its inputs for the first tokens."""
    texts = calibration_sentences()[:32]
    model = cf.load_model("all-MiniLM-L6-v2")
    made = cf.d2s_with_recovery(model, cf.MonarchPlan("dense", {_BLOCK: "12x12"}), texts).model
    groups = cf.shared_inputs(made, texts)
    quantized = cf.quantize_monarch(made, texts, groups)
    inputs = cf.capture_inputs(quantized, texts[:1], [_BLOCK])
    return quantized, groups, {name: x[:_TOKENS] for name, x in inputs.items()}


@pytest.mark.verilator
def test_every_layer_is_exact_on_the_rtl(monarch):
    """Rectangles as they are, six layers in four programs, two mappings: RTL = torch integers."""
    quantized, groups, inputs = monarch
    tile = cf.load_analog_config("minilm")
    programs = [program for mapping in ("dense", "hybrid") for program in cf.deploy(
        quantized, tile, [_BLOCK], mapping=mapping, tokens=_TOKENS, shared=groups)]
    assert [len(program.names) for program in programs] == 2 * [3, 1, 1, 1]
    for result in cf.simulate_analog(programs, inputs, backend="cocotb"):
        assert result.cycles_counted == result.cycles_predicted
        assert (result.saturations, result.illegal) == (0, -1)
        for name, out in result.y.items():
            exact = quantized.layers[name][0].int_product(torch.from_numpy(inputs[name]))
            assert np.abs(out).max() > 1000
            np.testing.assert_array_equal(out, exact.numpy())
