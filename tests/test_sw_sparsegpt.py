"""SparseGPT: equal to optimal brain surgery restated column by column, and better than a mask."""

import pytest
import torch

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern, group_counts
from cimforge_sw.masks import nm_mask
from cimforge_sw.scores import wanda_score
from cimforge_sw.sparsegpt import GramAccumulator, sparsegpt


def layer(outputs, inputs, seed=0, tokens=600):
    """Return a weight, and inputs [T, K] that depend on each other as activations do."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(inputs, inputs, generator=generator) / inputs ** 0.5
    mix += 0.5 * torch.eye(inputs)
    x = torch.randn(tokens, inputs, generator=generator) @ mix
    return torch.randn(outputs, inputs, generator=generator), x


def gram_of(x):
    return x.double().T @ x.double()


def output_error(new, weight, gram):
    """Return the squared change of all outputs, summed over the text."""
    change = (new - weight).double()
    return float(((change @ gram) * change).sum())


def published(weight, gram, n, m, damp):
    """Restate algorithm 1 without its factor: the inverse of what is left, anew at every input.

    ``U_jj ** 2`` is the first element of the inverse of ``H[j:, j:]``, ``U_j,l / U_jj`` its first
    row over that element (arXiv 2301.00774, section 3.2).
    """
    inputs = weight.shape[1]
    hessian = gram.double() + damp * gram.double().diagonal().mean() * torch.eye(inputs)
    rows = [torch.linalg.inv(hessian[j:, j:])[0] for j in range(inputs)]
    weight, kept = weight.double().clone(), torch.zeros(weight.shape, dtype=torch.bool)
    for j in range(inputs):
        if j % m == 0:
            group = range(j, min(j + m, inputs))
            score = torch.stack([weight[:, c] ** 2 / rows[c][0] for c in group], dim=1)
            best = torch.topk(score, min(n, len(group)), dim=1)[1]
            kept.scatter_(1, j + best, True)
        gone = torch.where(kept[:, j], 0.0, weight[:, j])
        weight[:, j:] -= torch.outer(gone / rows[j][0], rows[j])
    return weight * kept, kept


@pytest.mark.parametrize("text", ["2:4", "4:8", "1:4", "3:5", "2:16"])
@pytest.mark.parametrize("inputs", [64, 45])
@pytest.mark.parametrize("block", [1, 20, 128])
def test_equals_the_published_algorithm(text, inputs, block):
    pattern = NmPattern.parse(text)
    weight, x = layer(40, inputs, seed=inputs)
    want, kept = published(weight, gram_of(x), pattern.n, pattern.m, 0.01)
    new, mask = sparsegpt(weight, gram_of(x), pattern, block=block)
    assert torch.equal(mask, kept)
    assert new.dtype == torch.float32
    torch.testing.assert_close(new.double(), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("text", ["2:4", "4:8", "1:8", "3:8"])
@pytest.mark.parametrize("granularity", ["free", "share2", "tile"])
def test_output_error_is_below_that_of_a_mask(text, granularity):
    pattern = NmPattern.parse(text)
    weight, x = layer(48, 100, seed=1)
    gram = gram_of(x)
    before = weight.clone()
    new, mask = sparsegpt(weight, gram, pattern, granularity=granularity, tile_cols=8)
    wanda = nm_mask(wanda_score(weight, gram.diagonal().sqrt().float()), pattern, granularity, 8)
    error = output_error(new, weight, gram)
    assert error < output_error(weight * mask, weight, gram)
    assert error < output_error(weight * wanda, weight, gram)
    assert torch.equal(weight, before)
    assert (new[~mask] == 0).all()
    full = mask[:, :100 // pattern.m * pattern.m].numpy()
    assert (group_counts(full, pattern.m) == pattern.n).all()


def test_outputs_that_share_positions_share_them():
    weight, x = layer(10, 32, seed=4)
    mask = sparsegpt(weight, gram_of(x), NmPattern(2, 8), granularity="share2")[1]
    assert torch.equal(mask[::2], mask[1::2])
    assert not torch.equal(mask[0], mask[2])


def test_a_weight_moves_to_an_input_that_says_the_same():
    weight, x = layer(8, 32, seed=2)
    x[:, 1::2] = x[:, ::2]
    gram = gram_of(x)
    new, mask = sparsegpt(weight, gram, NmPattern(1, 2), damp=1e-9)
    assert output_error(new, weight, gram) < 1e-6 * output_error(weight * mask, weight, gram)


def test_dead_inputs_get_no_weight_and_disturb_nothing():
    weight, x = layer(12, 40, seed=3)
    dead = [0, 7, 39]
    x[:, dead] = 0
    alive = [j for j in range(40) if j not in dead]
    new, mask = sparsegpt(weight, gram_of(x), NmPattern(2, 4))
    assert (new[:, dead] == 0).all()
    assert torch.isfinite(new).all()
    assert (group_counts(mask.numpy(), 4) == 2).all()
    whole = sparsegpt(weight[:, alive], gram_of(x[:, alive]), NmPattern(20, 40))[0]
    part = sparsegpt(weight, gram_of(x), NmPattern(20, 40))[0]
    torch.testing.assert_close(part[:, alive], whole)


def test_a_layer_the_text_never_woke_up_is_zero():
    new, mask = sparsegpt(torch.ones(3, 8), torch.zeros(8, 8), NmPattern(2, 4))
    assert not new.any()
    assert (group_counts(mask.numpy(), 4) == 2).all()


def test_dense_changes_nothing():
    weight, x = layer(5, 12)
    new, mask = sparsegpt(weight, gram_of(x), NmPattern(4, 4))
    assert torch.equal(new, weight)
    assert mask.all()
    assert new.data_ptr() != weight.data_ptr()


def test_a_singular_gram_says_what_to_do():
    weight, x = layer(5, 64, tokens=20)
    with pytest.raises(DataError, match=r"of 64 inputs is singular with damp = 0: calibrate on more"
                                        r" text, or use a larger damp"):
        sparsegpt(weight, gram_of(x), NmPattern(2, 4), damp=0.0)
    new = sparsegpt(weight, gram_of(x), NmPattern(2, 4))[0]
    assert torch.isfinite(new).all()


def test_what_is_no_gram_matrix_is_refused():
    with pytest.raises(DataError, match="singular with damp"):
        sparsegpt(torch.ones(2, 4), -torch.eye(4), NmPattern(2, 4))


def test_accumulated_gram_is_that_of_all_inputs():
    _, x = layer(1, 24, tokens=2500)
    sums = GramAccumulator(24)
    for part in x.split(1100):
        sums.see(part)
    assert sums.tokens == 2500
    assert sums.gram.dtype == torch.float64
    torch.testing.assert_close(sums.gram, gram_of(x), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("x", "message"), [
    (torch.ones(3, 5), r"expected inputs \[T, 4\], not \[3, 5\]"),
    (torch.ones(4), r"not \[4\]"),
    (torch.tensor([[1.0, 2.0, float("nan"), 0.0]]), "NaN or infinite activations"),
])
def test_unusable_inputs_are_refused(x, message):
    with pytest.raises(DataError, match=message):
        GramAccumulator(4).see(x)


@pytest.mark.parametrize(("weight", "gram", "options", "error", "message"), [
    (torch.ones(4), torch.eye(4), {}, DataError, r"not \[4\] and \[4, 4\]"),
    (torch.ones(2, 4), torch.eye(5), {}, DataError, r"not \[2, 4\] and \[5, 5\]"),
    (torch.full((2, 4), torch.nan), torch.eye(4), {}, DataError, r"weight\[0, 0\] is nan"),
    (torch.ones(2, 4), torch.full((4, 4), torch.inf), {}, DataError, r"gram\[0, 0\] is inf"),
    (torch.ones(2, 4), torch.eye(4), {"damp": -1.0}, ConfigError, "damp must be 0 or more"),
    (torch.ones(2, 4), torch.eye(4), {"block": 0}, ConfigError, "block must be at least 1"),
    (torch.ones(2, 4), torch.eye(4), {"granularity": "row"}, ConfigError, "one of free"),
])
def test_bad_arguments_are_refused(weight, gram, options, error, message):
    with pytest.raises(error, match=message):
        sparsegpt(weight, gram, NmPattern(2, 4), **options)
