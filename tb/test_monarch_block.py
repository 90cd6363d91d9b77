"""A block of a real model as Monarch factors through the analog tile's RTL."""

import numpy as np
import pytest
import torch

import cimforge as cf
from cimforge_sw.sentences import calibration_sentences

pytestmark = pytest.mark.verilator

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


@pytest.mark.parametrize("design", ["analog/minilm"])
@pytest.mark.parametrize("mapping", ["dense", "hybrid"])
def test_every_layer_is_exact(simulate, config, design, monarch, mapping):
    """Rectangles as they are, six layers in four programs: RTL = golden = torch integers."""
    quantized, groups, inputs = monarch
    programs = cf.deploy(quantized, config, [_BLOCK], mapping=mapping, tokens=_TOKENS,
                         shared=groups)
    assert [len(program.names) for program in programs] == [3, 1, 1, 1]
    results = simulate([cf.analog_vectors(program, inputs[program.names[0]])
                        for program in programs])
    for program, result in zip(programs, results, strict=True):
        assert not result.counters["saturations"]
        for name, out in zip(program.names, program.results(result.results), strict=True):
            exact = quantized.layers[name][0].int_product(torch.from_numpy(inputs[name]))
            assert np.abs(out).max() > 1000
            np.testing.assert_array_equal(out, exact.numpy())
