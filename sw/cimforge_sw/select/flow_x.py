"""FLOW-X: patterns by what they cost the model, measured end to end with all layers pruned.

Around a base plan, one layer at a time is made one level denser or sparser while all others stay
as they are, and the whole model's loss is measured. An exact knapsack turns these sensitivities
into the next plan; steps too long for them to add up are shortened. The best plan seen is kept, the
starting plans included, so that no other method wins on calibration text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cimforge.spec.errors import ConfigError
from cimforge_sw.objective import Objective
from cimforge_sw.select.budget import Budget, Selection
from cimforge_sw.select.journal import Journal
from cimforge_sw.select.knapsack import Limit
from cimforge_sw.variants import Variants

__all__ = ["flow_x"]

Progress = Callable[[int, int], None]
#: Of steps within several limits: what adds up only approximately need not be solved to the last
#: digit, and limits that are much alike would make that take minutes.
_GAP = 0.005


class _Search:
    """The means to measure plans, and what was measured; a plan is one candidate per layer [L]."""

    def __init__(self, budget: Budget, variants: Variants, objective: Objective,
                 limits: Sequence[Limit], journal: Journal):
        self.budget, self.variants, self.objective = budget, variants, objective
        self.limits, self.journal = limits, journal
        self.density = np.array([pattern.density for pattern in budget.candidates])
        self.blocks = objective.blocks(variants.model.module)
        self.useful = self._useful()

    def _useful(self) -> np.ndarray:
        """Return which candidates each layer may want, bool [L, P].

        Without a target, one is of no use where a denser one takes no more of any limit.
        """
        if not self.limits or self.budget.floor > 0:
            return np.ones((len(self.budget.shapes), len(self.density)), dtype=bool)
        use = np.stack([limit.use for limit in self.limits])  # [limits, L, P]
        no_more = np.all(use[:, :, None, :] <= use[:, :, :, None], axis=0)  # [L, P, denser]
        return np.logical_not(np.any(no_more & (self.density > self.density[:, None]), axis=2))

    def loss(self, choice: np.ndarray, prefix: "_Prefix | None" = None) -> float:
        """Return the loss of a plan; plans seen before are not run again."""
        key = ",".join(map(str, choice))
        if key not in self.journal.losses:
            start, states = prefix.states(self) if prefix else (0, None)
            self.apply(choice)
            self.journal.add(key, self.objective.loss(self.variants.model.module, start, states))
        return self.journal.losses[key]

    def apply(self, choice: np.ndarray) -> None:
        """Give every layer its pattern of a plan."""
        for name, option in zip(self.budget.names, choice, strict=True):
            if name not in self.budget.exclude:
                self.variants.set(name, self.budget.candidates[option])

    def neighbours(self, layer: int, option: int) -> list[int]:
        """Return a layer's other candidates of the same density and of the next up and down."""
        own, useful = self.density[option], self.useful[layer]
        dense = self.density[useful]
        near = [own, max(dense[dense < own], default=own), min(dense[dense > own], default=own)]
        return [int(i) for i in np.flatnonzero(np.isin(self.density, near) & useful)
                if i != option]

    def sensitivities(self, base: np.ndarray, count: Callable[[int], None]) -> np.ndarray:
        """Return the change of the loss [L, P] by one layer's next candidates; infinite elsewhere.

        Blocks in front of a layer do not change with it, so their outputs are computed once.
        """
        start = self.loss(base)
        change = np.full((len(base), len(self.budget.candidates)), np.inf)
        change[np.arange(len(base)), base] = 0.0
        prefix = _Prefix(base)
        for index, name in enumerate(self.budget.names):
            prefix.block = self.blocks.index_of(name)
            if name not in self.budget.exclude:
                for option in self.neighbours(index, int(base[index])):
                    plan = base.copy()
                    plan[index] = option
                    change[index, option] = self.loss(plan, prefix) - start
            count(index + 1)
        return change

    def step(self, base: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Return the best plan found along shorter and shorter steps of the knapsack."""
        best, moves = base, len(base)
        stay = np.arange(change.shape[1]) == base[:, None]
        gap = _GAP if len(self.limits) > 1 else 0.0
        while moves >= 2:
            proposal = self.budget.solve(change, [
                *self.limits, Limit(np.where(stay, 0.0, 1.0), high=moves)], gap)
            if proposal is None:
                break
            if self.loss(proposal) < self.loss(best):
                best = proposal
            moves = min(moves, int((proposal != base).sum())) // 2
        return best


@dataclass
class _Prefix:
    """Hidden states of the base plan in front of one block; computed when first wanted."""

    base: np.ndarray
    block: int = 0
    _at: int = 0
    _states: list[Tensor] | None = None

    def states(self, search: _Search) -> tuple[int, list[Tensor] | None]:
        """Return the block, and what it is given."""
        if self.block != self._at:
            search.apply(self.base)
            self._states = search.objective.states(search.variants.model.module, self.block,
                                                   self._at, self._states)
            self._at = self.block
        return self._at, self._states


def flow_x(budget: Budget, variants: Variants, objective: Objective,
           starts: Sequence[Selection], *, limits: Sequence[Limit] = (), rounds: int = 12,
           least_gain: float = 0.005, journal: Journal | None = None,
           progress: Progress | None = None) -> Selection:
    """Choose patterns by in-context sensitivities; the result is never worse than any start.

    Parameters
    ----------
    budget : Budget
        Candidates of any kind; neighbours are those next in density.
    variants : Variants
        A working copy of the model; left with the last plan tried.
    objective : Objective
        The loss to make small, on calibration text.
    starts : sequence of Selection
        Plans within the budget, such as `uniform_mixes`; the best one is the first base.
    limits : sequence of Limit
        Further budgets [L, P], such as cycles.
    rounds : int
        Most times that the sensitivities are measured.
    least_gain : float
        A round that makes the loss smaller by less than this share of it is the last one.
    journal : Journal, optional
        Keeps every loss measured, so that an interrupted search goes on.
    progress : callable(done, total), optional
        Called after each layer, in layers of all rounds.

    Raises
    ------
    ConfigError
        No start, or one with patterns that are no candidates, or beyond a limit.
    """
    if not starts:
        raise ConfigError("FLOW-X needs at least one plan to start from")
    search = _Search(budget, variants, objective, limits, journal or Journal())
    bases = [_choice(budget, start) for start in starts]
    _check_limits(budget, starts, bases, limits)
    first = min(range(len(bases)), key=lambda i: search.loss(bases[i]))
    base, layers = bases[first], len(budget.shapes)
    history = [search.loss(base)]
    for done in range(rounds):
        def count(layer: int, before: int = done * layers) -> None:
            if progress is not None:
                progress(before + layer, rounds * layers)

        best = search.step(base, search.sensitivities(base, count))
        base = best
        history.append(search.loss(base))
        if history[-2] - history[-1] <= least_gain * history[-2]:
            break
    if progress is not None:
        progress(rounds * layers, rounds * layers)
    return budget.selection(base, "flow-x", start=starts[first].method, losses=history,
                            evaluations=len(search.journal.losses))


def _choice(budget: Budget, start: Selection) -> np.ndarray:
    patterns = start.plan.resolve(budget.names)
    try:
        return np.array([budget.candidates.index(patterns[name]) if name not in budget.exclude
                         else 0 for name in budget.names])
    except ValueError:
        raise ConfigError(f"the plan of {start.method} has patterns that are no candidates of "
                          f"the search: {', '.join(map(str, budget.candidates))}") from None


def _check_limits(budget: Budget, starts: Sequence[Selection], bases: Sequence[np.ndarray],
                  limits: Sequence[Limit]) -> None:
    for start, base in zip(starts, bases, strict=True):
        for limit in limits:
            used = limit.use[np.arange(len(base)), base].sum()
            if not limit.low <= used <= limit.high:
                raise ConfigError(f"the plan of {start.method} to start from uses {used:.6g}, "
                                  f"outside {limit.low:.6g} .. {limit.high:.6g}")
        if budget.pruned_by(base) < budget.floor:
            raise ConfigError(f"the plan of {start.method} to start from prunes less than the "
                              f"target {budget.target:.4g}")
