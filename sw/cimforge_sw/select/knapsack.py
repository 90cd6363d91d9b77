"""The one integer program behind every selection: choose one option per layer, exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, kron

from cimforge.spec.errors import DataError, ToolError
from cimforge_sw.solver_output import no_solver_output

__all__ = ["Limit", "choose"]

_STATUS = {1: "ran into an iteration or time limit", 3: "found the problem unbounded",
           4: "failed numerically"}


@dataclass(frozen=True, eq=False)
class Limit:
    """Bounds on what the options chosen use up in total.

    Parameters
    ----------
    use : ndarray of float, shape (L, P)
        Of every option of every layer; infinite where it is not to be had.
    low, high : float
        The total stays in ``low .. high``; either may be infinite.
    """

    use: np.ndarray
    low: float = -np.inf
    high: float = np.inf


def choose(cost: np.ndarray, limits: Sequence[Limit] = (), gap: float = 0.0) -> np.ndarray | None:
    """Choose one option per layer so that the costs add up to the least (multiple-choice knapsack).

    Parameters
    ----------
    cost : ndarray of float, shape (L, P)
        Infinite where an option is not to be had.
    limits : sequence of Limit
    gap : float
        How far the total may be from the least, as a share of it.

    Returns
    -------
    ndarray of int64, shape (L,), or None
        The options; None where no choice keeps to the limits. With a gap of 0 optimal, not
        approximately so; that can take long with several limits that are much alike.

    Raises
    ------
    DataError
        A layer without any option.
    ToolError
        The solver (HiGHS) gave up.
    """
    layers, options = cost.shape
    allowed = np.isfinite(cost)
    for limit in limits:
        allowed &= np.isfinite(limit.use)
    if not allowed.any(axis=1).all():
        raise DataError(f"layer {int((~allowed.any(axis=1)).argmax())} has no option to choose")
    one_each = kron(csr_array(np.eye(layers)), csr_array(np.ones((1, options))))
    constraints = [LinearConstraint(one_each, 1, 1)]
    for limit in limits:
        size = max(np.abs(limit.use[allowed]).max(), 1e-30)  # HiGHS is at its best near 1
        constraints.append(LinearConstraint(np.where(allowed, limit.use, 0).reshape(1, -1) / size,
                                            limit.low / size, limit.high / size))
    span = np.abs(cost[allowed]).max() or 1.0
    with no_solver_output():
        result = milp(np.where(allowed, cost, 0).ravel() / span, constraints=constraints,
                      integrality=np.ones(cost.size),
                      bounds=Bounds(0, allowed.ravel().astype(float)),
                      options={"mip_rel_gap": gap})
    if result.status == 2:
        return None
    if result.status != 0:
        reason = _STATUS.get(result.status, f"ended with status {result.status}")
        raise ToolError(f"the solver of the selection (HiGHS) {reason}: {result.message}")
    return result.x.reshape(layers, options).argmax(axis=1)
