"""FLOW: N from how many outliers a layer has, M from how clustered they are.

The published method (arXiv 2504.14365) as far as it is known; its objective is not, so the one
here is ours: ``docs/pruning.md`` says what is whose.
"""

import numpy as np

from cimforge.spec.errors import ConfigError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.select.budget import DENSE, Budget, Selection, listed

__all__ = ["MODES", "PUBLISHED_CANDIDATES", "flow", "line_candidates"]

#: The published kind of candidates; hardware that selects pairs has no others.
PUBLISHED_CANDIDATES = tuple(
    map(NmPattern.parse, ("1:1", "1:2", "2:4", "4:8", "1:4", "2:8", "1:8")))
#: Weight of the distance of N, and of M, by what has priority.
MODES = {"latency": (1.0, 4.0), "balanced": (1.0, 1.0), "accuracy": (4.0, 1.0)}


def line_candidates(m: int = 8) -> tuple[NmPattern, ...]:
    """Return N:m for every N, dense for N = m: what ``line`` hardware runs at no extra cost."""
    return (*(NmPattern(n, m) for n in range(1, m)), DENSE)


def _normalized(values: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Return values in 0..1 over the free layers; one half where all are equal, and elsewhere."""
    found, own = np.full(len(values), 0.5), values[free]
    if len(own) and np.ptp(own):
        found[free] = (own - own.min()) / np.ptp(own)
    return found


def _distance(difference: np.ndarray) -> np.ndarray:
    """Return ``|d|``, and a little of ``d^2``: many plans have the same sum of ``|d|``.

    Which of them comes out would be up to the solver; this takes the one that spreads what the
    target demands most evenly.
    """
    return np.abs(difference) + 1e-3 * difference ** 2


def flow(budget: Budget, presence: np.ndarray, locality: np.ndarray,
         mode: str = "balanced") -> Selection:
    """Choose N and M of every layer by its outliers.

    ``N* = 1 + 7 O`` and ``M* = 2**(1 + 2 D)`` with O and D normalized over the layers that are not
    excluded; the plan minimizes ``sum_l share_l (a |N - N*| + b |M - M*|)`` under the target. Dense
    counts as M:M with the candidates' largest M.

    Parameters
    ----------
    budget : Budget
    presence, locality : ndarray of float, shape (L,)
        O and D of every layer, `outlier_stats`; those of excluded layers are not looked at.
    mode : str
        ``"latency"`` (a < b), ``"balanced"`` (a = b) or ``"accuracy"`` (a > b, and no layer keeps
        fewer than N* where the target allows that).

    Raises
    ------
    ConfigError
        Another mode.
    """
    if mode not in MODES:
        raise ConfigError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    wanted_n = 1 + 7 * _normalized(presence, budget.free)
    wanted_m = 2 ** (1 + 2 * _normalized(locality, budget.free))
    # A dense layer keeps all of the largest group there is: M:M, though its plan says 1:1.
    top = max(pattern.m for pattern in budget.candidates)
    n, m = (np.array([top if pattern.n == pattern.m else getattr(pattern, side)
                      for pattern in budget.candidates], dtype=float) for side in "nm")
    a, b = MODES[mode]
    cost = budget.share[:, None] * (a * _distance(n - wanted_n[:, None])
                                    + b * _distance(m - wanted_m[:, None]))
    choice = None
    if mode == "accuracy":
        enough = (n >= wanted_n[:, None]) | ~budget.free[:, None]
        if enough.any(axis=1).all():
            choice = budget.solve(np.where(enough, cost, np.inf))
    if choice is None:
        choice = budget.solve(cost)
    assert choice is not None  # the budget alone is feasible
    return budget.selection(choice, "flow", mode=mode, presence=listed(presence),
                            locality=listed(locality), wanted_n=wanted_n.tolist(),
                            wanted_m=wanted_m.tolist())
