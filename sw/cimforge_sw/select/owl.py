"""OWL-style selection: N varies with the layers' outliers, M is the same for all."""

import numpy as np

from cimforge.spec.errors import ConfigError
from cimforge_sw.select.budget import Budget, Selection

__all__ = ["owl"]


def owl(budget: Budget, presence: np.ndarray, spread: float = 0.08) -> Selection:
    """Choose N of N:M by outlier presence, as OWL (arXiv 2310.05175) chooses ratios.

    The density that OWL gives a layer lies within ``spread`` of the average and grows linearly
    with its share of outliers; rounding to N/M under the target is ours (least squared distance,
    weighted by parameters).

    Parameters
    ----------
    budget : Budget
        Candidates of one M; dense (1:1) may be among them.
    presence : ndarray of float, shape (L,)
        Share of outliers of every layer.
    spread : float
        OWL's lambda, 0.08 in its paper.

    Raises
    ------
    ConfigError
        Candidates of more than one M, or a negative spread.
    """
    if len({pattern.m for pattern in budget.candidates if pattern.m > 1}) > 1:
        raise ConfigError("OWL keeps M fixed; expected candidates of one M, not "
                          f"{', '.join(map(str, budget.candidates))}")
    if spread < 0:
        raise ConfigError(f"spread must be at least 0, not {spread!r}")
    width = np.ptp(presence)
    ratio = (presence - presence.min()) / width * 2 * spread if width else 0 * presence
    density = 1 - budget.target + ratio - (ratio * budget.share).sum()
    kept = np.array([pattern.density for pattern in budget.candidates])
    choice = budget.solve(budget.share[:, None] * (kept - density[:, None]) ** 2)
    assert choice is not None  # the budget alone is feasible
    return budget.selection(choice, "owl", presence=presence.tolist(), density=density.tolist(),
                            spread=spread)
