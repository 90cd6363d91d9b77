"""Streaming: equal to the whole model bit by bit, within its memory, and whole after a break."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from sw_checkpoints import ALL_FAMILIES, VOCABULARY, save_tiny, token_rows

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.calibration import calibrate
from cimforge_sw.models import linear_layers, load_model, weight_matrix
from cimforge_sw.packed import save_packed
from cimforge_sw.plan import Plan
from cimforge_sw.prune import prune
from cimforge_sw.stream import stream_layers, stream_prune
from cimforge_sw.stream_work import Progress

PLAN = Plan(NmPattern(3, 5), {"*.0.*": NmPattern(2, 4)})  # 5 divides no K here
BATCH = 40  # tokens: several batches


def bits(folder):
    """Return all tensors of a checkpoint's files, by name."""
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    return tensors


def save_half(family, folder, dtype=torch.bfloat16, blocks=2):
    """Write a tiny checkpoint in half precision and several shards."""
    module = load_model(save_tiny(family, folder / "float32")).module
    module.to(dtype).save_pretrained(folder / "half", max_shard_size="10KB")
    return folder / "half"


@pytest.mark.parametrize("family", ALL_FAMILIES)
def test_the_result_is_that_of_the_whole_model(tmp_path, family):
    source, rows = save_half(family, tmp_path), token_rows()
    model = load_model(source)
    whole = prune(model, PLAN, calibrate(model, rows, batch_tokens=BATCH))
    done = []
    streamed = stream_prune(source, PLAN, rows, tmp_path / "out", batch_tokens=BATCH,
                            progress=lambda *at: done.append(at))
    assert done == [(1, 2), (2, 2)]
    loaded, expected = load_model(tmp_path / "out").module, whole.model.module.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    assert streamed.sparsity == whole.sparsity
    assert streamed.patterns == whole.patterns
    assert streamed.source_digest == model.digest
    assert Plan.load(tmp_path / "out" / "plan.yaml") == PLAN
    before, after = bits(source), bits(tmp_path / "out")
    assert before.keys() == after.keys()
    assert all(after[name].dtype == value.dtype == torch.bfloat16 for name, value in before.items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["float32", "half", "out"]


def test_layers_come_with_the_norms_of_the_dense_model(tmp_path):
    source, rows = save_tiny("llama", tmp_path), token_rows()
    model = load_model(source)
    stats, layers = calibrate(model, rows, batch_tokens=BATCH), linear_layers(model.module)
    seen = []
    for name, weight, norm in stream_layers(source, rows, batch_tokens=BATCH, work=tmp_path,
                                            exclude=["*.o_proj"]):
        assert torch.equal(weight, weight_matrix(layers[name]))
        assert torch.equal(norm, stats.layers[name].norm)
        seen.append(name)
    assert seen == [name for name in layers if not name.endswith("o_proj")]


def test_base_models_saved_without_their_prefix(tmp_path):
    source = save_tiny("gpt2", tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    save_file({name.removeprefix("transformer."): value for name, value in tensors.items()},
              source / "model.safetensors", metadata={"format": "pt"})
    stream_prune(source, PLAN, token_rows(), tmp_path / "out")
    expected = prune(load_model(source), PLAN, calibrate(load_model(source), token_rows()))
    assert torch.equal(load_model(tmp_path / "out").module.transformer.h[1].mlp.c_fc.weight,
                       expected.model.module.transformer.h[1].mlp.c_fc.weight)


def test_magnitude_needs_no_statistics(tmp_path):
    source = save_tiny("llama", tmp_path / "source")
    stream_prune(source, Plan.uniform("1:4"), token_rows(), tmp_path / "out", score="magnitude",
                 exclude=["*.up_proj"])
    dense, got = load_model(source).module, load_model(tmp_path / "out").module
    name = "model.layers.1.mlp.up_proj.weight"
    groups = dense.state_dict()[name].reshape(-1, 4)
    best = groups.abs().argmax(1, keepdim=True)
    expected = torch.zeros_like(groups).scatter(1, best, groups.gather(1, best))
    assert torch.equal(got.state_dict()[name].reshape(-1, 4), expected)


def test_magnitude_runs_no_block_where_there_is_no_text(tmp_path, monkeypatch):
    source = save_half("llama", tmp_path)
    monkeypatch.setattr("cimforge_sw.blocks.Blocks.states", None)  # any run would be an error
    stream_prune(source, PLAN, None, tmp_path / "out", score="magnitude")
    monkeypatch.undo()
    stream_prune(source, PLAN, token_rows(), tmp_path / "again", score="magnitude")
    assert all(torch.equal(bits(tmp_path / "out")[name], value)
               for name, value in bits(tmp_path / "again").items())
    with pytest.raises(ConfigError, match="score wanda needs calibration texts"):
        stream_prune(source, PLAN, None, tmp_path / "other")


def test_a_link_to_an_empty_folder_is_where_it_leads(tmp_path):
    source = save_half("llama", tmp_path)
    (tmp_path / "disk" / "out").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "out")
    stream_prune(source, PLAN, None, tmp_path / "link", score="magnitude")
    assert (tmp_path / "link").is_symlink()
    assert load_model(tmp_path / "disk" / "out").module


def test_magnitude_without_text_goes_on_where_it_was_interrupted(tmp_path):
    source, done = save_half("llama", tmp_path), []
    with pytest.raises(Interrupted):
        stream_prune(source, PLAN, None, tmp_path / "out", score="magnitude", progress=interrupt)
    stream_prune(source, PLAN, None, tmp_path / "out", score="magnitude",
                 progress=lambda *at: done.append(at))
    assert done == [(2, 2)]


class Interrupted(Exception):
    pass


def interrupt(*_):
    raise Interrupted


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    source, rows, out = save_half("llama", tmp_path), token_rows(), tmp_path / "out"
    work = tmp_path / ".out.partial"
    with pytest.raises(Interrupted):
        stream_prune(source, PLAN, rows, out, progress=interrupt)
    assert not out.exists()
    assert sorted(path.name for path in work.iterdir()) == [
        "model-00002-of-00003.safetensors", "progress.json", "states-00001.bin"]
    loaded = []
    load = "cimforge_sw.skeleton.Skeleton.load"
    original = stream_prune.__globals__["Skeleton"].load
    monkeypatch.setattr(load, lambda self, at: (loaded.append(at), original(self, at)))
    stream_prune(source, PLAN, rows, out)
    assert loaded == [0, 1, 1]  # two to see how blocks run, and what is left
    stream_prune(source, PLAN, rows, tmp_path / "again")
    again, resumed = bits(tmp_path / "again"), bits(out)
    assert all(torch.equal(resumed[name], value) for name, value in again.items())
    assert sorted(p.name for p in out.iterdir()) == sorted(
        p.name for p in (tmp_path / "again").iterdir())
    assert not work.exists()


@pytest.mark.parametrize("file", ["model-00002-of-00003.safetensors", "states-00001.bin"])
def test_what_was_changed_since_is_done_again(tmp_path, file):
    source, rows, out = save_half("llama", tmp_path), token_rows(), tmp_path / "out"
    with pytest.raises(Interrupted):
        stream_prune(source, PLAN, rows, out, progress=interrupt)
    path = tmp_path / ".out.partial" / file
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    done = []
    stream_prune(source, PLAN, rows, out, progress=lambda *at: done.append(at))
    assert done == [(1, 2), (2, 2)]
    stream_prune(source, PLAN, rows, tmp_path / "again")
    assert all(torch.equal(bits(out)[name], v) for name, v in bits(tmp_path / "again").items())


def test_a_partial_folder_of_another_job_is_kept(tmp_path):
    source, rows, out = save_half("llama", tmp_path), token_rows(), tmp_path / "out"
    with pytest.raises(Interrupted):
        stream_prune(source, PLAN, rows, out, progress=interrupt)
    with pytest.raises(DataError, match=r"\.out\.partial: an interrupted run of another job"):
        stream_prune(source, Plan.uniform("2:4"), rows, out)
    (tmp_path / ".out.partial" / "progress.json").write_text("{")
    with pytest.raises(DataError, match=r"progress\.json: damaged; remove .*, which starts anew"):
        stream_prune(source, PLAN, rows, out)
    (tmp_path / ".out.partial" / "progress.json").unlink()
    with pytest.raises(DataError, match=r"it has no progress\.json; remove it"):
        stream_prune(source, PLAN, rows, out)


def edit(folder, name, change):
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        if name in tensors:
            change(tensors)
            save_file(tensors, file, metadata={"format": "pt"})


UP = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize(("damage", "message"), [
    (lambda f: edit(f, UP, lambda t: t.pop(UP)),
     rf"weights of another architecture: '{UP}' of LlamaForCausalLM is not in the file"),
    (lambda f: edit(f, UP, lambda t: t.update({UP: torch.zeros(8, 32)})),
     rf"{UP} has shape \(8, 32\), but config\.json wants \(56, 32\)"),
    (lambda f: edit(f, UP, lambda t: t[UP][0, :1].fill_(float("inf"))),
     rf"{UP} has weight\(s\) that are NaN or infinite"),
    (lambda f: edit(f, UP, lambda t: t.update({UP: t[UP].to(torch.int8)})),
     rf"{UP} is torch\.int8; expected floating point"),
    (lambda f: edit(f, UP, lambda t: t["model.layers.1.post_attention_layernorm.weight"].fill_(
        1e38)), r"model\.layers\.1\.mlp\.gate_proj: NaN or infinite activations at its input"),
])
def test_damage_is_named_and_leaves_no_output(tmp_path, damage, message):
    source = save_tiny("llama", tmp_path / "source")
    damage(source)
    with pytest.raises(DataError, match=message):
        stream_prune(source, PLAN, token_rows(), tmp_path / "out")
    left = [path.name for path in tmp_path.iterdir()]
    assert set(left) <= {"source", ".out.partial"}  # the latter where a block was done before


def test_a_run_that_never_finished_a_block_is_no_obstacle(tmp_path):
    source, rows, out = save_tiny("llama", tmp_path / "source"), token_rows(), tmp_path / "out"
    with pytest.raises(DataError, match=r"up_proj: no calibration statistics; calibrate it or"):
        stream_prune(source, PLAN, rows, out, exclude=["*.up_proj"])
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    Progress(tmp_path / ".out.partial", {"job": "another"})  # as a power cut leaves it
    assert stream_prune(source, PLAN, rows, out).folder == out


def test_bad_calls_are_refused(tmp_path):
    source, rows = save_tiny("llama", tmp_path / "source"), token_rows()
    with pytest.raises(ConfigError, match="score must be one of wanda, magnitude, not 'other'"):
        stream_prune(source, PLAN, rows, tmp_path / "out", score="other")
    with pytest.raises(DataError, match="source: already there and not empty"):
        stream_prune(source, PLAN, rows, source)
    with pytest.raises(DataError, match="'nothing' matches none of 14 layers"):
        stream_prune(source, Plan(NmPattern(2, 4), {"nothing": NmPattern(1, 4)}), rows,
                     tmp_path / "out")
    model = load_model(source)
    save_packed(prune(model, PLAN, calibrate(model, rows)), tmp_path / "packed")
    with pytest.raises(DataError, match="packed: a packed checkpoint is already pruned"):
        stream_prune(tmp_path / "packed", PLAN, rows, tmp_path / "out")
    albert = transformers.AlbertModel(transformers.AlbertConfig(
        hidden_size=32, embedding_size=16, num_hidden_layers=4, num_attention_heads=2,
        intermediate_size=48, vocab_size=VOCABULARY))
    albert.save_pretrained(tmp_path / "albert")
    with pytest.raises(DataError, match="AlbertModel cannot be streamed: expected one stack of"):
        stream_prune(tmp_path / "albert", PLAN, rows, tmp_path / "out")


def test_memory_is_that_of_a_block_not_of_the_model(tmp_path):
    """A Llama of 325 MB in 8 shards of bfloat16: a block is 81 MB as float32."""
    config = transformers.LlamaConfig(
        hidden_size=1024, num_hidden_layers=8, num_attention_heads=16, num_key_value_heads=4,
        intermediate_size=5760, vocab_size=VOCABULARY, max_position_embeddings=32,
        bos_token_id=1, eos_token_id=2, dtype="bfloat16")
    with torch.device("meta"):
        module = transformers.LlamaForCausalLM(config)
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(source)
    where = {}
    generator = torch.Generator().manual_seed(1)
    tensors = {name: torch.empty(value.shape, dtype=torch.bfloat16).uniform_(
        -0.05, 0.05, generator=generator) for name, value in module.state_dict().items()
        if ".layers." not in name or ".layers.0." in name}
    for shard in range(8):  # every block has the same weights, and its own shard
        name = f"model-{shard + 1:05d}-of-00008.safetensors"
        save_file(tensors, source / name, metadata={"format": "pt"})
        where |= dict.fromkeys(tensors, name)
        tensors = {key.replace(f".{shard}.", f".{shard + 1}."): value
                   for key, value in tensors.items() if ".layers." in key}
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    size = sum(file.stat().st_size for file in source.glob("*.safetensors"))
    block = 4 * sum(value.numel() for value in module.model.layers[0].parameters())
    script = Path(__file__).with_name("stream_memory.py")
    output = subprocess.run([sys.executable, script, source, out], check=True, text=True,
                            capture_output=True).stdout
    memory = json.loads(output.splitlines()[-1])
    print(f"model {size}, block {block}, peak {memory['peak'] - memory['before']} bytes")
    assert size > 300e6
    assert memory["peak"] - memory["before"] < min(size, 3 * block)
    assert memory["sparsity"] == 0.5
    assert len(list(out.glob("*.safetensors"))) == 9
