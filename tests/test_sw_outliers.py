"""Outlier statistics: equal to a slow statement of them; locality sees clusters, not numbers."""

import numpy as np
import pytest
import torch

from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.outliers import outlier_stats


def with_outliers(places, shape=(64, 256)):
    """Return a weight of small values with large ones at the flat places."""
    generator = torch.Generator().manual_seed(2)
    weight = 0.5 + torch.rand(shape, generator=generator)
    weight.view(-1)[torch.as_tensor(places, dtype=torch.int64)] = 100.0
    return weight


def slow_stats(weight, norm, threshold, m):
    """Restate O, D and the count, group by group in Python."""
    score = weight.double().abs() * norm.double()
    outlier = score > threshold * score.mean()
    full = outlier[:, :weight.shape[1] // m * m]
    counts = full.reshape(-1, m).sum(dim=1).tolist()
    total = sum(counts)
    if total < 2 or total == full.numel():
        return float(outlier.double().mean()), 0.0, int(outlier.sum())
    together = sum(c * (c - 1) for c in counts) / (total * (m - 1))
    share = total / full.numel()
    return (float(outlier.double().mean()), max(0.0, (together - share) / (1 - share)),
            int(outlier.sum()))


@pytest.mark.parametrize("m", [2, 3, 4, 8, 16, 255])
@pytest.mark.parametrize(("shape", "threshold"), [((7, 41), 1.5), ((1, 8), 0.5), ((3, 1), 1.0),
                                                  ((400, 777), 2.0), ((40, 256), 0.5)])
def test_equals_the_slow_statement(shape, threshold, m):
    generator = torch.Generator().manual_seed(sum(shape) + m)
    weight = torch.randn(shape, generator=generator) ** 3
    norm = torch.rand(shape[1], generator=generator)
    got = outlier_stats(weight, norm, threshold, m)
    assert (got.presence, got.locality, got.outliers) == pytest.approx(
        slow_stats(weight, norm, threshold, m), abs=1e-12)


def test_locality_tells_clusters_from_scatter_at_equal_presence():
    rng = np.random.default_rng(11)
    norm = torch.ones(256)
    count = 64 * 256 // 32
    scattered = with_outliers(rng.choice(64 * 256, count, replace=False))
    runs = rng.choice(64 * 256 // 4, count // 4, replace=False)  # four neighbours at a time
    clustered = with_outliers((4 * runs[:, None] + np.arange(4)).ravel())
    few, many = outlier_stats(scattered, norm), outlier_stats(clustered, norm)
    assert few.outliers == many.outliers == count
    assert few.presence == many.presence == 1 / 32
    assert few.locality < 0.05
    assert 0.35 < many.locality < 0.5  # an outlier sees three others among seven
    assert many.locality > 2 * few.locality


def test_locality_of_scatter_does_not_grow_with_presence():
    rng = np.random.default_rng(3)
    for share in (64, 16, 6):
        weight = with_outliers(rng.choice(512 * 512, 512 * 512 // share, replace=False),
                               (512, 512))
        assert outlier_stats(weight, torch.ones(512)).locality < 0.01


def test_full_groups_are_fully_local_and_one_in_each_group_is_not():
    groups = np.arange(0, 64 * 256, 8 * 16)
    norm = torch.ones(256)
    whole = with_outliers((groups[:, None] + np.arange(8)).ravel())
    assert outlier_stats(whole, norm).locality == pytest.approx(1.0)
    assert outlier_stats(with_outliers(groups), norm).locality == 0.0


def test_clusters_run_along_the_inputs_only():
    column = with_outliers(np.arange(64) * 256 + 9)
    assert outlier_stats(column, torch.ones(256)).locality == 0.0


def test_the_norm_of_an_input_makes_outliers():
    norm = torch.ones(32)
    norm[8:16] = 20.0
    got = outlier_stats(torch.ones(10, 32), norm)
    assert (got.presence, got.locality, got.outliers) == (0.25, 1.0, 80)


@pytest.mark.parametrize("places", [[], [5]])
def test_fewer_than_two_outliers_have_no_locality(places):
    got = outlier_stats(with_outliers(places), torch.ones(256))
    assert (got.outliers, got.locality) == (len(places), 0.0)


def test_where_everything_is_an_outlier_nothing_is_local():
    got = outlier_stats(torch.ones(4, 16), torch.ones(16), threshold=0.5)
    assert (got.presence, got.locality) == (1.0, 0.0)


def test_all_zero_and_empty_layers_have_none():
    for weight in (torch.zeros(4, 16), torch.ones(0, 16)):
        got = outlier_stats(weight, torch.ones(16))
        assert (got.presence, got.locality, got.outliers) == (0.0, 0.0, 0)


def test_threads_types_and_strides_do_not_matter():
    weight = (torch.randn(300, 1000, generator=torch.Generator().manual_seed(8)) ** 3).bfloat16()
    norm, before = torch.ones(1000), torch.get_num_threads()
    want = outlier_stats(weight.float(), norm)
    assert want.locality < 0.01 < want.presence
    try:
        torch.set_num_threads(1)
        assert outlier_stats(weight, norm) == want
        torch.set_num_threads(3)
        assert outlier_stats(weight.T.contiguous().T, norm) == want
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_unusable_weights_are_named(value):
    weight = torch.ones(400, 1000)
    weight[333, 777] = value
    with pytest.raises(DataError, match=rf"weight\[333, 777\] is {value}; expected finite"):
        outlier_stats(weight, torch.ones(1000))


def test_weights_beyond_the_scale_are_refused():
    with pytest.raises(DataError, match=r"rows 0\.\.8 of the weight add up to more than float32"):
        outlier_stats(torch.full((9, 8), 3e38), torch.ones(8))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_unusable_norms_are_named(value):
    norm = torch.ones(8)
    norm[5] = value
    with pytest.raises(DataError, match=rf"norm\[5\] is {value}"):
        outlier_stats(torch.ones(2, 8), norm)


@pytest.mark.parametrize(("options", "message"), [
    ({"threshold": 0.0}, "threshold must be positive, not 0.0"),
    ({"threshold": float("nan")}, "threshold must be positive, not nan"),
    ({"m": 1}, "groups of 2 to 255 inputs, not 1"),
    ({"m": 256}, "groups of 2 to 255 inputs, not 256"),
])
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        outlier_stats(torch.ones(2, 8), torch.ones(8), **options)


def test_norms_of_another_layer_are_refused():
    with pytest.raises(DataError, match=r"not \[4, 8\] and \[4\]"):
        outlier_stats(torch.ones(4, 8), torch.ones(4))
