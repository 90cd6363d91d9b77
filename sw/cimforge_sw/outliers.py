"""Outliers of a layer's Wanda scores: how many there are, and how closely they sit together."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.rows import map_rows

__all__ = ["OutlierStats", "outlier_stats"]


@dataclass(frozen=True)
class OutlierStats:
    """Outliers of one layer.

    Parameters
    ----------
    presence : float
        O, their share of the layer's weights.
    locality : float
        D, 0 where they are scattered and 1 where they fill whole groups.
    outliers : int
        How many.
    """

    presence: float
    locality: float
    outliers: int


def outlier_stats(weight: Tensor, norm: Tensor, threshold: float = 3.0,
                  m: int = 8) -> OutlierStats:
    """Count the weights whose score stands out, and measure how they cluster along the inputs.

    A weight is an outlier if ``S > threshold * mean(S)``, ``S = |W| * norm``. With ``c_g`` of them
    in group g of m consecutive inputs, and p their share::

        q = sum c (c - 1) / (sum c (m - 1))        D = max(0, (q - p) / (1 - p))

    q is the chance that another weight of an outlier's group is one, too. Scattered outliers have
    q = p whatever their number, so D = 0; where they fill their groups q = 1 and D = 1. D is thus
    the intraclass correlation of "is an outlier" within groups, and independent of O, which a mean
    distance between outliers is not. Inputs after the last full group count for O only.

    The layer is read twice in chunks of rows; no copy of it is made.

    Parameters
    ----------
    weight : Tensor of floating point, shape (O, K)
        Computed with in float32.
    norm : Tensor of float32, shape (K,)
        Norm of every input channel, `LayerStats.norm`.
    threshold : float
        In units of the mean score; positive.
    m : int
        Inputs per group, from 2 to 255.

    Returns
    -------
    OutlierStats
        D is 0 for fewer than two outliers in full groups, or where every weight is one.

    Raises
    ------
    ConfigError
        ``threshold`` or ``m`` out of range.
    DataError
        Shapes that do not belong together, NaN, infinite or negative values.
    """
    _check(weight, norm, threshold, m)
    outputs, inputs = weight.shape
    norms = norm.detach().float().numpy()
    # The mean needs no scores: sum_j norm_j * sum_i |W_ij|.
    total = sum(map_rows(lambda a, b: _score_sum(weight, norms, a, b), outputs, inputs))
    limit = np.float32(threshold * total / max(weight.numel(), 1))
    parts = map_rows(lambda a, b: _count(weight, norms, limit, m, a, b), outputs, inputs)
    counts = np.array(parts, dtype=np.int64).reshape(-1, 3).sum(axis=0)
    outliers, grouped, pairs = counts.tolist()
    return OutlierStats(outliers / max(weight.numel(), 1),
                        _locality(grouped, pairs, outputs * (inputs // m * m), m), outliers)


def _check(weight: Tensor, norm: Tensor, threshold: float, m: int) -> None:
    if not threshold > 0:
        raise ConfigError(f"the outlier threshold must be positive, not {threshold!r}")
    if not 2 <= m <= 255:
        raise ConfigError(f"locality needs groups of 2 to 255 inputs, not {m!r}")
    if weight.ndim != 2 or norm.shape != weight.shape[1:]:
        raise DataError(f"expected weight [O, K] and norm [K], not {list(weight.shape)} "
                        f"and {list(norm.shape)}")
    bad = (~(torch.isfinite(norm) & (norm >= 0))).nonzero()
    if len(bad):
        raise DataError(f"norm[{int(bad[0])}] is {float(norm[bad[0]])}; "
                        "expected finite norms that are not negative")


def _magnitudes(weight: Tensor, first: int, last: int) -> np.ndarray:
    """Return |W| of some rows in float32, in memory of its own."""
    rows = weight[first:last].detach()
    return np.abs((rows if rows.dtype == torch.float32 else rows.float()).numpy(), order="C")


def _score_sum(weight: Tensor, norms: np.ndarray, first: int, last: int) -> float:
    """Return the sum of the scores of some rows; here NaN and infinity are found."""
    magnitudes = _magnitudes(weight, first, last)
    with np.errstate(over="ignore"):
        columns = magnitudes.sum(axis=0)
    if not np.isfinite(columns).all():
        bad = np.argwhere(~np.isfinite(magnitudes))
        if not len(bad):
            raise DataError(f"rows {first}..{last - 1} of the weight add up to more than float32 "
                            "holds")
        row, col = bad[0].tolist()
        raise DataError(f"weight[{first + row}, {col}] is {float(weight[first + row, col])}; "
                        "expected finite weights")
    # Not a dot product: BLAS would start threads of its own inside each of ours.
    return float(np.multiply(columns, norms, dtype=np.float64).sum())


def _count(weight: Tensor, norms: np.ndarray, limit: np.float32, m: int, first: int,
           last: int) -> tuple[int, int, int]:
    """Return outliers, those in full groups, and sum c (c - 1) of some rows."""
    scores = _magnitudes(weight, first, last)
    scores *= norms
    above = scores > limit
    outliers = int(np.count_nonzero(above))
    full = above.shape[1] // m * m
    if not full:
        return outliers, 0, 0
    if full < above.shape[1]:
        above = np.ascontiguousarray(above[:, :full])
    if m == 8:  # the bits of eight bytes that are 0 or 1: twice as fast as adding columns
        counts = np.bitwise_count(above.view(np.uint64)).reshape(-1)
    else:
        groups = above.view(np.uint8).reshape(-1, m)
        counts = groups[:, 0].copy()
        for place in range(1, m):
            counts += groups[:, place]
    # How many groups hold 0, 1, 2, ... outliers: sums over them are exact and short.
    counted = np.bincount(counts, minlength=1)
    sizes = np.arange(len(counted))
    return outliers, int(counted @ sizes), int(counted @ (sizes * (sizes - 1)))


def _locality(outliers: int, pairs: int, weights: int, m: int) -> float:
    """Return D from sum c, sum c (c - 1) and the weights in full groups."""
    if outliers < 2 or outliers == weights:
        return 0.0
    together, share = pairs / (outliers * (m - 1)), outliers / weights
    return max(0.0, (together - share) / (1 - share))
