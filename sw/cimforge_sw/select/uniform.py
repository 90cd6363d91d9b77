"""One pattern for all layers; where none hits the target, the two next to it by whole layers."""

import numpy as np

from cimforge.spec.errors import DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.select.budget import DENSE, Budget, Selection

__all__ = ["uniform_mixes"]


def _orders(count: int) -> dict[str, np.ndarray]:
    """Return the orders in which layers are made sparser."""
    forward = np.arange(count)
    golden = (forward * 0.6180339887498949) % 1.0
    return {"first": forward, "last": forward[::-1], "spread": np.argsort(golden, kind="stable")}


def uniform_mixes(budget: Budget) -> list[Selection]:
    """Return the uniform plans at a target: one where a pattern hits it, or mixes of two levels.

    Parameters
    ----------
    budget : Budget
        Its candidates with one M (such as N:8), and dense, are the levels; others are ignored. Of
        several M it is the largest whose levels reach the target.

    Returns
    -------
    list of Selection
        A single plan where one level prunes exactly the target. Otherwise the first layers, the
        last ones, or layers spread over the model get the sparser of the two adjacent levels, until
        the target is met; the excess may be a layer's worth, beyond the budget's slack. Which is
        best, a score on calibration text says.

    Raises
    ------
    DataError
        No M whose levels reach the target, though a mixture of several does.
    """
    levels = _levels(budget)
    pruned = budget.pruned[:, levels].sum(axis=0)
    below = int(np.searchsorted(pruned, budget.floor, side="right")) - 1
    whole = np.full(len(budget.shapes), levels[max(below, 0)])
    if below < 0 or pruned[below] == budget.floor:
        return [_selection(budget, whole, budget.candidates[levels[max(below, 0)]])]
    made = []
    for name, order in _orders(len(whole)).items():
        choice = whole.copy()
        for layer in order:
            if budget.pruned_by(choice) >= budget.floor:
                break
            choice[layer] = levels[below + 1]
        made.append(_selection(budget, choice, name))
    return made


def _levels(budget: Budget) -> list[int]:
    """Return the candidates of the largest M that reaches the target, the densest first."""
    for m in sorted({pattern.m for pattern in budget.candidates}, reverse=True):
        levels = [i for i, p in enumerate(budget.candidates) if p.m == m or p == DENSE]
        levels.sort(key=lambda i: -budget.candidates[i].density)
        if budget.pruned[:, levels[-1]].sum() >= budget.floor:
            return levels
    raise DataError(f"no uniform pattern of {', '.join(map(str, budget.candidates))} prunes "
                    f"{budget.target:.4g} of the weights; take another method or candidates")


def _selection(budget: Budget, choice: np.ndarray, what: str | NmPattern) -> Selection:
    return budget.selection(choice, "uniform", what=str(what))
