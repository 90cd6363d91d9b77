"""The zoo's text, training that goes on after an interruption, and bits per byte."""

import json
import math

import pytest
import torch

from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.evaluate import bits_per_byte
from cimforge_sw.layers import linear_layers
from cimforge_sw.models import load_model
from cimforge_sw.monarch.module import MonarchLinear
from cimforge_sw.zoo import recipes, train, zoo_folder
from cimforge_sw.zoo.corpus import load_corpus
from cimforge_sw.zoo.text import calibration_spans, held_out_spans


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
    measured = bits_per_byte(model, tiny_recipe.test)
    # The record runs all files together; here each starts anew. Weights were rounded to float16.
    assert measured == pytest.approx(record["bits_per_byte"]["test"], rel=0.05)
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


@pytest.mark.parametrize(("name", "least"), [("stdlib-llama", 1.5), ("stdlib-mamba", 1.5)])
def test_the_models_that_ship_beat_xz_on_files_they_never_saw(name, least):
    model = load_model(name)
    record = json.loads((zoo_folder(name) / "training.json").read_text())
    scores = record["bits_per_byte"]
    assert scores["test"] < scores["xz"] < scores["gzip"]
    texts = held_out_spans()[:4]
    assert bits_per_byte(model, texts) < least
    broken = load_model(name)
    for parameter in broken.module.parameters():
        parameter.mul_(0.5)
    assert bits_per_byte(broken, texts) > 1.5 * bits_per_byte(model, texts)


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
    record = json.loads((zoo_folder("stdlib-llama-monarch") / "training.json").read_text())
    dense = json.loads((zoo_folder("stdlib-llama") / "training.json").read_text())
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
