"""N:M masks: equal to slow statements of the rule, in every shape, with ties and padding."""



import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern, group_counts
from cimforge_sw.masks import nm_mask
from cimforge_sw.scores import wanda_score

PATTERNS = st.sampled_from(["1:2", "2:4", "4:8", "1:4", "2:8", "3:8", "7:8", "5:16", "3:5", "2:20",
                            "3:40"])
SHAPES = st.tuples(st.integers(1, 11), st.integers(1, 45))
quick = settings(max_examples=60, deadline=None)


def scores(shape, seed, levels):
    """Return scores with few distinct values, so that ties are common."""
    return torch.from_numpy(
        np.random.default_rng(seed).integers(0, levels, shape).astype(np.float32))


def slow_mask(score, n, m):
    """Keep the n best of each group: sort by falling score, then by rising index."""
    keep = np.zeros(score.shape, dtype=bool)
    for row in range(score.shape[0]):
        for start in range(0, score.shape[1], m):
            group = range(start, min(start + m, score.shape[1]))
            for col in sorted(group, key=lambda j, r=row: (-score[r, j], j))[:n]:
                keep[row, col] = True
    return keep


def wanda_published_mask(metric, n, m):
    """Return the published procedure: the m - n smallest of each group are pruned by topk."""
    pruned = torch.zeros(metric.shape, dtype=torch.bool)
    for start in range(0, metric.shape[1], m):
        group = metric[:, start:start + m]
        pruned.scatter_(1, start + torch.topk(group, m - n, dim=1, largest=False)[1], True)
    return ~pruned


def best_tile_value(score, n):
    """Return the largest kept score of one group [C, M], over all pair multisets of n slots."""
    pairs = np.sort(score.reshape(len(score), -1, 2), axis=-1)[..., ::-1].sum(axis=0)
    best = {0: 0.0}
    for better, other in pairs:  # slots used so far -> value
        step = {}
        for used, value in best.items():
            for slots, gain in ((0, 0.0), (1, better), (2, better + other)):
                step[used + slots] = max(step.get(used + slots, -1.0), value + gain)
        best = step
    return best[n]


@quick
@given(SHAPES, PATTERNS, st.integers(0, 2**31), st.sampled_from([2, 5, 1000]))
def test_free_mask_equals_the_slow_rule(shape, text, seed, levels):
    pattern, score = NmPattern.parse(text), scores(shape, seed, levels)
    expected = slow_mask(score.numpy(), pattern.n, pattern.m)
    assert np.array_equal(nm_mask(score, pattern).numpy(), expected)


@pytest.mark.parametrize("text", ["2:4", "4:8"])
def test_equals_wanda_as_published(text):
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn(96, 384, generator=generator)
    norm = torch.rand(384, generator=generator)
    pattern, score = NmPattern.parse(text), wanda_score(weight, norm)
    assert torch.equal(score, weight.abs() * norm.reshape(1, -1))
    assert torch.equal(nm_mask(score, pattern), wanda_published_mask(score, pattern.n, pattern.m))


@quick
@given(SHAPES, PATTERNS, st.integers(0, 2**31), st.sampled_from([2, 4]))
def test_shared_positions_are_those_of_the_summed_score(shape, text, seed, outputs):
    pattern, score = NmPattern.parse(text), scores(shape, seed, 6)
    mask = nm_mask(score, pattern, f"share{outputs}").numpy()
    for start in range(0, shape[0], outputs):
        summed = score[start:start + outputs].numpy().sum(axis=0, keepdims=True)
        expected = slow_mask(summed, pattern.n, pattern.m)
        assert (mask[start:start + outputs] == expected).all()


@quick
@given(SHAPES, st.sampled_from(["1:2", "2:4", "4:8", "2:8", "3:4"]), st.integers(0, 2**31),
       st.integers(1, 5))
def test_tile_shares_pairs_and_keeps_the_best(shape, text, seed, tile_cols):
    pattern, score = NmPattern.parse(text), scores(shape, seed, 9)
    mask = nm_mask(score, pattern, "tile", tile_cols).numpy()
    padding = ((0, 0), (0, -shape[1] % pattern.m))
    kept = np.pad(mask, padding).reshape(shape[0], -1, pattern.m)
    value = np.pad(score.numpy(), padding).reshape(kept.shape)
    for start in range(0, shape[0], tile_cols):
        for group in range(kept.shape[1]):
            tile = kept[start:start + tile_cols, group]
            lanes = tile.reshape(len(tile), -1, 2).sum(-1)
            assert lanes.max(axis=0).sum() <= pattern.n  # slots; tails may leave one unused
            got = value[start:start + tile_cols, group][tile].sum()
            assert got == best_tile_value(value[start:start + tile_cols, group], pattern.n)
            if not padding[1][1]:
                assert (lanes == lanes[0]).all()
                assert lanes[0].sum() == pattern.n


@pytest.mark.parametrize("granularity", ["free", "share2", "share4", "tile"])
def test_every_full_group_keeps_exactly_n_even_of_zeros_and_negatives(granularity):
    for score in (torch.zeros(5, 32), torch.full((5, 32), -3.0)):
        mask = nm_mask(score, NmPattern(3, 8), granularity, tile_cols=4)
        assert (group_counts(mask.numpy(), 8) == 3).all()


def test_ties_go_to_the_lower_index_and_padding_is_never_kept_first():
    assert nm_mask(torch.ones(1, 4), NmPattern(2, 4)).tolist() == [[True, True, False, False]]
    assert nm_mask(torch.full((1, 6), -1.0), NmPattern(1, 4)).tolist() == [
        [True, False, False, False, True, False]]


def test_one_output_in_a_tile_is_free_of_the_tile():
    score = torch.rand(6, 64, generator=torch.Generator().manual_seed(3))
    pattern = NmPattern(3, 8)
    assert torch.equal(nm_mask(score, pattern, "tile", tile_cols=1), nm_mask(score, pattern))


@pytest.mark.parametrize("granularity", ["free", "share2", "tile"])
@pytest.mark.parametrize("text", ["dense", "8:8"])
def test_dense_keeps_everything(granularity, text):
    assert nm_mask(torch.rand(3, 13), NmPattern.parse(text), granularity).all()


@pytest.mark.parametrize(("score", "pattern", "options", "error", "message"), [
    (torch.ones(4), "2:4", {}, DataError, r"expected a floating-point score \[O, K\], not"),
    (torch.ones(4, 4, dtype=torch.int8), "2:4", {}, DataError, r"not torch.int8 \[4, 4\]"),
    (torch.tensor([[1.0, float("nan")]]), "1:2", {}, DataError, r"score\[0, 1\] is NaN"),
    (torch.ones(4, 4), "2:4", {"granularity": "shared"}, ConfigError, "one of free, share2"),
    (torch.ones(4, 4), "2:4", {"granularity": "tile", "tile_cols": 0}, ConfigError, "positive"),
    (torch.ones(4, 6), "1:3", {"granularity": "tile"}, ConfigError, "an even M, not 1:3"),
])
def test_bad_input_is_refused(score, pattern, options, error, message):
    with pytest.raises(error, match=message):
        nm_mask(score, NmPattern.parse(pattern), **options)


@pytest.fixture
def threads():
    """Let a test set the number of threads; put it back afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("granularity", ["free", "share4", "tile"])
def test_chunks_and_threads_leave_no_trace(granularity, threads):
    score = torch.rand(301, 1501, generator=torch.Generator().manual_seed(5))  # several chunks
    pattern, tile = NmPattern(3, 8), 32
    masks = []
    for count in (1, 3):
        threads(count)
        masks.append(nm_mask(score, pattern, granularity, tile))
    assert torch.equal(*masks)
    parts = [nm_mask(part, pattern, granularity, tile) for part in score.split(tile)]
    assert torch.equal(masks[0], torch.cat(parts))


@pytest.mark.parametrize("shape", [(0, 8), (3, 0)])
def test_nothing_has_an_empty_mask(shape):
    assert nm_mask(torch.ones(shape), NmPattern(2, 4)).shape == shape


def test_half_precision_is_ranked_exactly():
    score = scores((9, 24), 1, 50)
    assert torch.equal(nm_mask(score.bfloat16(), NmPattern(3, 8)), nm_mask(score, NmPattern(3, 8)))


def test_nan_is_named_by_its_place_in_the_whole_matrix():
    score = torch.ones(400, 1000)
    score[333, 777] = torch.nan
    with pytest.raises(DataError, match=r"score\[333, 777\] is NaN"):
        nm_mask(score, NmPattern(2, 4))
