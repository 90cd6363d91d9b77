"""The zoo's text, training that goes on after an interruption, and bits per byte."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.evaluate import bits_per_byte
from cimforge_sw.layers import linear_layers
from cimforge_sw.models import load_model
from cimforge_sw.monarch.module import MonarchLinear
from cimforge_sw.zoo import recipes, train, training_record
from cimforge_sw.zoo.corpus import compressed_bits_per_byte, load_corpus
from cimforge_sw.zoo.duplicates import repeated
from cimforge_sw.zoo.text import calibration_spans, held_out_spans, spans_of


@pytest.fixture
def sources(tmp_path):
    """Return a folder of sources that is small and has all three parts."""
    folder = tmp_path / "lib"
    (folder / "test").mkdir(parents=True)
    for index in range(60):
        (folder / f"module_{index}.py").write_text(
            "".join(f"def function_{index}_{line}(value):\n    return value + {line}\n\n"
                    for line in range(20)))
    (folder / "test" / "left_out.py").write_text("import unittest\n")
    return folder


def test_every_file_is_in_one_part_and_names_alone_decide(sources):
    corpus = load_corpus(sources)
    files = corpus.train + corpus.validation + corpus.test
    assert len(files) == len(set(files)) == 60
    assert not any("unittest" in text for text in files)
    (sources / "module_3.py").write_text("changed = True\n")
    again = load_corpus(sources)
    assert again.digest != corpus.digest
    assert [len(part) for part in (again.train, again.test)] == [
        len(part) for part in (corpus.train, corpus.test)]
    with pytest.raises(DataError, match="expected the sources of a Python standard library"):
        load_corpus(sources / "test")


def test_spans_are_of_their_part_and_follow_the_seed():
    corpus = load_corpus()
    spans = calibration_spans(5, seed=1)
    assert spans == calibration_spans(5, seed=1) != calibration_spans(5, seed=2)
    assert all(any(span in text for text in corpus.train) for span in spans)
    assert all(any(span in text for text in corpus.test) for span in held_out_spans())
    assert len(held_out_spans()) == len(corpus.test)


@pytest.fixture
def tiny_recipe(sources, monkeypatch):
    """Make training take seconds: three steps of a tiny model on few sources."""
    from transformers import LlamaConfig

    small = recipes.Recipe("tiny", LlamaConfig(
        vocab_size=300, bos_token_id=0, eos_token_id=0, pad_token_id=0, hidden_size=16,
        intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=256, tie_word_embeddings=True), steps=6, batch=2, rate=1e-2,
        decay=0.1)
    monkeypatch.setitem(recipes.RECIPES, "tiny", small)
    monkeypatch.setattr(train, "VOCABULARY", 300)
    monkeypatch.setattr(train, "_CHECK_EVERY", 2)
    corpus = load_corpus(sources)
    monkeypatch.setattr(train, "load_corpus", lambda: corpus)
    return corpus


def test_an_interrupted_training_ends_with_the_same_weights(tiny_recipe, tmp_path):
    def interrupt(done, _total):
        if done == 5:
            raise KeyboardInterrupt

    whole = train.train("tiny", tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train.train("tiny", tmp_path / "halves", interrupt)
    again = train.train("tiny", tmp_path / "halves")
    assert again["bits_per_byte"] == pytest.approx(whole["bits_per_byte"], rel=1e-3)
    assert 0 < again["bits_per_byte"]["xz"] < 8
    assert [point["step"] for point in again["curve"]] == [2, 4, 6]
    assert not (tmp_path / "halves" / "state.safetensors").exists()
    models = [load_model(tmp_path / name).module.state_dict() for name in ("whole", "halves")]
    for name, tensor in models[0].items():
        torch.testing.assert_close(tensor, models[1][name], rtol=0, atol=2e-3)


def test_what_training_refuses_at_once(tiny_recipe, tmp_path):
    with pytest.raises(ConfigError, match="there is no recipe 'foo'; there are stdlib-llama"):
        train.train("foo", tmp_path)
    train.train("tiny", tmp_path / "model")
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    with pytest.raises(DataError, match="holds a trained model already"):
        train.train("tiny", tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before


def test_a_trained_checkpoint_says_what_its_record_says(tiny_recipe, tmp_path):
    record = train.train("tiny", tmp_path / "model")
    model = load_model(tmp_path / "model")
    measured = bits_per_byte(model, list(tiny_recipe.unseen.values()))
    assert measured == pytest.approx(record["bits_per_byte"]["test"], rel=1e-5)
    spans = record["held_out"]["spans"]
    assert spans["bits_per_byte"] == pytest.approx(
        bits_per_byte(model, spans_of(tiny_recipe.test)), rel=1e-5)
    assert spans["repeated"] == 0
    uniform = math.log2(300) * sum(
        len(row) - 1 for row in model.tokenizer(list(tiny_recipe.test))["input_ids"])
    assert measured < 1.1 * uniform / sum(len(text) for text in tiny_recipe.test)


def test_bits_per_byte_of_a_model_that_knows_nothing(tiny_recipe, tmp_path):
    train.train("tiny", tmp_path / "model")
    model = load_model(tmp_path / "model")
    for parameter in model.module.parameters():
        parameter.zero_()
    text = tiny_recipe.test[0]
    tokens = len(model.tokenizer(text)["input_ids"])
    assert bits_per_byte(model, [text]) == pytest.approx(
        tokens * math.log2(300) / len(text.encode()), rel=1e-5)
    with pytest.raises(DataError, match="at least one text"):
        bits_per_byte(model, [])
    encoder = load_model("all-MiniLM-L6-v2")
    with pytest.raises(DataError, match="predicts no next tokens"):
        bits_per_byte(encoder, ["some text here"])


def test_files_that_repeat_training_files_are_in_no_quoted_score(sources):
    corpus = load_corpus(sources)
    assert not corpus.repeated
    assert list(corpus.unseen.values()) == list(corpus.test)
    held_out, near = corpus.test_names[:2]
    copied = corpus.train[-1]
    (sources / held_out).write_text(copied)
    lines = [f"an_original_line_of_length = {number}\n" for number in range(60)]
    (sources / "module_0.py").write_text("".join(lines))
    assert "module_0.py" not in corpus.test_names
    (sources / near).write_text("".join(lines[:20]) + "x = 1\n" * 200)  # a third is copied
    again = load_corpus(sources)
    assert set(again.repeated) == {held_out, near}
    assert set(again.unseen) == set(corpus.test_names) - {held_out, near}
    (sources / near).write_text("".join(lines[:10]) + "x = 1\n" * 400)  # an eighth
    assert load_corpus(sources).repeated == (held_out,)


def test_no_table_of_characters_and_no_copy_is_quoted():
    corpus = load_corpus()
    assert not any(name.startswith("encodings/") for name in corpus.unseen)
    assert any(name.startswith("encodings/") for name in corpus.test_names)
    assert not set(corpus.unseen.values()) & set(corpus.train)
    assert repeated({"a.py": "x = 1\n"}, ["x = 1\n"]) == ["a.py"]


def test_a_library_of_copies_cannot_score_a_model(sources):
    for path in sources.glob("*.py"):
        path.write_text("the_same_line_everywhere = True\n")
    with pytest.raises(DataError, match=r"each of \d+ held-out files repeats training files"):
        _ = load_corpus(sources).unseen


@pytest.mark.parametrize("name", ["stdlib-llama", "stdlib-llama-monarch", "stdlib-mamba"])
def test_the_models_that_ship_score_what_their_records_say_and_beat_xz(name):
    """Two whole files that no training file resembles, again; the record is the mean of all."""
    record = training_record(name)
    scores, files, corpus = record["bits_per_byte"], record["held_out"]["files"], load_corpus()
    size = sum(entry["bytes"] for entry in files.values())
    assert scores["test"] == pytest.approx(
        sum(entry["bytes"] * entry["bits_per_byte"] for entry in files.values()) / size)
    assert scores["test"] < scores["xz"] < scores["gzip"]
    chosen = {name: corpus.unseen[name] for name in ("secrets.py", "sched.py")}
    model = load_model(name)
    measured = {name: bits_per_byte(model, [text]) for name, text in chosen.items()}
    if corpus.digest == record["corpus"]["digest"]:  # other Pythons have other files
        assert set(files) == set(corpus.unseen)
        assert list(corpus.repeated) == record["held_out"]["left_out"]
        assert compressed_bits_per_byte(list(corpus.unseen.values())) == pytest.approx(
            {key: scores[key] for key in ("gzip", "xz")}, rel=1e-3)
        for file, score in measured.items():
            assert score == pytest.approx(files[file]["bits_per_byte"], rel=1e-4)
    for file, score in measured.items():
        assert score < compressed_bits_per_byte([chosen[file]])["xz"], file
    for parameter in model.module.parameters():
        parameter.mul_(0.5)
    assert bits_per_byte(model, [chosen["secrets.py"]]) > 1.5 * measured["secrets.py"]


def test_the_readme_quotes_the_records():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for name, quoted in (("stdlib-llama", "`stdlib-llama` ({:.2f} bits per byte"),
                         ("stdlib-llama-monarch", "`stdlib-llama-monarch` ({:.2f} with"),
                         ("stdlib-mamba", "`stdlib-mamba` ({:.2f})")):
        scores = training_record(name)["bits_per_byte"]
        assert quoted.format(scores["test"]) in readme
        assert f"gzip needs {scores['gzip']:.2f}, xz {scores['xz']:.2f}" in readme


def _interrupted(folder):
    def stop(done, _total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train("tiny", folder, stop)
    return folder / "state.safetensors"


@pytest.mark.parametrize("change", [{"rate": 2e-2}, {"steps": 8}, {"batch": 3}, {"decay": 0.0}])
def test_a_run_of_another_recipe_does_not_go_on(tiny_recipe, tmp_path, monkeypatch, change):
    state = _interrupted(tmp_path / "model")
    before = state.read_bytes()
    changed = dataclasses.replace(recipes.RECIPES["tiny"], **change)
    monkeypatch.setitem(recipes.RECIPES, "tiny", changed)
    with pytest.raises(DataError, match=r"state\.safetensors: an interrupted run of another"):
        train.train("tiny", tmp_path / "model")
    assert state.read_bytes() == before
    assert [path.name for path in (tmp_path / "model").iterdir()] == [state.name]


def test_a_run_on_another_corpus_does_not_go_on(tiny_recipe, sources, tmp_path, monkeypatch):
    _interrupted(tmp_path / "model")
    (sources / "module_0.py").write_text("x = 1\n" * 100)
    other = load_corpus(sources)
    monkeypatch.setattr(train, "load_corpus", lambda: other)
    with pytest.raises(DataError, match="of another recipe or corpus; give another folder"):
        train.train("tiny", tmp_path / "model")


@pytest.mark.parametrize("damage", [
    lambda path: path.write_bytes(path.read_bytes()[:1000]),
    lambda path: path.write_bytes(b""),
    lambda path: save_file({"model.0": torch.ones(2)}, path),
    lambda path: save_file({"model.0": torch.ones(2)}, path, metadata={"record": "[" * 100_000}),
    lambda path: edit_state(path, {"model.0": torch.ones(2)}),
])
def test_a_damaged_state_is_one_clear_error(tiny_recipe, tmp_path, damage):
    damage(_interrupted(tmp_path / "model"))
    with pytest.raises(DataError, match=r"state\.safetensors: not the state .* remove it to start"):
        train.train("tiny", tmp_path / "model")


def edit_state(path, tensors):
    """Replace tensors of a state."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file(load_file(path) | tensors, path, metadata=metadata)


def test_training_into_a_file_is_refused(tiny_recipe, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="cannot be written"):
        train.train("tiny", tmp_path / "file")



@pytest.fixture
def tiny_monarch(tiny_recipe, tmp_path, monkeypatch):
    """Return the record of a tiny dense model, with a recipe that fine-tunes it after D2S."""
    record = train.train("tiny", tmp_path / "dense")
    monkeypatch.setitem(recipes.RECIPES, "tiny-monarch", recipes.MonarchRecipe(
        "tiny-monarch", str(tmp_path / "dense"), "4x4 r2", spans=4, steps=6, batch=2, rate=1e-2,
        decay=0.1))
    return record


def test_fine_tuning_after_d2s_goes_on_and_says_what_it_began_with(tiny_monarch, tmp_path):
    def interrupt(done, _total):
        if done == 5:
            raise KeyboardInterrupt

    whole = train.train("tiny-monarch", tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train.train("tiny-monarch", tmp_path / "halves", interrupt)
    again = train.train("tiny-monarch", tmp_path / "halves")
    assert whole["before"] == again["before"]
    # The whole text, although calibration cut its own; the dense weights were rounded to float16.
    assert whole["before"]["dense"] == pytest.approx(tiny_monarch["bits_per_byte"]["test"],
                                                     rel=1e-3)
    assert whole["bits_per_byte"]["test"] < whole["before"]["recovered"]
    assert again["bits_per_byte"] == pytest.approx(whole["bits_per_byte"], rel=1e-3)
    assert (whole["rule"], whole["compression"]) == ("4x4 r2", pytest.approx(2560 / 2176))
    models = [load_model(tmp_path / name).module for name in ("whole", "halves")]
    assert all(isinstance(layer, MonarchLinear) for layer in linear_layers(models[0]).values())
    for name, tensor in models[0].state_dict().items():
        torch.testing.assert_close(tensor, models[1].state_dict()[name], rtol=0, atol=2e-3)


def test_fine_tuning_trains_factors_as_the_model_will_run_them(tiny_monarch, tmp_path):
    train.train("tiny-monarch", tmp_path / "model")
    layer = next(iter(linear_layers(load_model(tmp_path / "model").module).values()))
    x = torch.randn(3, 5, layer.inputs)
    frozen = layer(x)
    trained = layer.requires_grad_(True)(x)
    torch.testing.assert_close(trained, frozen)
    trained.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in layer.parameters())


def test_fine_tuning_refuses_a_rule_that_a_layer_cannot_have(tiny_monarch, tmp_path, monkeypatch):
    from dataclasses import replace

    monkeypatch.setitem(recipes.RECIPES, "tiny-monarch",
                        replace(recipes.RECIPES["tiny-monarch"], rule="5x4"))
    with pytest.raises(ConfigError, match=r"q_proj: .*5"):
        train.train("tiny-monarch", tmp_path / "model")
    assert not (tmp_path / "model" / "training.json").exists()


def test_the_monarch_model_that_ships_is_better_than_what_it_began_with():
    record, dense = training_record("stdlib-llama-monarch"), training_record("stdlib-llama")
    before, after = record["before"], record["bits_per_byte"]
    assert before["dense"] == pytest.approx(dense["bits_per_byte"]["test"], rel=1e-3)
    assert before["dense"] < after["test"] < before["recovered"] < before["d2s"]
    assert after["test"] < after["xz"]
    texts = held_out_spans()[:4]
    model = load_model("stdlib-llama-monarch")
    measured = bits_per_byte(model, texts)
    assert bits_per_byte(load_model("stdlib-llama"), texts) < measured < after["xz"]
    for layer in linear_layers(model.module).values():
        layer.right[0].mul_(0.5)
    assert bits_per_byte(model, texts) > 1.5 * measured
