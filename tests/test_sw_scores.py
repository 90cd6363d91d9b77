"""Scores of weights: the published formulas, and inputs that do not belong together."""

import pytest
import torch

from cimforge.spec.errors import DataError
from cimforge_sw.scores import magnitude_score, wanda_score


def test_wanda_is_magnitude_times_norm_of_the_input_channel():
    weight = torch.tensor([[1.0, -2.0, 0.0], [-3.0, 0.5, 4.0]])
    norm = torch.tensor([2.0, 10.0, 0.25])
    assert wanda_score(weight, norm).tolist() == [[2.0, 20.0, 0.0], [6.0, 5.0, 1.0]]


def test_magnitude_ignores_the_sign():
    assert magnitude_score(torch.tensor([[1.0, -2.0]])).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_scores_leave_weights_alone_and_wanda_is_float32(kind):
    generator = torch.Generator().manual_seed(4)
    weight = torch.nn.Parameter(torch.randn(5, 7, generator=generator).to(kind))
    norm = torch.rand(7, generator=generator)
    before = weight.detach().clone()
    score = wanda_score(weight, norm)
    assert score.dtype == torch.float32
    assert torch.equal(score, before.float().abs() * norm)
    assert not score.requires_grad
    assert torch.equal(magnitude_score(weight), before.abs())
    assert torch.equal(weight, before)


def test_norms_of_another_layer_are_refused():
    with pytest.raises(DataError, match=r"not \[4, 8\] and \[4\]"):
        wanda_score(torch.ones(4, 8), torch.ones(4))


@pytest.mark.parametrize("score", [magnitude_score, lambda w: wanda_score(w, torch.ones(4))])
def test_a_vector_is_no_weight(score):
    with pytest.raises(DataError, match=r"expected weight \[O, K\]"):
        score(torch.ones(4))
