"""Every family, start to end: prune, save in both formats, load, run, count the zeros again."""

import pytest
import torch
from sw_checkpoints import ALL_FAMILIES, save_tiny, token_rows
from sw_families import save_family

from cimforge.spec.errors import DataError
from cimforge.spec.pattern import NmPattern, group_counts
from cimforge_sw.calibration import calibrate
from cimforge_sw.layers import uncounted_weights
from cimforge_sw.models import linear_layers, load_model, weight_matrix
from cimforge_sw.packed import load_packed, save_packed, save_pruned
from cimforge_sw.plan import Plan
from cimforge_sw.prune import prune, sparsity
from cimforge_sw.stream import stream_prune

# 5, 7 and 3 leave a short last group in every layer; the last plan keeps a block dense.
PLANS = [Plan.uniform("2:4"), Plan.uniform("3:5"), Plan.uniform("1:7", "share2"),
         Plan(NmPattern(1, 4), {"*.0.*": NmPattern(4, 8)}, "tile", 8),
         Plan(NmPattern(2, 3), {"*.1.*": NmPattern(1, 4), "*.0.*": NmPattern(1, 1)})]
IDS = torch.tensor([[3, 9, 27, 17, 51]])


def outputs(model):
    """Return what the model says of a few tokens."""
    with torch.inference_mode():
        return model.module(input_ids=IDS)[0]


def zeros(outputs, inputs, pattern):
    """Return how many weights of [O, K] a pattern removes, the short last group included."""
    whole, tail = divmod(inputs, pattern.m)
    return outputs * (whole * (pattern.m - pattern.n) + max(0, tail - pattern.n))


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("family", ALL_FAMILIES)
def test_prune_save_load_run(tmp_path, family, plan):
    model = load_model(save_tiny(family, tmp_path / "source"))
    pruned = prune(model, plan, calibrate(model, token_rows()))
    save_pruned(pruned, tmp_path / "dense")
    save_packed(pruned, tmp_path / "packed")
    expected, wanted = outputs(pruned.model), 0
    assert not torch.equal(expected, outputs(model))
    loaded = [load_model(tmp_path / "dense"), load_model(tmp_path / "packed"),
              load_packed(tmp_path / "packed").model]
    for other in loaded:
        layers = {n: weight_matrix(layer) for n, layer in linear_layers(other.module).items()}
        assert sparsity(layers) == pruned.sparsity
        assert torch.equal(outputs(other), expected)
        for name, weight in layers.items():
            pattern = pruned.patterns[name]
            assert group_counts(weight.numpy(), pattern.m).max() <= pattern.n
    for name, weight in layers.items():
        wanted += zeros(*weight.shape, pruned.patterns[name])
    assert pruned.sparsity == wanted / sum(weight.numel() for weight in layers.values())
    assert Plan.load(tmp_path / "dense" / "plan.yaml") == plan
    packed = (tmp_path / "packed" / "model.packed.safetensors").stat().st_size
    assert packed < (tmp_path / "dense" / "model.safetensors").stat().st_size


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "mamba", "opt"])
def test_a_tied_head_stays_tied(tmp_path, family):
    model = load_model(save_tiny(family, tmp_path / "source"))
    pruned = prune(model, Plan.uniform("2:4"), calibrate(model, token_rows()))
    save_pruned(pruned, tmp_path / "dense")
    save_packed(pruned, tmp_path / "packed")
    loaded = load_model(tmp_path / "dense"), load_packed(tmp_path / "packed").model
    for one in (pruned.model, *loaded):
        head, embedding = one.module.get_output_embeddings(), one.module.get_input_embeddings()
        assert head.weight is embedding.weight
        assert torch.equal(head.weight, model.module.get_output_embeddings().weight)


class AroundALayer(torch.nn.Module):
    """Computes with a layer's weight instead of calling the layer."""

    def __init__(self, layer):
        super().__init__()
        self.inner = layer

    def forward(self, x):
        return torch.nn.functional.linear(x, self.inner.weight, self.inner.bias)


def test_a_layer_that_calibration_never_reached_is_named_and_may_stay_dense(tmp_path):
    model = load_model(save_tiny("opt", tmp_path))
    block = model.module.model.decoder.layers[1]
    block.fc2 = AroundALayer(block.fc2)
    with pytest.raises(DataError, match=r"never reached 1 layer\(s\): model\.decoder\.layers\.1\."
                                        r"fc2\.inner; exclude"):
        calibrate(model, token_rows())
    stats = calibrate(model, token_rows(), exclude=["*.inner"])
    with pytest.raises(DataError, match=r"fc2\.inner: no calibration statistics; calibrate it or"):
        prune(model, Plan.uniform("2:4"), stats)
    pruned = prune(model, Plan(NmPattern(2, 4), {"*.inner": NmPattern(1, 1)}), stats)
    assert pruned.masks["model.decoder.layers.1.fc2.inner"].all()


@pytest.mark.parametrize("family", ["qwen2", "mamba", "gpt2"])
def test_activations_that_are_nan_name_a_layer(tmp_path, family):
    model = load_model(save_tiny(family, tmp_path))
    first = next(iter(linear_layers(model.module)))
    model.module.get_input_embeddings().weight[token_rows()[0][0], 0] = float("nan")
    with pytest.raises(DataError, match=f"{first}: NaN or infinite activations at its input"):
        calibrate(model, token_rows())


@pytest.mark.parametrize("family", [*ALL_FAMILIES, "bloom", "deberta", "rwkv", "t5_encoder"])
def test_linear_layers_are_all_that_these_families_multiply_by(tmp_path, family):
    save = save_tiny if family in ALL_FAMILIES else save_family
    assert uncounted_weights(load_model(save(family, tmp_path)).module) == {}


@pytest.mark.parametrize(("family", "parts"), [
    ("mixtral", {"gate_up_proj", "down_proj"}), ("xlnet", {"q", "k", "v", "o", "r", "seg_embed"})])
def test_weights_that_are_no_linear_layers_are_named(tmp_path, family, parts):
    source, rows, plan = save_family(family, tmp_path / "source"), token_rows(), PLANS[0]
    model = load_model(source)
    pruned = prune(model, plan, calibrate(model, rows))
    assert {name.rpartition(".")[2] for name in pruned.uncounted} == parts
    known = dict(model.module.named_parameters())
    assert all(known[name].numel() == count for name, count in pruned.uncounted.items())
    zeros = pruned.sparsity * sum(mask.numel() for mask in pruned.masks.values())
    everything = sum(mask.numel() for mask in pruned.masks.values()) + sum(
        pruned.uncounted.values())
    assert pruned.sparsity_of_all == pytest.approx(zeros / everything)
    assert pruned.sparsity_of_all < 0.8 * pruned.sparsity


def test_streaming_names_them_too(tmp_path, monkeypatch):
    monkeypatch.setattr("cimforge_sw.stream.uncounted_weights", lambda _: {"experts": 10_000})
    source = save_tiny("llama", tmp_path / "source")
    streamed = stream_prune(source, PLANS[0], token_rows(), tmp_path / "out")
    weights = sum(weight_matrix(layer).numel()
                  for layer in linear_layers(load_model(source).module).values())
    assert streamed.uncounted == {"experts": 10_000}
    assert streamed.sparsity_of_all == pytest.approx(0.5 * weights / (weights + 10_000))


def test_states_with_the_tokens_first_cannot_be_streamed(tmp_path):
    source = save_family("xlnet", tmp_path / "source")
    with pytest.raises(DataError, match=r"states \[3, 2, 32\], but streaming wants \[2, 3, H\]"):
        stream_prune(source, PLANS[0], [[1, 2, 3], [4, 5, 6]], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
