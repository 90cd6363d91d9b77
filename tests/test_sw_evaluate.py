"""Scores: embeddings do not depend on batches; pruning the real model costs what is expected."""



import pytest
import torch
from sw_checkpoints import save_tiny, token_rows
from sw_families import save_family

from cimforge.spec.errors import DataError
from cimforge_sw.calibration import calibrate
from cimforge_sw.evaluate import bits_per_byte, cosine_to, embed
from cimforge_sw.models import EMBEDDED_MODEL, load_model
from cimforge_sw.plan import Plan
from cimforge_sw.prune import prune
from cimforge_sw.quantize import quantize
from cimforge_sw.sentences import calibration_sentences, held_out_sentences
from cimforge_sw.tokens import context_length


def test_embeddings_are_normalized_means_in_the_order_of_the_texts(tmp_path):
    model, rows = load_model(save_tiny("bert", tmp_path)), token_rows()
    got = embed(model, rows)
    for row, vector in zip(rows, got, strict=True):
        mean = model.module(input_ids=torch.tensor([row])).last_hidden_state[0].mean(0)
        torch.testing.assert_close(vector, mean / mean.norm(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(embed(model, rows, batch_tokens=1), got, rtol=1e-4, atol=1e-5)
    assert cosine_to(model, model, rows) == pytest.approx(1.0)


def test_a_model_with_a_head_has_no_sentence_embeddings(tmp_path):
    model = load_model(save_tiny("gpt2", tmp_path))
    with pytest.raises(DataError, match="GPT2LMHeadModel returns no last_hidden_state"):
        embed(model, token_rows())


def test_the_embedded_model_orders_the_patterns_as_expected():
    model = load_model(EMBEDDED_MODEL)
    stats = calibrate(model, calibration_sentences())
    texts = held_out_sentences()[:48]

    def score(pattern):
        return cosine_to(model, prune(model, Plan.uniform(pattern), stats).model, texts)

    one_of_two, two_of_four, four_of_eight = map(score, ("1:2", "2:4", "4:8"))
    assert 0.55 < one_of_two < two_of_four < four_of_eight < 0.9
    dense = prune(model, Plan.uniform("dense"), stats)
    assert cosine_to(model, quantize(dense, stats).as_model(), texts) > 0.97


def test_models_of_different_widths_have_no_cosine(tmp_path):
    tiny = load_model(save_tiny("bert", tmp_path))
    with pytest.raises(DataError, match=r"embeddings of 32 numbers and .* of 384; expected models"):
        cosine_to(tiny, load_model(EMBEDDED_MODEL), [[1, 2, 3]])


@pytest.mark.parametrize("texts", [[""], ["", ""]])
def test_texts_without_a_token_to_predict_have_no_bits_per_byte(texts):
    with pytest.raises(DataError, match=rf"a token to predict, not {len(texts)} text\(s\) of"):
        bits_per_byte(load_model("stdlib-llama"), texts)


def test_positions_that_begin_behind_the_padding_are_fewer(tmp_path):
    model = load_model(save_family("roberta", tmp_path))  # 26 positions, 2 of them of padding
    assert context_length(model) == 24
    assert calibrate(model, [list(range(3, 60))]).tokens == 24
