"""Selection on a model: one call for every method, and the common means they share."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import Tensor

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.calibration import Stats
from cimforge_sw.compile.cost import pattern_cycles, plan_cycles
from cimforge_sw.globs import matches_any
from cimforge_sw.layers import linear_layers, weight_matrix
from cimforge_sw.models import Model
from cimforge_sw.objective import Objective
from cimforge_sw.outliers import OutlierStats, outlier_stats
from cimforge_sw.select.budget import Budget, Selection
from cimforge_sw.select.flow import PUBLISHED_CANDIDATES, flow, line_candidates
from cimforge_sw.select.flow_x import flow_x
from cimforge_sw.select.journal import Journal
from cimforge_sw.select.knapsack import Limit
from cimforge_sw.select.owl import check_one_m, owl
from cimforge_sw.select.request import check_request, check_score
from cimforge_sw.select.uniform import uniform_mixes
from cimforge_sw.tokens import Text
from cimforge_sw.variants import Variants

__all__ = ["Selector"]


@dataclass(frozen=True, eq=False)
class Selector:
    """A model, its calibration and the hardware, ready to select N:M for any target.

    Parameters
    ----------
    model : Model
        Dense; stays as it is.
    stats : Stats
        Of the model.
    texts : sequence of str or of sequences of int
        Calibration text that methods score plans on: all of FLOW-X, and which mix is best.
    config : DcimConfig, optional
        ``pair`` hardware has the published candidates, with positions shared by its columns;
        otherwise N:max_m (N:8 without a configuration) with free positions.
    candidates : sequence of NmPattern, optional
        Instead of the hardware's.
    exclude : sequence of str
        Globs of layers that stay dense, inside the budget.
    tokens : int
        Vectors per run of a layer, which cycles are counted for.
    grams : dict of str to Tensor, optional
        `gram_matrices` of the model: plans are scored with the weights that SparseGPT updates
        (`prune_with_update`), not with masks alone.
    score : str
        What masks keep, ``"wanda"`` or ``"magnitude"``; OWL and FLOW count Wanda's outliers anyway.
    known : sequence of OutlierStats or None, optional
        Of every layer, where they were counted elsewhere; None for layers that stay dense.

    Raises
    ------
    ConfigError
        Another score, or Gram matrices with a score other than Wanda's.
    DataError
        A glob of ``exclude`` that matches no layer.
    """

    model: Model
    stats: Stats
    texts: Sequence[Text]
    config: DcimConfig | None = None
    candidates: Sequence[NmPattern] | None = None
    exclude: Sequence[str] = ()
    tokens: int = 16
    grams: Mapping[str, Tensor] | None = None
    score: str = "wanda"
    known: Sequence[OutlierStats | None] | None = None

    def __post_init__(self):
        check_score(self.score, self.grams is not None)
        for glob in self.exclude:
            if not any(matches_any(name, [glob]) for name in self.shapes):
                raise DataError(f"{glob!r} matches none of {len(self.shapes)} layers")

    @cached_property
    def dense(self) -> list[str]:
        """Layers that ``exclude`` names."""
        return [name for name in self.shapes if matches_any(name, self.exclude)]

    @cached_property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """(outputs, inputs) of every layer."""
        return {name: tuple(weight_matrix(layer).shape)
                for name, layer in linear_layers(self.model.module).items()}

    @property
    def _paired(self) -> bool:
        return self.config is not None and self.config.select == "pair"

    @cached_property
    def options(self) -> tuple[NmPattern, ...]:
        """The candidates of every layer."""
        if self.candidates is not None:
            return tuple(self.candidates)
        if self._paired:
            return PUBLISHED_CANDIDATES
        return line_candidates(self.config.max_m if self.config else 8)

    @cached_property
    def sharing(self) -> tuple[str, int]:
        """Granularity and tile columns of the masks."""
        if self._paired and self.config is not None:
            return "tile", self.config.cols
        share = self.config.index_share if self.config else 1
        return ("free" if share == 1 else f"share{share}"), 32

    @cached_property
    def outliers(self) -> list[OutlierStats | None]:
        """O and D of every layer; None for those that stay dense."""
        if self.known is not None:
            return list(self.known)
        found: list[OutlierStats | None] = []
        for name, layer in linear_layers(self.model.module).items():
            if name in self.dense:
                found.append(None)
                continue
            if name not in self.stats.layers:
                raise DataError(f"{name}: no calibration statistics, so no outliers to count")
            try:
                found.append(outlier_stats(weight_matrix(layer), self.stats.layers[name].norm))
            except DataError as error:
                raise DataError(f"{name}: {error}") from error
        return found

    @cached_property
    def variants(self) -> Variants:
        """The working copy on which plans are tried."""
        return Variants(self.model, self.stats, *self.sharing, grams=self.grams,
                        score=self.score)

    @cached_property
    def objective(self) -> Objective:
        """The loss of plans on the calibration text."""
        return Objective(self.model, self.texts)

    def budget(self, sparsity: float, candidates: Sequence[NmPattern] | None = None) -> Budget:
        """Return the target over all layers that count."""
        return Budget(self.shapes, candidates or self.options, sparsity, self.dense)

    def check(self, method: str, sparsity: float, *, mode: str = "balanced",
              max_cycles: float | None = None) -> Budget:
        """Refuse what `select` would, without a look at statistics or texts; return the budget.

        Parameters and errors are those of `select`.
        """
        check_request(method, sparsity, mode, max_cycles)
        budget = self.budget(sparsity)
        if method == "owl":
            check_one_m(budget)
        if method == "uniform":
            uniform_mixes(budget)
        if method == "flow-x":
            self._even(budget, self._limits(budget, max_cycles))
        return budget

    def loss(self, selection: Selection) -> float:
        """Return a plan's loss on the calibration text."""
        self.variants.apply(selection.plan.resolve(self.shapes))
        return self.objective.loss(self.variants.model.module)

    def select(self, method: str, sparsity: float, *, mode: str = "balanced",
               max_cycles: float | None = None, journal: Path | None = None,
               progress: Callable[[int, int], None] | None = None) -> Selection:
        """Select a plan.

        Parameters
        ----------
        method : str
            One of `METHODS`.
        sparsity : float
            Least share of weights pruned.
        mode : str
            Of FLOW.
        max_cycles : float, optional
            FLOW-X only: the layers' cycles add up to no more, on ``config``.
        journal : Path, optional
            FLOW-X only: file that an interrupted search goes on from. It stays: remove it when the
            selection is where nothing can lose it.
        progress : callable(done, total), optional
            FLOW-X only.

        Raises
        ------
        ConfigError
            Unknown method or mode, a mode for another method than FLOW, a target that is no share,
            a limit on cycles for another than FLOW-X or without hardware.
        DataError
            A target out of reach, alone or within the limit on cycles; or foreign statistics, texts
            or journal.
        """
        budget = self.check(method, sparsity, mode=mode, max_cycles=max_cycles)
        if method == "flow-x":
            return self._flow_x(budget, max_cycles, journal, progress)
        if method == "uniform":
            mixes = uniform_mixes(budget)
            chosen = min(mixes, key=self.loss) if len(mixes) > 1 else mixes[0]
        elif method == "owl":
            chosen = owl(budget, self._statistic("presence"))
        else:
            chosen = flow(budget, self._statistic("presence"), self._statistic("locality"), mode)
        return self.shared(chosen)

    def within(self, limits: Sequence[Limit], *, journal: Path | None = None,
               progress: Callable[[int, int], None] | None = None) -> Selection:
        """Select by FLOW-X without a target, within limits such as cycles.

        Parameters
        ----------
        limits : sequence of Limit
            Of every layer and option, [L, P].
        journal, progress
            As for `select`.

        Raises
        ------
        DataError
            Nothing within the limits; or foreign statistics, texts or journal.
        """
        budget = Budget(self.shapes, self.options, 0.0, self.dense, slack=1.0)
        return self._search(budget, limits, [self._even(budget, limits)],
                            [(limit.use.tolist(), limit.high) for limit in limits],
                            journal, progress)

    def cycles(self, selection: Selection) -> float:
        """Return the cycles that a plan's layers take on the hardware, ``tokens`` vectors each.

        Infinite where one of them does not fit it.
        """
        if self.config is None:
            raise ConfigError("cycles need a hardware configuration")
        patterns = selection.plan.resolve(self.shapes)
        return sum(pattern_cycles(self.config, o, k, patterns[name], self.tokens)
                   for name, (o, k) in self.shapes.items())

    def _statistic(self, name: str) -> np.ndarray:
        return np.array([np.nan if entry is None else getattr(entry, name)
                         for entry in self.outliers])

    def shared(self, selection: Selection) -> Selection:
        """Return the selection with the masks' granularity in its plan."""
        granularity, tile_cols = self.sharing
        plan = replace(selection.plan, granularity=granularity, tile_cols=tile_cols)
        return replace(selection, plan=plan)

    def _limits(self, budget: Budget, max_cycles: float | None) -> list[Limit]:
        if max_cycles is None:
            return []
        if self.config is None:
            raise ConfigError("a limit on cycles needs a hardware configuration")
        use = plan_cycles(self.config, self.shapes.values(), budget.candidates, self.tokens)
        for name, cycles in zip(self.shapes, use, strict=True):
            if not np.isfinite(cycles).any():
                raise DataError(f"{name}: no pattern of it fits the hardware, so its cycles cannot "
                                "be limited")
        return [Limit(use, high=max_cycles)]

    def _flow_x(self, budget: Budget, max_cycles: float | None, journal: Path | None,
                progress: Callable[[int, int], None] | None) -> Selection:
        limits = self._limits(budget, max_cycles)
        return self._search(budget, limits, self._starts(budget, limits), max_cycles, journal,
                            progress)

    def _search(self, budget: Budget, limits: Sequence[Limit], starts: Sequence[Selection],
                bounds: object, journal: Path | None,
                progress: Callable[[int, int], None] | None) -> Selection:
        """Run FLOW-X; ``bounds`` tells the limits apart in the journal."""
        about = repr((self.model.digest, list(self.texts), budget.candidates, budget.target,
                      budget.exclude, self.sharing, bounds, self.grams is not None,
                      [float(entry.norm.double().sum()) for entry in self.stats.layers.values()],
                      *([self.score] if self.score != "wanda" else [])))
        book = Journal(journal, about)
        made = flow_x(budget, self.variants, self.objective, starts, limits=limits, journal=book,
                      progress=progress)
        return self.shared(made)

    def _even(self, budget: Budget, limits: Sequence[Limit]) -> Selection:
        """Return the plan of even density within the limits."""
        even = (1 - np.array([p.density for p in budget.candidates])) ** 2
        choice = budget.solve(budget.share[:, None] * even[None, :], limits)
        if choice is None:
            raise DataError(f"no plan prunes {budget.target:.4g} of the weights within "
                            f"{limits[0].high:.6g} cycles")
        return budget.selection(choice, "even")

    def _starts(self, budget: Budget, limits: Sequence[Limit]) -> list[Selection]:
        """Return the plans of the other methods, and one of even density within the limits."""
        starts = [self._even(budget, limits)]
        presence = self._statistic("presence")
        if not limits:
            with suppress(DataError):  # no single M reaches the target; other starts do
                starts += uniform_mixes(budget)
            starts.append(flow(budget, presence, self._statistic("locality")))
            if len({p.m for p in budget.candidates if p.m > 1}) == 1:
                starts.append(owl(budget, presence))
        return starts
