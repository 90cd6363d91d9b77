"""Checkpoints: what loads, which layers count, and what each kind of damage says."""



import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from sw_checkpoints import ALL_FAMILIES, VOCABULARY, save_tiny

from cimforge.spec.errors import DataError
from cimforge_sw.models import EMBEDDED_MODEL, linear_layers, load_model, weight_matrix

WEIGHTS = "model.safetensors"


@pytest.fixture
def bert(tmp_path):
    return save_tiny("bert", tmp_path / "bert")


def edit(folder, change):
    """Rewrite the weights after ``change`` (called with the dict of tensors)."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


@pytest.mark.parametrize(("family", "count", "shapes"), [
    ("bert", 12, {"attention.self.query": (32, 32), "intermediate.dense": (48, 32)}),
    ("llama", 14, {"self_attn.k_proj": (16, 32), "mlp.down_proj": (32, 56)}),
    ("gpt2", 8, {"attn.c_attn": (96, 32), "mlp.c_proj": (32, 128)}),
    ("opt", 12, {"self_attn.out_proj": (32, 32), "fc2": (32, 52)}),
    ("qwen2", 14, {"self_attn.v_proj": (16, 32), "mlp.up_proj": (60, 32)}),
    ("mamba", 8, {"mixer.dt_proj": (64, 8), "mixer.x_proj": (16, 64)}),
])
def test_linear_layers_of_the_blocks_and_nothing_else(tmp_path, family, count, shapes):
    model = load_model(save_tiny(family, tmp_path))
    layers = linear_layers(model.module)
    assert len(layers) == count
    assert not any(word in name for name in layers for word in ("head", "embed", "pooler", "wte"))
    for suffix, shape in shapes.items():
        hits = [weight_matrix(layer) for name, layer in layers.items() if name.endswith(suffix)]
        assert [tuple(weight.shape) for weight in hits] == [shape, shape]
    assert model.tokenizer is None
    assert not model.module.training


@pytest.mark.parametrize("family", ALL_FAMILIES)
def test_weights_are_the_saved_ones_in_float32(tmp_path, family):
    folder = save_tiny(family, tmp_path)
    saved = load_file(folder / WEIGHTS)
    edit(folder, lambda tensors: tensors.update({k: v.bfloat16() for k, v in saved.items()}))
    for name, value in load_model(folder).module.state_dict().items():
        if name in saved:  # a tied head is not in the file
            assert value.dtype == torch.float32
            assert torch.equal(value, saved[name].bfloat16().float())


def test_digest_names_the_weights(tmp_path):
    first = load_model(save_tiny("bert", tmp_path / "a")).digest
    assert load_model(save_tiny("bert", tmp_path / "b")).digest == first
    edit(tmp_path / "b", lambda tensors: tensors["pooler.dense.bias"].add_(1))
    assert load_model(tmp_path / "b").digest != first


def test_sharded_checkpoint(tmp_path, bert):
    shards = save_tiny("bert", tmp_path / "shards", max_shard_size="20KB")
    assert not (shards / WEIGHTS).exists()
    loaded = load_model(shards).module.state_dict()
    for name, value in load_model(bert).module.state_dict().items():
        assert torch.equal(value, loaded[name])
    sorted(shards.glob("*.safetensors"))[1].unlink()
    with pytest.raises(DataError, match=r"names missing shard\(s\): model-00002-of-"):
        load_model(shards)


@pytest.mark.parametrize("index", [
    "{", "[]", '{"weight_map": {}}', '{"weight_map": {"a": "../b"}}'])
def test_broken_shard_index(bert, index):
    (bert / WEIGHTS).rename(bert / "other.safetensors")
    (bert / "model.safetensors.index.json").write_text(index)
    with pytest.raises(DataError, match=r"model\.safetensors\.index\.json: expected"):
        load_model(bert)


def truncate(folder):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:len(data) // 2])


def only_pickle(folder):
    (folder / WEIGHTS).unlink()
    torch.save({}, folder / "pytorch_model.bin")


def nan(folder):
    edit(folder, lambda t: t["encoder.layer.1.output.dense.weight"][0, :2].fill_(float("nan")))


def infinite(folder):
    edit(folder, lambda t: t["embeddings.LayerNorm.bias"][3:4].fill_(float("inf")))


def other_shape(folder):
    name = "encoder.layer.0.intermediate.dense.weight"
    edit(folder, lambda t: t.update({name: torch.zeros(48, 16)}))


def other_architecture(folder):
    save_tiny("gpt2", folder.parent / "gpt2")
    (folder / WEIGHTS).write_bytes((folder.parent / "gpt2" / WEIGHTS).read_bytes())


def unknown_type(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "nosuch"}))


@pytest.mark.parametrize(("damage", "message"), [
    (truncate, r"model\.safetensors: truncated or damaged safetensors: "),
    (only_pickle, r"only pickled weights \(pytorch_model\.bin\), which can run code"),
    (nan, r"encoder\.layer\.1\.output\.dense\.weight has 2 weight\(s\) that are NaN or infinite"),
    (infinite, r"embeddings\.LayerNorm\.bias has 1 weight\(s\) that are NaN or infinite"),
    (other_shape, r"intermediate\.dense\.weight has shape \(48, 16\), but .* wants \(48, 32\)"),
    (other_architecture, r"weights of another architecture: \d+ tensor\(s\) of BertModel"),
    (lambda f: edit(f, lambda t: t.pop("encoder.layer.0.output.dense.bias")),
     r"1 tensor\(s\) of BertModel are not in the file, first 'encoder\.layer\.0\.output"),
    (unknown_type, "transformers cannot load this checkpoint: .*nosuch"),
    (lambda f: (f / "config.json").unlink(), "no config.json; expected a Hugging Face checkpoint"),
    (lambda f: (f / "config.json").write_text("{"), r"config\.json: not readable as JSON"),
    (lambda f: (f / WEIGHTS).unlink(), r"no weights; expected model\.safetensors or"),
    (lambda f: (f / "tokenizer.json").write_text("{"), "the tokenizer cannot be read"),
])
def test_damage_is_named(bert, damage, message):
    damage(bert)
    with pytest.raises(DataError, match=message) as caught:
        load_model(bert)
    assert str(caught.value).startswith(str(bert))
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder; expected a Hugging Face"):
        load_model(tmp_path / "nowhere")


def test_an_unknown_hub_id_is_an_error_offline():
    with pytest.raises(DataError, match="nobody/nothing: no such folder here, and the Hugging"):
        load_model("nobody/nothing", offline=True)


def test_a_module_without_blocks_is_refused():
    with pytest.raises(DataError, match=r"Linear has no nn\.ModuleList of blocks"):
        linear_layers(torch.nn.Linear(2, 2))


def test_two_layers_with_one_weight_are_refused(tmp_path):
    model = load_model(save_tiny("llama", tmp_path))
    first, second = model.module.model.layers
    second.mlp.up_proj.weight = first.mlp.gate_proj.weight
    with pytest.raises(DataError, match=r"model\.layers\.0\.mlp\.gate_proj and model\.layers\.1\."
                                        r"mlp\.up_proj are two layers that share one weight"):
        linear_layers(model.module)


def test_layers_that_run_many_times_count_once():
    albert = transformers.AlbertModel(transformers.AlbertConfig(
        hidden_size=32, embedding_size=16, num_hidden_layers=4, num_attention_heads=2,
        intermediate_size=48, vocab_size=VOCABULARY))
    assert len(linear_layers(albert)) == 6
    albert.encoder.again = torch.nn.ModuleList(albert.encoder.albert_layer_groups)
    assert len(linear_layers(albert)) == 6


def test_the_embedded_model_has_36_layers_and_a_tokenizer():
    model = load_model(EMBEDDED_MODEL)
    layers = linear_layers(model.module)
    assert len(layers) == 36
    assert sum(weight_matrix(layer).numel() for layer in layers.values()) == 10_616_832
    assert model.tokenizer("Hello world.")["input_ids"] == [101, 7592, 2088, 1012, 102]
