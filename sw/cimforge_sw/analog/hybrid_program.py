"""The integer program behind the hybrid mapping, solved exactly by HiGHS."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from cimforge.spec.errors import ToolError
from cimforge_sw.analog.options import Fixed, Pooled, Shelf
from cimforge_sw.solver_output import no_solver_output

__all__ = ["Choice", "Kind", "Program"]

_INFEASIBLE = 2
_STATUS = {1: "ran into an iteration or time limit", _INFEASIBLE: "found no mapping at all",
           3: "found the problem unbounded", 4: "failed numerically"}


@dataclass(frozen=True, eq=False)
class Kind:
    """Equal units: how many, and what each can do."""

    count: int
    fixed: Sequence[Fixed]
    pooled: Sequence[Pooled]


@dataclass(frozen=True, eq=False)
class Choice:
    """What the program found.

    Attributes
    ----------
    cost : float
    arrays : int
    fixed, pooled : list of list of int
        Of every kind of unit and option, how many units take it.
    shelves : dict of Shelf to int
        Arrays of each shelf in use.
    """

    cost: float
    arrays: int
    fixed: list[list[int]]
    pooled: list[list[int]]
    shelves: dict[Shelf, int]


@dataclass
class _Rows:
    """Linear constraints as they are written down."""

    entries: list[tuple[int, int, float]] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def add(self, terms: list[tuple[int, float]], low: float = -np.inf, high: float = np.inf
            ) -> None:
        self.entries += [(len(self.low), variable, factor) for variable, factor in terms]
        self.low.append(low)
        self.high.append(high)


class Program:
    """Choose an option for every unit; arrays of a shelf are shared by all units on it.

    Every shelf lies in one segment of sizes, within which no unit's cost changes. Units count by
    option and segment; the cost of a pooled option is at least that of each of its shelves.

    Parameters
    ----------
    kinds : sequence of Kind
    """

    def __init__(self, kinds: Sequence[Kind]):
        self.kinds = kinds
        # HiGHS is at its best near 1; every kind of unit has a fixed option.
        self._scale = max(option.cost for kind in kinds for option in kind.fixed) or 1.0
        self._whole: list[bool] = []  # variables that are integers
        self._upper: list[float] = []
        self._rows = _Rows()
        self._arrays: list[tuple[int, float]] = []  # arrays in use
        self._cost: list[tuple[int, float]] = []
        self._size: dict[Shelf, int] = {}
        self._use: dict[Shelf, list[tuple[int, float]]] = {}
        self._segments = self._shelves()
        self._fixed: list[list[int]] = []
        self._pooled: list[list[list[int]]] = []
        for kind in kinds:
            self._unit(kind)
        for shelf, terms in self._use.items():
            self._rows.add([*terms, (self._size[shelf], -float(shelf.room))], high=0)

    def _variable(self, upper: float, whole: bool = True) -> int:
        self._whole.append(whole)
        self._upper.append(upper)
        return len(self._whole) - 1

    def _shelves(self) -> dict[Shelf, list[tuple[int, int]]]:
        """Add the size of every shelf and its segments; return (first size, variable) of these."""
        most: dict[Shelf, int] = {}
        starts: dict[Shelf, set[int]] = {}
        for kind in self.kinds:
            for option in kind.pooled:
                for shelf, pieces in option.pieces.items():
                    most[shelf] = most.get(shelf, 0) + pieces * kind.count
                    starts.setdefault(shelf, {0}).update(s for s, _ in option.levels[shelf])
        segments = {}
        for shelf, sizes in starts.items():
            size = self._size[shelf] = self._variable(most[shelf])
            self._arrays.append((size, 1.0))
            self._use[shelf] = []
            begins = sorted(s for s in sizes if s <= most[shelf])
            ends = [*(begin - 1 for begin in begins[1:]), most[shelf]]
            inside = [self._variable(1) for _ in begins]
            self._rows.add([(v, 1.0) for v in inside], 1, 1)
            for bounds, low, high in ((begins, 0.0, np.inf), (ends, -np.inf, 0.0)):
                self._rows.add([(size, 1.0), *((v, -float(bound)) for v, bound in
                                               zip(inside, bounds, strict=True))], low, high)
            segments[shelf] = list(zip(begins, inside, strict=True))
        return segments

    def _unit(self, kind: Kind) -> None:
        total: list[tuple[int, float]] = []
        self._fixed.append([])
        self._pooled.append([])
        for option in kind.fixed:
            units = self._variable(kind.count)
            self._fixed[-1].append(units)
            self._arrays.append((units, float(option.arrays)))
            self._cost.append((units, option.cost / self._scale))
            total.append((units, 1.0))
        for pooled in kind.pooled:
            first = self._on_shelves(kind.count, pooled)
            self._pooled[-1].append(first)
            total += [(units, 1.0) for units in first]
        self._rows.add(total, kind.count, kind.count)

    def _on_shelves(self, count: int, option: Pooled) -> list[int]:
        """Add the units that take a pooled option; return those of one shelf, by segment."""
        stages = len(next(iter(option.levels.values()))[0][1])
        slowest = [self._variable(np.inf, whole=False) for _ in range(stages)]
        self._cost += [(stage, 1.0) for stage in slowest]
        first: list[int] = []
        for shelf, levels in option.levels.items():
            units, costs = [], []
            for begin, inside in self._segments[shelf][1:]:  # the first segment has no arrays
                units.append(self._variable(count))
                self._rows.add([(units[-1], 1.0), (inside, -float(count))], high=0)
                costs.append([cost for size, cost in levels if size <= begin][-1])
            self._use[shelf] += [(v, float(option.pieces[shelf])) for v in units]
            for stage, variable in enumerate(slowest):
                self._rows.add([(variable, 1.0), *((v, -cost[stage] / self._scale) for v, cost
                                                   in zip(units, costs, strict=True))], low=0)
            if first:
                self._rows.add([*((v, 1.0) for v in first), *((v, -1.0) for v in units)], 0, 0)
            first = first or units
        return first

    def least_arrays(self) -> int:
        """Return the fewest arrays that any choice takes.

        Raises
        ------
        ToolError
            The solver gave up.
        """
        return round(_solved(self._minimum(self._arrays, [])) @ self._dense(self._arrays))

    def solve(self, budget: int) -> Choice | None:
        """Return the cheapest choice within ``budget`` arrays, and of these one of fewest arrays.

        None if no choice takes so few arrays.

        Raises
        ------
        ToolError
            The solver gave up.
        """
        limit = (self._arrays, float(budget))
        cost = self._dense(self._cost)
        cheapest = self._minimum(self._cost, [limit])
        if cheapest.status == _INFEASIBLE:
            return None
        best = float(_solved(cheapest) @ cost)
        # What is beyond rounding counts as more expensive.
        x = _solved(self._minimum(self._arrays, [limit, (self._cost, best * (1 + 1e-7))]))

        def units(variables: list[int]) -> int:
            return round(sum(x[variables]))

        return Choice(
            float(x @ cost) * self._scale, round(float(x @ self._dense(self._arrays))),
            [[units([option]) for option in options] for options in self._fixed],
            [[units(option) for option in options] for options in self._pooled],
            {shelf: round(x[size]) for shelf, size in self._size.items() if round(x[size])})

    def _dense(self, terms: list[tuple[int, float]]) -> np.ndarray:
        row = np.zeros(len(self._whole))
        for variable, factor in terms:
            row[variable] += factor
        return row

    def _minimum(self, objective: list[tuple[int, float]],
                 limits: list[tuple[list[tuple[int, float]], float]]) -> Any:
        row, column, value = zip(*self._rows.entries, strict=True)
        shape = len(self._rows.low), len(self._whole)
        constraints = [LinearConstraint(coo_array((value, (row, column)), shape).tocsr(),
                                        self._rows.low, self._rows.high)]
        constraints += [LinearConstraint(self._dense(terms)[None], -np.inf, high)
                        for terms, high in limits]
        goal = self._dense(objective)
        with no_solver_output():
            return milp(goal / (np.abs(goal).max() or 1.0), constraints=constraints,
                        integrality=np.array(self._whole, dtype=int),
                        bounds=Bounds(0, np.array(self._upper)), options={"mip_rel_gap": 0.0})


def _solved(result: Any) -> np.ndarray:
    """Return the variables that the solver found."""
    if result.status != 0:
        reason = _STATUS.get(result.status, f"ended with status {result.status}")
        raise ToolError(f"the solver of the hybrid mapping (HiGHS) {reason}: {result.message}")
    return result.x
