"""Packed N:M files: exact round trips of bits, layers and models; each kind of damage is named."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sw_checkpoints import save_tiny, token_rows

from cimforge.spec.errors import DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.calibration import calibrate
from cimforge_sw.masks import nm_mask
from cimforge_sw.models import load_model, weight_matrix
from cimforge_sw.packed import load_packed, round_weights, save_packed, save_pruned
from cimforge_sw.packed_layer import PackedShape, index_bits, pack_layer, unpack_layer
from cimforge_sw.plan import Plan
from cimforge_sw.prune import prune

FILE = "model.packed.safetensors"
LAYER = "model.layers.1.mlp.down_proj"
SQUARE = "model.layers.0.self_attn.q_proj"


def pack_one_by_one(weight, mask, n, m):
    """Return values [O, G * N] and index bytes by the letter of the specification."""
    values, positions = [], []
    for row, kept in zip(weight.tolist(), mask.tolist(), strict=True):
        for start in range(0, len(row), m):
            places = [i for i, keep in enumerate(kept[start:start + m]) if keep]
            padding = n - len(places)
            values += [row[start + i] for i in places] + [0.0] * padding
            positions += places + [0] * padding
    stream = [p >> bit & 1 for p in positions for bit in range(index_bits(m))]
    stream += [0] * (-len(stream) % 8)
    index = [sum(bit << i for i, bit in enumerate(stream[at:at + 8]))
             for at in range(0, len(stream), 8)]
    return torch.tensor(values).reshape(len(weight), -1), index


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 60), st.integers(1, 50), st.integers(1, 40), st.integers(1, 5),
       st.integers(0, 2**31))
def test_layers_round_trip_and_follow_the_specification(m, n, inputs, outputs, seed):
    pattern = NmPattern(min(n, m - 1), m)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=generator)
    mask = nm_mask(torch.rand(outputs, inputs, generator=generator), pattern)
    weight[torch.rand(outputs, inputs, generator=generator) < 0.2] = 0  # kept all the same
    values, index = pack_layer("layer", weight, mask, pattern)
    expected, expected_index = pack_one_by_one(weight, mask, pattern.n, m)
    assert torch.equal(values, expected)
    assert index.tolist() == expected_index
    got, got_mask = unpack_layer("layer", values, index, PackedShape(outputs, inputs, pattern))
    assert torch.equal(got, weight * mask)
    assert torch.equal(got_mask, mask)


def test_the_example_of_the_documentation():
    weight = torch.tensor([[0., 5., 0., 7., 2., 0.], [1., 0., 3., 0., 0., 9.]])
    mask = torch.tensor([[0, 1, 0, 1, 1, 1], [1, 0, 1, 0, 1, 1]]).bool()
    values, index = pack_layer("layer", weight, mask, NmPattern(2, 4))
    assert values.tolist() == [[5, 7, 2, 0], [1, 3, 0, 9]]
    assert index.tolist() == [0x4d, 0x48]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_values_keep_their_type_and_bits(dtype):
    weight = torch.randn(6, 20, generator=torch.Generator().manual_seed(3)).to(dtype)
    mask = nm_mask(weight.abs(), NmPattern(3, 8))
    values, index = pack_layer("layer", weight, mask, NmPattern(3, 8))
    assert values.dtype == dtype
    got, _ = unpack_layer("layer", values, index, PackedShape(6, 20, NmPattern(3, 8)))
    assert torch.equal(got, weight * mask)


@pytest.mark.parametrize(("dtype", "ratio"), [
    (torch.float16, 0.5 * (1 + 2 / 16)), (torch.float32, 0.5 * (1 + 2 / 32))])
def test_2_of_4_is_as_small_as_the_formula_says(tmp_path, dtype, ratio):
    weight = torch.randn(64, 1024).to(dtype)
    values, index = pack_layer("layer", weight, nm_mask(weight.abs(), NmPattern(2, 4)),
                               NmPattern(2, 4))
    save_file({"values": values, "index": index}, tmp_path / "file")
    dense = weight.numel() * weight.element_size()
    assert values.numel() * values.element_size() + index.numel() == dense * ratio
    assert (tmp_path / "file").stat().st_size < dense * ratio + 1024


@pytest.fixture
def pruned(tmp_path):
    model = load_model(save_tiny("llama", tmp_path / "dense"))
    stats = calibrate(model, token_rows())
    plan = Plan(NmPattern(2, 4), {"*.k_proj": NmPattern(1, 1), "*.down_proj": NmPattern(3, 5)})
    return prune(model, plan, stats)


def same(a, b):
    """Return whether two models have the same tensors."""
    a, b = a.module.state_dict(), b.module.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_model_comes_back_exactly(tmp_path, pruned):
    weight = weight_matrix(pruned.model.module.get_submodule(LAYER))
    place = pruned.masks[LAYER].nonzero()[0]
    weight[tuple(place)] = 0  # kept, and 0
    save_packed(pruned, tmp_path / "packed")
    loaded = load_packed(tmp_path / "packed")
    assert same(loaded.model, pruned.model)
    assert same(load_model(tmp_path / "packed"), pruned.model)
    assert loaded.patterns == pruned.patterns
    assert loaded.plan == pruned.plan
    assert loaded.masks.keys() == pruned.masks.keys()
    assert all(torch.equal(mask, pruned.masks[name]) for name, mask in loaded.masks.items())
    assert loaded.sparsity == pytest.approx(pruned.sparsity, abs=1e-3)
    assert sorted(path.name for path in (tmp_path / "packed").iterdir()) == [
        "config.json", "generation_config.json", FILE, "plan.yaml"]
    with safe_open(tmp_path / "packed" / FILE, "pt") as file:
        described = json.loads(file.metadata()["layers"])
    assert described[LAYER] == {"n": 3, "m": 5, "inputs": 56, "outputs": 32, "dtype": "float32",
                                "transposed": False}
    assert len(described) == len(pruned.patterns) - 2  # the dense k_proj are stored plainly


def test_a_smaller_type_must_hold_the_weights(tmp_path, pruned):
    with pytest.raises(DataError, match=r"\.weight: torch\.bfloat16 cannot hold these weights"):
        save_packed(pruned, tmp_path / "packed", dtype=torch.bfloat16)
    for parameter in pruned.model.module.parameters():
        parameter.copy_(parameter.bfloat16())
    save_packed(pruned, tmp_path / "packed", dtype=torch.bfloat16)
    assert load_file(tmp_path / "packed" / FILE)[f"{LAYER}.values"].dtype == torch.bfloat16
    assert same(load_packed(tmp_path / "packed").model, pruned.model)


def test_masks_that_break_the_pattern_and_used_folders_leave_nothing(tmp_path, pruned):
    pruned.masks[LAYER][2, 10:15] = torch.tensor([1, 1, 0, 0, 0]).bool()
    with pytest.raises(DataError, match=r"down_proj: output 2, group 2 keeps 2 weights, but the "
                                        r"packed format wants exactly 3 of 5"):
        save_packed(pruned, tmp_path / "packed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dense"]
    with pytest.raises(DataError, match="dense: already there and not empty; expected a new"):
        save_packed(pruned, tmp_path / "dense")


def edit(folder, change=None, **metadata):
    """Rewrite a packed file after a change of its tensors, its layers or its metadata."""
    with safe_open(folder / FILE, "pt") as file:
        meta = file.metadata()
    tensors, layers = load_file(folder / FILE), json.loads(meta["layers"])
    if change is not None:
        change(tensors, layers)
    meta = {k: v for k, v in {**meta, "layers": json.dumps(layers), **metadata}.items() if v}
    save_file(tensors, folder / FILE, metadata=meta)


def add_layer(tensors, layers, name):
    """Pack a layer once more under another name."""
    layers[name] = layers[LAYER]
    for part in ("values", "index"):
        tensors[f"{name}.{part}"] = tensors[f"{LAYER}.{part}"].clone()


def truncate(folder):
    data = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(data[:len(data) // 2])


def positions(*bits):
    """Return a change that overwrites the first bytes of the layer's index."""
    return lambda f: edit(f, lambda t, _: t[f"{LAYER}.index"][:len(bits)].copy_(
        torch.from_numpy(np.array(bits, dtype=np.uint8))))


@pytest.mark.parametrize(("damage", "message"), [
    (truncate, r"truncated or damaged safetensors"),
    (lambda f: edit(f, version="2"), r"version '2' of cimforge-nm; this cimforge reads version"),
    (lambda f: edit(f, format="pt"), r"expected the format 'cimforge-nm' in .*, not 'pt'"),
    (lambda f: edit(f, layers="{"), r"'layers' of the metadata is not JSON"),
    (lambda f: edit(f, layers="[]"), r"expected an object by layer name as 'layers'"),
    (lambda f: edit(f, lambda _, m: m[LAYER].pop("n")), rf"'{LAYER}': expected exactly dtype"),
    (lambda f: edit(f, lambda _, m: m[LAYER].update(n=6)), rf"'{LAYER}': N:M keeps N of M .* 6:5"),
    (lambda f: edit(f, lambda _, m: m[LAYER].update(n=5)), r"5:5 is dense, and dense layers are"),
    (lambda f: edit(f, lambda _, m: m[LAYER].update(inputs=-1)), r"positive integers as outputs"),
    (lambda f: edit(f, lambda _, m: m[LAYER].update(dtype=3)), r"expected a text as dtype"),
    (lambda f: edit(f, lambda _, m: m[LAYER].update(dtype="float16")),
     r"expected values of float16, not torch\.float32"),
    (lambda f: edit(f, lambda _, m: m[LAYER].update(inputs=65)),
     r"expected values \[32, 39\] and 468 bytes of index for 3:5 of \[32, 65\], not \[32, 36\]"),
    (lambda f: edit(f, lambda t, _: t.pop(f"{LAYER}.index")),
     rf"{LAYER}: the metadata has this layer, but the file has no tensor '{LAYER}\.index'"),
    (lambda f: edit(f, lambda _, m: m.pop(LAYER)),
     rf"{LAYER}: the file has '{LAYER}\.values' and .*, but the metadata does not describe"),
    (lambda f: edit(f, lambda t, _: t.pop("model.norm.weight")), r"first 'model\.norm\.weight'"),
    (positions(0xff, 0xff, 0xff), rf"{LAYER}: index out of range: a position beyond"),
    (positions(0, 0, 0), rf"{LAYER}: damaged index: the positions of a group must ascend"),
    (lambda f: edit(f, lambda t, _: t[f"{LAYER}.values"][3, -1:].fill_(1)),
     rf"{LAYER}: damaged values: padding must be 0"),
    (lambda f: edit(f, layers="[" * 100_000), r"'layers' of the metadata is not JSON"),
    (lambda f: edit(f, lambda t, _: t.update({f"{LAYER}.weight": torch.ones(32, 56)})),
     rf"{LAYER}: packed, but the file has a dense '{LAYER}\.weight', too"),
    (lambda f: edit(f, lambda _, m: m[SQUARE].update(transposed=True)),
     rf"{SQUARE}: 'transposed' must be false for a Linear, not true"),
    (lambda f: edit(f, lambda t, m: add_layer(t, m, "model.extra")),
     r"model\.extra is packed, but LlamaForCausalLM has no such linear layer"),
    (lambda f: edit(f, lambda t, m: (add_layer(t, m, "model.extra"), m.pop("model.extra"))),
     r"model\.extra: the file has 'model\.extra\.values' and .* does not describe this layer"),
    (lambda f: edit(f, lambda t, m: (m[LAYER].update(dtype="int64"), t.update(
        {f"{LAYER}.values": t[f"{LAYER}.values"].long()}))),
     rf"{LAYER}: expected values of floating point, not torch\.int64"),
    (lambda f: edit(f, lambda _, m: m[LAYER].update(n=1, m=10**12)),
     rf"'{LAYER}': N:M keeps N of at most 65536 weights, not of 1000000000000"),
    (lambda f: edit(f, lambda _, m: m[LAYER].update(n=1, m=10**4000)),
     rf"'{LAYER}': N:M keeps N of at most 65536 weights, not of a number of 13288 bits"),
    (lambda f: edit(f, lambda _, m: m[LAYER].update(outputs=True)), r"positive integers as out"),
    (lambda f: (f / "plan.yaml").unlink(), r"plan\.yaml: cannot read the plan"),
    (lambda f: Plan.uniform("2:4").save(f / "plan.yaml"),
     rf"plan\.yaml: model\.layers\.0\.self_attn\.k_proj is planned 2:4, but {FILE} holds it dense"),
])
def test_damage_is_named(tmp_path, pruned, damage, message):
    save_packed(pruned, tmp_path / "packed")
    damage(tmp_path / "packed")
    with pytest.raises(DataError, match=message) as caught:
        load_packed(tmp_path / "packed")
    assert str(caught.value).startswith(str(tmp_path / "packed"))
    assert "\n" not in str(caught.value)


def test_a_dense_checkpoint_is_no_packed_one(tmp_path):
    with pytest.raises(DataError, match=rf"a dense checkpoint; expected {FILE}"):
        load_packed(save_tiny("llama", tmp_path))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_the_type_of_the_source_is_the_default_where_it_is_exact(tmp_path, kind):
    load_model(save_tiny("llama", tmp_path / "wide")).module.to(kind).save_pretrained(
        tmp_path / "source")
    model = load_model(tmp_path / "source")
    assert model.dtype == kind
    pruned = prune(model, Plan.uniform("2:4"), calibrate(model, token_rows()))
    save_packed(pruned, tmp_path / "packed")
    save_pruned(pruned, tmp_path / "dense")
    assert load_file(tmp_path / "packed" / FILE)[f"{LAYER}.values"].dtype == kind
    assert same(load_packed(tmp_path / "packed").model, pruned.model)
    assert same(load_model(tmp_path / "dense"), pruned.model)
    assert {t.dtype for t in load_file(tmp_path / "dense" / "model.safetensors").values()} == {kind}
    weight_matrix(pruned.model.module.get_submodule(LAYER))[pruned.masks[LAYER]] += 1e-5
    save_packed(pruned, tmp_path / "exact")
    assert load_file(tmp_path / "exact" / FILE)[f"{LAYER}.values"].dtype == torch.float32
    round_weights(pruned)
    save_packed(pruned, tmp_path / "rounded")
    assert load_file(tmp_path / "rounded" / FILE)[f"{LAYER}.values"].dtype == kind
    weight_matrix(pruned.model.module.get_submodule(LAYER))[0, 0] = 3.4e38
    if kind == torch.float16:
        with pytest.raises(DataError, match=rf"{LAYER}: an updated weight is beyond the range"):
            round_weights(pruned)
