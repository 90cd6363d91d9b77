"""How a plan spreads its weights over the layers, and whether it follows their outliers."""

from collections.abc import Mapping, Sequence

import numpy as np

from cimforge.spec.pattern import NmPattern

__all__ = ["plan_shape"]


def plan_shape(patterns: Mapping[str, NmPattern], presence: Sequence[float],
               locality: Sequence[float]) -> dict[str, str | float]:
    """Describe a plan in figures.

    Parameters
    ----------
    patterns : dict of str to NmPattern
        Of every layer.
    presence, locality : sequence of float
        O and D of the same layers, in the same order.

    Returns
    -------
    dict
        ``plan`` (``"4:8 3:8 ..."``), ``least`` and ``most`` N/M, ``spread`` (standard deviation of
        N/M over the layers), and Spearman's coefficients ``rank_presence`` and ``rank_locality``
        between N/M and O, D; 0 where one of the two does not vary.
    """
    kept = np.array([pattern.density for pattern in patterns.values()])
    return {"plan": " ".join(map(str, patterns.values())), "least": float(kept.min()),
            "most": float(kept.max()), "spread": float(kept.std()),
            "rank_presence": _rank_correlation(kept, presence),
            "rank_locality": _rank_correlation(kept, locality)}


def _rank_correlation(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    from scipy.stats import rankdata

    first, second = rankdata(a), rankdata(b)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
