"""Calibration: norms equal a plain statement of the sum, whatever the batches; damage is named."""



import pytest
import torch
from sw_checkpoints import FAMILIES, VOCABULARY, save_tiny, token_rows

from cimforge.spec.errors import DataError
from cimforge_sw.calibration import calibrate
from cimforge_sw.models import linear_layers, load_model
from cimforge_sw.sentences import calibration_sentences, held_out_sentences


def inputs_one_by_one(model, rows):
    """Return the inputs [T, K] of every layer, by name, each text run alone."""
    seen, handles = {name: [] for name in linear_layers(model.module)}, []

    def keep(name, x):
        seen[name].append(x.detach().reshape(-1, x.shape[-1]))

    for name in seen:
        layer = model.module.get_submodule(name)
        if name.endswith("dt_proj"):  # never called: what the mixer cuts from x_proj's output
            mixer = model.module.get_submodule(name.removesuffix(".dt_proj"))
            sizes = [layer.in_features, mixer.ssm_state_size, mixer.ssm_state_size]
            handles.append(mixer.x_proj.register_forward_hook(
                lambda _, args, out, name=name, sizes=sizes: keep(name, out.split(sizes, -1)[0])))
        else:
            handles.append(layer.register_forward_hook(
                lambda _, args, out, name=name: keep(name, args[0])))
    for row in rows:
        model.module(input_ids=torch.tensor([row]))
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts).double() for name, parts in seen.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_norms_and_ranges_are_those_of_the_inputs(tmp_path, family):
    model, rows = load_model(save_tiny(family, tmp_path)), token_rows()
    stats = calibrate(model, rows)
    assert stats.texts == len(rows)
    assert stats.tokens == sum(map(len, rows))
    assert list(stats.layers) == list(linear_layers(model.module))
    inputs = inputs_one_by_one(model, rows)
    for name, entry in stats.layers.items():
        x = inputs[name]
        assert entry.tokens == len(x) == stats.tokens
        torch.testing.assert_close(entry.norm.double(), x.norm(dim=0), rtol=1e-5, atol=1e-6)
        assert entry.abs_max == pytest.approx(float(x.abs().max()), rel=1e-5)


def test_batches_do_not_change_the_result_and_hooks_are_gone(tmp_path):
    model, rows = load_model(save_tiny("bert", tmp_path)), token_rows()
    done = []
    small = calibrate(model, rows, batch_tokens=1, progress=lambda *at: done.append(at))
    large = calibrate(model, rows)
    for name, entry in small.layers.items():
        torch.testing.assert_close(entry.norm, large.layers[name].norm, rtol=1e-5, atol=1e-6)
    assert done[-1] == (small.tokens, small.tokens)
    assert len(done) == len(rows)
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.module.modules())


def test_max_tokens_takes_whole_texts_and_long_texts_are_cut(tmp_path):
    model = load_model(save_tiny("bert", tmp_path))
    assert calibrate(model, [[1] * 5] * 4, max_tokens=6).tokens == 10
    assert calibrate(model, [[1] * 100]).tokens == 24


def test_non_finite_activations_name_the_layer(tmp_path):
    model = load_model(save_tiny("bert", tmp_path))
    model.module.get_submodule("encoder.layer.0.output.LayerNorm").bias[3] = float("inf")
    with pytest.raises(DataError, match=r"encoder\.layer\.1\.attention\.self\.\w+: NaN or inf"):
        calibrate(model, token_rows())


class AroundALayer(torch.nn.Module):
    """Computes with a layer's weight instead of calling the layer."""

    def __init__(self, layer):
        super().__init__()
        self.inner = layer

    def forward(self, x):
        return torch.nn.functional.linear(x, self.inner.weight, self.inner.bias)


def test_layers_never_reached_are_named_and_can_be_excluded(tmp_path):
    model = load_model(save_tiny("bert", tmp_path))
    block = model.module.encoder.layer[1]
    block.intermediate.dense = AroundALayer(block.intermediate.dense)
    with pytest.raises(DataError, match=r"never reached 1 layer\(s\): encoder\.layer\.1\."
                                        r"intermediate\.dense\.inner; exclude them"):
        calibrate(model, token_rows(rows=2))
    stats = calibrate(model, token_rows(rows=2), exclude=["*.inner"])
    assert len(stats.layers) == len(linear_layers(model.module)) - 1


@pytest.mark.parametrize(("texts", "message"), [
    ([], "expected at least one text"),
    ("one string", "expected a list of texts, not one string"),
    (["words"], "ships no tokenizer: give token ids"),
    ([[1], []], "text 1 has no tokens"),
    ([[VOCABULARY]], rf"text 0 has token ids outside 0\.\.{VOCABULARY - 1}"),
])
def test_bad_texts_are_refused(tmp_path, texts, message):
    model = load_model(save_tiny("bert", tmp_path))
    with pytest.raises(DataError, match=message):
        calibrate(model, texts)


def test_sentences_are_distinct_and_split():
    calibration, held_out = calibration_sentences(), held_out_sentences()
    assert min(len(calibration), len(held_out)) >= 96
    assert len({*calibration, *held_out}) == len(calibration) + len(held_out)
    for sentence in calibration + held_out:
        assert sentence == sentence.strip()
        assert sentence.isascii()
        assert sentence.rstrip('"')[-1] in ".?!"
