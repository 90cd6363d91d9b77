"""The target of a selection: how many weights may stay, counted exactly, over all that count."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.plan import Plan
from cimforge_sw.select.knapsack import Limit, choose

__all__ = ["DENSE", "Budget", "Selection", "check_target", "is_number", "kept_weights", "listed"]

DENSE = NmPattern(1, 1)


def is_number(value: object) -> bool:
    """Tell whether a caller gave a real number, and no text or truth value."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_target(target: float) -> None:
    """Refuse a sparsity target that is no share with a ConfigError."""
    if not is_number(target) or not 0 <= target < 1:
        raise ConfigError(f"the sparsity target must be a number in 0 .. 1, not {target!r}")


def kept_weights(outputs: int, inputs: int, pattern: NmPattern) -> int:
    """Return how many of [outputs, inputs] weights stay; the last group may be short."""
    groups, tail = divmod(inputs, pattern.m)
    return outputs * (groups * pattern.n + min(pattern.n, tail))


def listed(values: np.ndarray) -> list[float | None]:
    """Return values as JSON has them; None for those of layers without any (NaN)."""
    return [None if math.isnan(value) else value for value in values.tolist()]


@dataclass(frozen=True, eq=False)
class Selection:
    """A plan, and how it came about.

    Parameters
    ----------
    plan : Plan
        Every layer by name.
    method : str
    target, sparsity : float
        What was asked for, and what the plan prunes, of all weights that count.
    details : dict
        What the method saw and did, by name; JSON types only.
    """

    plan: Plan
    method: str
    target: float
    sparsity: float
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def excess(self) -> float:
        """Sparsity beyond the target, at least 0."""
        return self.sparsity - self.target


@dataclass(frozen=True, eq=False)
class Budget:
    """A sparsity target over layers of known shapes, for a set of candidate patterns.

    Parameters
    ----------
    shapes : mapping of str to (outputs, inputs)
        Every layer that counts.
    candidates : sequence of NmPattern
        Each at most once.
    target : float
        Least share of weights pruned, of all weights of ``shapes``; 0 to less than 1.
    exclude : sequence of str
        Layers that stay dense; their weights count all the same.
    slack : float
        How far sparsity may exceed the target where it need not. The sizes of layers may force
        more than that; then the least possible is allowed. One per mille by default: the least
        possible alone would often leave a single plan, however bad.

    Raises
    ------
    ConfigError
        A target outside 0..1, no candidates, repeated ones, or a negative slack.
    DataError
        No layers, an excluded layer that is none, or a target out of reach: the message names the
        nearest one that can be reached.
    """

    shapes: Mapping[str, tuple[int, int]]
    candidates: Sequence[NmPattern]
    target: float
    exclude: Sequence[str] = ()
    slack: float = 1e-3

    def __post_init__(self):
        check_target(self.target)
        if not self.candidates or len(set(self.candidates)) < len(self.candidates):
            raise ConfigError("expected different candidate patterns, not "
                              f"{', '.join(map(str, self.candidates)) or 'none'}")
        if self.slack < 0:
            raise ConfigError(f"slack must be at least 0, not {self.slack!r}")
        if not self.shapes:
            raise DataError("expected layers to select patterns for, not none")
        foreign = [name for name in self.exclude if name not in self.shapes]
        if foreign:
            raise DataError(f"cannot exclude {foreign[0]!r}: no such layer")
        most = int(self.pruned.max(axis=1).sum())
        if most < self.floor:
            raise DataError(
                f"a sparsity of {self.target:.4g} is out of reach: the candidates "
                f"{', '.join(map(str, self.candidates))} prune at most {most / self.total:.4g} "
                f"of the {self.total} weights"
                + (f", {len(self.exclude)} excluded layer(s) included" if self.exclude else ""))

    @property
    def names(self) -> list[str]:
        """Layers, in their order."""
        return list(self.shapes)

    @cached_property
    def free(self) -> np.ndarray:
        """Whether each layer may be pruned, bool [L]."""
        return np.array([name not in self.exclude for name in self.shapes])

    @cached_property
    def total(self) -> int:
        """Weights of all layers."""
        return sum(outputs * inputs for outputs, inputs in self.shapes.values())

    @cached_property
    def floor(self) -> int:
        """Least number of weights pruned."""
        return math.ceil(round(self.target * self.total, 6))

    @cached_property
    def share(self) -> np.ndarray:
        """Each layer's share of the weights, float64 [L]."""
        sizes = [outputs * inputs for outputs, inputs in self.shapes.values()]
        return np.array(sizes) / self.total

    @cached_property
    def pruned(self) -> np.ndarray:
        """Weights that each candidate prunes of each layer, int64 [L, P]; excluded layers none."""
        table = [[0 if name in self.exclude else o * k - kept_weights(o, k, pattern)
                  for pattern in self.candidates] for name, (o, k) in self.shapes.items()]
        return np.array(table, dtype=np.int64)

    @cached_property
    def limit(self) -> Limit:
        """The target as a limit on weights pruned: the floor, and the least excess or the slack."""
        least = choose(self.pruned.astype(float), [Limit(self.pruned, low=self.floor)])
        assert least is not None  # the target was found to be within reach
        forced = self.pruned_by(least)
        return Limit(self.pruned, self.floor, max(forced, self.floor + self.slack * self.total))

    def pruned_by(self, choice: np.ndarray) -> int:
        """Return the weights pruned by one candidate per layer, int64 [L]."""
        return int(self.pruned[np.arange(len(choice)), choice].sum())

    def solve(self, cost: np.ndarray, limits: Sequence[Limit] = (),
              gap: float = 0.0) -> np.ndarray | None:
        """Return the candidates [L] of least total cost [L, P] within the target and ``limits``.

        ``gap`` is that of :func:`choose`.

        None where there are none; the integers are checked, since the solver counts in floats.
        """
        choice = choose(cost, [self.limit, *limits], gap)
        if choice is not None and self.pruned_by(choice) < self.floor:
            raise DataError("the solver missed the sparsity target by rounding; give the layers "
                            "or the target in coarser units")
        return choice

    def selection(self, choice: np.ndarray, method: str, granularity: str = "free",
                  tile_cols: int = 32, **details: Any) -> Selection:
        """Return the choice [L] as a plan."""
        patterns = {name: DENSE if name in self.exclude else self.candidates[option]
                    for name, option in zip(self.shapes, choice, strict=True)}
        plan = Plan(DENSE, patterns, granularity, tile_cols)
        return Selection(plan, method, self.target, self.pruned_by(choice) / self.total, details)
