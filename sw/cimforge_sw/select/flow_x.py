"""FLOW-X: patterns by what they cost the model, measured end to end with all layers pruned.

Around a base plan, one layer at a time is made one level denser or sparser while all others stay
as they are, and the whole model's loss is measured. An exact knapsack turns these sensitivities
into the next plan; steps too long for them to add up are shortened. The best plan seen is kept, the
starting plans included, so that no other method wins on calibration text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cimforge.spec.errors import ConfigError
from cimforge_sw.blocks import Blocks
from cimforge_sw.objective import Objective
from cimforge_sw.select.budget import Budget, Selection
from cimforge_sw.select.knapsack import Limit
from cimforge_sw.variants import Variants

__all__ = ["flow_x"]

Progress = Callable[[int, int], None]


@dataclass
class _Search:
    """The plan so far, its loss, and the means to measure others."""

    budget: Budget
    variants: Variants
    objective: Objective
    limits: Sequence[Limit]

    def __post_init__(self):
        self.density = np.array([pattern.density for pattern in self.budget.candidates])
        self.measured: dict[bytes, float] = {}
        self.blocks = Blocks(self.variants.model.module)

    def loss(self, choice: np.ndarray) -> float:
        """Return the loss of a plan; plans seen before are not run again."""
        key = choice.tobytes()
        if key not in self.measured:
            self._apply(choice)
            self.measured[key] = self.objective.loss(self.variants.model.module)
        return self.measured[key]

    def _apply(self, choice: np.ndarray) -> None:
        for name, option in zip(self.budget.names, choice, strict=True):
            self.variants.set(name, self.budget.candidates[option])

    def neighbours(self, option: int) -> list[int]:
        """Return the other candidates of the same density and of the next ones up and down."""
        own = self.density[option]
        near = [own, max(self.density[self.density < own], default=own),
                min(self.density[self.density > own], default=own)]
        return [int(i) for i in np.flatnonzero(np.isin(self.density, near)) if i != option]

    def sensitivities(self, base: np.ndarray, progress: Progress | None) -> np.ndarray:
        """Return the change of the loss [L, P] by one layer's next candidate; infinite elsewhere.

        Blocks in front of a layer do not change with it, so their outputs are computed once.
        """
        start = self.loss(base)
        self._apply(base)
        change = np.full((len(base), len(self.budget.candidates)), np.inf)
        change[np.arange(len(base)), base] = 0.0
        module, states, at = self.variants.model.module, None, 0
        for index, name in enumerate(self.budget.names):
            block = self.blocks.index_of(name)
            if block != at:
                states = self.objective.states(module, block, at, states)
                at = block
            if name not in self.budget.exclude:
                for option in self.neighbours(int(base[index])):
                    self.variants.set(name, self.budget.candidates[option])
                    change[index, option] = self.objective.loss(module, at, states) - start
                self.variants.set(name, self.budget.candidates[base[index]])
            if progress is not None:
                progress(index + 1, len(base))
        return change

    def step(self, base: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Return the best plan found along shorter and shorter steps of the knapsack."""
        best, moves = base, len(base)
        stay = change == 0.0
        while moves >= 2:
            proposal = self.budget.solve(change, [
                *self.limits, Limit(np.where(stay, 0.0, 1.0), high=moves)])
            if proposal is None:
                break
            if self.loss(proposal) < self.loss(best):
                best = proposal
            moves = min(moves, int((proposal != base).sum())) // 2
        return best


def flow_x(budget: Budget, variants: Variants, objective: Objective,
           starts: Sequence[Selection], *, limits: Sequence[Limit] = (), rounds: int = 12,
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
    progress : callable(done, total), optional
        Called after each layer, in layers of all rounds.

    Raises
    ------
    ConfigError
        No start, or one with patterns that are no candidates.
    """
    if not starts:
        raise ConfigError("FLOW-X needs at least one plan to start from")
    search = _Search(budget, variants, objective, limits)
    bases = [_choice(budget, start) for start in starts]
    base = min(bases, key=search.loss)
    history = [{"loss": search.loss(base), "start": starts[
        next(i for i, other in enumerate(bases) if other is base)].method}]
    layers = len(base)
    for round_ in range(rounds):
        def count(done: int, _total: int, before: int = round_ * layers) -> None:
            if progress is not None:
                progress(before + done, rounds * layers)

        best = search.step(base, search.sensitivities(base, count))
        if best is base:
            break
        base = best
        history.append({"loss": search.loss(base)})
    if progress is not None:
        progress(rounds * layers, rounds * layers)
    return budget.selection(base, "flow-x", history=history, evaluations=len(search.measured))


def _choice(budget: Budget, start: Selection) -> np.ndarray:
    patterns = start.plan.resolve(budget.names)
    try:
        return np.array([budget.candidates.index(patterns[name]) if name not in budget.exclude
                         else 0 for name in budget.names])
    except ValueError:
        raise ConfigError(f"the plan of {start.method} has patterns that are no candidates of "
                          f"the search: {', '.join(map(str, budget.candidates))}") from None
