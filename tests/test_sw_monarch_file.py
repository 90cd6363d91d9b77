"""Monarch checkpoints: exact round trips of every family, and each kind of damage is named."""

import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sw_checkpoints import ALL_FAMILIES, save_tiny, token_rows

from cimforge.spec.errors import DataError
from cimforge_sw.models import load_model
from cimforge_sw.monarch.checkpoint import load_monarch, save_monarch
from cimforge_sw.monarch.convert import d2s, d2s_with_recovery
from cimforge_sw.monarch.module import MonarchLinear
from cimforge_sw.monarch.plan import MonarchPlan
from cimforge_sw.packed import load_packed
from cimforge_sw.skeleton import Shards

FILE = "model.monarch.safetensors"
LAYER = "model.layers.1.mlp.down_proj"
IDS = torch.tensor([[3, 9, 27, 17, 51]])


def same(a, b):
    """Return whether two models have the same tensors and shapes, and say the same."""
    states = a.module.state_dict(), b.module.state_dict()
    with torch.inference_mode():
        said = a.module(input_ids=IDS)[0], b.module(input_ids=IDS)[0]
    layers = [[m.shapes for m in each.module.modules() if isinstance(m, MonarchLinear)]
              for each in (a, b)]
    return (states[0].keys() == states[1].keys() and torch.equal(*said) and layers[0] == layers[1]
            and all(torch.equal(states[0][name], states[1][name]) for name in states[0]))


@pytest.mark.parametrize("family", ALL_FAMILIES)
@pytest.mark.parametrize("plan", [
    MonarchPlan("4x4 r2"), MonarchPlan("square", {"*.0.*": "dense"}, "contiguous")], ids=["4", "s"])
def test_a_model_comes_back_exactly(tmp_path, family, plan):
    model = load_model(save_tiny(family, tmp_path / "source"))
    converted = d2s(model, plan)
    assert not same(converted.model, model)
    save_monarch(converted, tmp_path / "monarch")
    loaded = load_monarch(tmp_path / "monarch")
    assert same(loaded.model, converted.model)
    assert same(load_model(tmp_path / "monarch"), converted.model)
    assert loaded.plan == plan
    assert loaded.layers == converted.layers
    assert type(loaded.model.module) is type(model.module)
    assert loaded.model.digest != model.digest
    assert not any(parameter.requires_grad for parameter in loaded.model.module.parameters())
    files = {path.name for path in (tmp_path / "monarch").iterdir()}
    assert files - {"generation_config.json"} == {FILE, "config.json", "monarch.yaml",
                                                  "fidelity.json"}


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "mamba", "opt"])
def test_a_tied_head_stays_tied(tmp_path, family):
    model = load_model(save_tiny(family, tmp_path / "source"))
    save_monarch(d2s(model, MonarchPlan("4x4")), tmp_path / "monarch")
    loaded = load_model(tmp_path / "monarch").module
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    model = load_model(save_tiny("llama", folder / "dense"))
    plan = MonarchPlan("4x4 r2", {"*.k_proj": "dense", "*.0.*.q_proj": "sqrt"})
    save_monarch(d2s_with_recovery(model, plan, token_rows()), folder / "monarch")
    return folder


@pytest.fixture
def folder(source, tmp_path):
    return shutil.copytree(source / "monarch", tmp_path / "monarch")


def test_the_figures_come_back_and_the_file_is_as_documented(folder):
    loaded = load_monarch(folder)
    assert all(layer.recovered.output < layer.projected.output for layer in loaded.layers.values())
    with safe_open(folder / FILE, "pt") as file:
        described = json.loads(file.metadata()["layers"])
        assert file.get_tensor(f"{LAYER}.right.0").shape == (4, 8, 14)
        assert file.get_tensor(f"{LAYER}.left.0").shape == (4, 8, 8)
        assert f"{LAYER}.weight" not in file.keys()
        assert "model.layers.1.self_attn.k_proj.weight" in file.keys()
    assert described[LAYER] == {"transposed": False, "parts": [{
        "outputs": 32, "inputs": 56, "in_blocks": 4, "out_blocks": 4, "rank": 2,
        "order": "strided", "padded": [32, 56]}]}
    assert len(described) == 12
    size = (folder / FILE).stat().st_size
    assert size < (folder.parent / "monarch" / "config.json").stat().st_size + 4 * sum(
        parameter.numel() for parameter in loaded.model.module.parameters()) + 8192


def test_other_readers_and_used_folders_say_no(folder, source):
    with pytest.raises(DataError, match=rf"holds model\.safetensors; expected {FILE}"):
        load_monarch(source / "dense")
    with pytest.raises(DataError, match=r"expected model\.packed\.safetensors"):
        load_packed(folder)
    with pytest.raises(DataError, match="a Monarch checkpoint has factors; expected dense"):
        Shards(folder)
    with pytest.raises(DataError, match="monarch: already there and not empty; expected a new"):
        save_monarch(load_monarch(folder), folder)


def edit(folder, change=None, **metadata):
    """Rewrite a Monarch file after a change of its tensors, its layers or its metadata."""
    with safe_open(folder / FILE, "pt") as file:
        meta = file.metadata()
    tensors, layers = load_file(folder / FILE), json.loads(meta["layers"])
    if change is not None:
        change(tensors, layers)
    meta = {k: v for k, v in {**meta, "layers": json.dumps(layers), **metadata}.items() if v}
    save_file(tensors, folder / FILE, metadata=meta)


def truncate(folder):
    data = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(data[:len(data) // 2])


def part(**changes):
    """Return a change of the metadata of the layer's only part."""
    return lambda f: edit(f, lambda _, m: m[LAYER]["parts"][0].update(changes))


def figures(change):
    """Return a change of the figures of fidelity."""
    def damage(folder):
        path = folder / "fidelity.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
    return damage


ADRIFT = {"model.layers.7.mlp.up_proj": {"transposed": False, "parts": [
    {"outputs": 4, "inputs": 4, "in_blocks": 2, "out_blocks": 2, "rank": 1, "order": "strided",
     "padded": [4, 4]}]}}


def adrift(tensors, layers):
    """Add a layer that the model has not."""
    layers.update(ADRIFT)
    for side in ("right", "left"):
        tensors[f"{next(iter(ADRIFT))}.{side}.0"] = torch.ones(2, 2, 2)


@pytest.mark.parametrize(("damage", "message"), [
    (truncate, r"truncated or damaged safetensors"),
    (lambda f: edit(f, version="2"), r"version '2' of cimforge-monarch; this cimforge reads vers"),
    (lambda f: edit(f, version=""), r"version None of cimforge-monarch"),
    (lambda f: edit(f, format="pt"), r"expected the format 'cimforge-monarch' in .*, not 'pt'"),
    (lambda f: edit(f, layers="{"), r"'layers' of the metadata is not JSON"),
    (lambda f: edit(f, layers="[]"), r"expected an object by layer name as 'layers'"),
    (lambda f: edit(f, lambda _, m: m[LAYER].pop("parts")), rf"'{LAYER}': expected exactly parts"),
    (lambda f: edit(f, lambda _, m: m[LAYER].update(parts=[])), "expected a list of parts, and tr"),
    (lambda f: edit(f, lambda _, m: m[LAYER].update(transposed=1)), "and true or false as transpo"),
    (lambda f: edit(f, lambda _, m: m[LAYER]["parts"][0].pop("rank")), "expected exactly in_block"),
    (part(rank=0), rf"'{LAYER}': rank must be an integer of at least 1, not 0"),
    (part(in_blocks=5), r"in_blocks must divide 56 inputs, such as 4 or 7, not 5"),
    (part(order="rows"), "order must be one of strided, contiguous, not 'rows'"),
    (part(padded=[32]), rf"'{LAYER}': padded must be two integers, .* and 56 inputs, not \[32\]"),
    (part(padded=3), "padded must be two integers, .* not 3"),
    (part(padded=[32, "a"]), r"padded must be two integers, .* not \[32, 'a'\]"),
    (part(in_blocks=8), rf"'{LAYER}': expected the right factor of 8x4 r2 as \[8, 8, 7\], not"),
    (lambda f: edit(f, lambda t, _: t.pop(f"{LAYER}.left.0")),
     rf"{LAYER}'?: the metadata has this layer, but the file has no tensor '{LAYER}\.left\.0'"),
    (lambda f: edit(f, lambda t, _: t[f"{LAYER}.left.0"].fill_(torch.nan)),
     rf"expected finite floating-point numbers as '{LAYER}\.left\.0'"),
    (lambda f: edit(f, lambda t, _: t.update({f"{LAYER}.left.0": torch.ones(4, 8, 8).int()})),
     "expected finite floating-point"),
    (lambda f: edit(f, lambda _, m: m.pop(LAYER)),
     rf"1 tensor\(s\) of LlamaForCausalLM are not in the file, first '{LAYER}\.weight'"),
    (lambda f: edit(f, lambda t, _: t.pop("model.norm.weight")), r"first 'model\.norm\.weight'"),
    (lambda f: edit(f, lambda _, m: m[LAYER]["parts"].append(m[LAYER]["parts"][0])),
     rf"no tensor '{LAYER}\.right\.1'"),
    (lambda f: edit(f, adrift), r"model\.layers\.7\.mlp\.up_proj: not a linear layer of a Llama"),
    (part(outputs=31, padded=[32, 56]),
     rf"{LAYER}\.weight has shape \(31, 56\), but config\.json wants \(32, 56\)"),
    (lambda f: (f / "monarch.yaml").unlink(), r"monarch\.yaml: cannot read the Monarch plan"),
    (lambda f: MonarchPlan("4x4 r2").save(f / "monarch.yaml"),
     rf"monarch\.yaml: .*\.0\.self_attn\.q_proj is planned 4x4 r2 .*, but {FILE} holds it 8x4 st"),
    (lambda f: MonarchPlan("dense").save(f / "monarch.yaml"),
     r"monarch\.yaml: model\.layers\.0\.self_attn\.q_proj is planned dense, but"),
    (lambda f: MonarchPlan("5x5").save(f / "monarch.yaml"),
     r"monarch\.yaml: .*q_proj: out_blocks must"),
    (lambda f: (f / "fidelity.json").unlink(), r"fidelity\.json: cannot be read"),
    (lambda f: (f / "fidelity.json").write_text("{"), r"fidelity\.json: not the figures of a conv"),
    (figures(lambda raw: {"a": raw}), r"fidelity\.json: not the figures"),
    (figures(lambda raw: [{**raw[0], "cost": 3}]), r"fidelity\.json: not the figures"),
    (figures(lambda raw: [{**raw[0], "size": 3}]), r"fidelity\.json: not the figures"),
    (figures(lambda raw: raw[1:]), r"fidelity\.json: figures of 11 layer\(s\), not of the 12 that"),
])
def test_damage_is_named(folder, damage, message):
    damage(folder)
    with pytest.raises(DataError, match=message) as caught:
        load_monarch(folder)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)
