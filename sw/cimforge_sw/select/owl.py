"""OWL-style selection: N varies with the layers' outliers, M is the same for all."""

import numpy as np

from cimforge.spec.errors import ConfigError
from cimforge_sw.select.budget import Budget, Selection, listed

__all__ = ["check_one_m", "owl"]


def check_one_m(budget: Budget) -> None:
    """Refuse candidates of more than one M with a ConfigError; dense (1:1) may be among them."""
    if len({pattern.m for pattern in budget.candidates if pattern.m > 1}) > 1:
        raise ConfigError("OWL keeps M fixed; expected candidates of one M, not "
                          f"{', '.join(map(str, budget.candidates))}")


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
        Share of outliers of every layer; those of excluded layers are not looked at.
    spread : float
        OWL's lambda, 0.08 in its paper.

    Raises
    ------
    ConfigError
        Candidates of more than one M, or a negative spread.
    """
    check_one_m(budget)
    if spread < 0:
        raise ConfigError(f"spread must be at least 0, not {spread!r}")
    own, ratio = presence[budget.free], np.zeros(len(presence))
    if len(own) and np.ptp(own):
        ratio[budget.free] = (own - own.min()) / np.ptp(own) * 2 * spread
    density = 1 - budget.target + ratio - (ratio * budget.share).sum()
    kept = np.array([pattern.density for pattern in budget.candidates])
    choice = budget.solve(budget.share[:, None] * (kept - density[:, None]) ** 2)
    assert choice is not None  # the budget alone is feasible
    return budget.selection(choice, "owl", presence=listed(presence), density=density.tolist(),
                            spread=spread)
