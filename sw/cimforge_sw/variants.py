"""Trying patterns on a model: what a pattern leaves is made once, weights are switched in place."""

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from cimforge.spec.errors import DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.calibration import Stats
from cimforge_sw.layers import linear_layers, weight_matrix
from cimforge_sw.models import Model
from cimforge_sw.plan import Plan
from cimforge_sw.prune import layer_mask
from cimforge_sw.sparsegpt import sparsegpt

__all__ = ["Variants"]


class Variants:
    """A working copy of a model whose layers change pattern at the cost of one multiplication.

    Parameters
    ----------
    model : Model
        Stays as it is.
    stats : Stats
        Of the same model.
    granularity, tile_cols : str, int
        As `nm_mask` takes them.
    grams : dict of str to Tensor, optional
        `gram_matrices` of the same model: weights that stay are updated by `sparsegpt`, every layer
        for its inputs in the dense model. Without them they stay as they are, masked by ``score``.
    score : str
        ``"wanda"`` or ``"magnitude"``.

    Attributes
    ----------
    model : Model
        The working copy, dense at first.
    patterns : dict of str to NmPattern
        What every layer has now.
    """

    def __init__(self, model: Model, stats: Stats, granularity: str = "free", tile_cols: int = 32,
                 grams: Mapping[str, Tensor] | None = None, score: str = "wanda"):
        self.model = replace(model, module=copy.deepcopy(model.module))
        self._dense = {name: weight_matrix(layer)
                       for name, layer in linear_layers(model.module).items()}
        self._weights = {name: weight_matrix(layer)
                         for name, layer in linear_layers(self.model.module).items()}
        self._stats, self._grams, self._score = stats, grams, score
        self._sharing = Plan(NmPattern(1, 1), {}, granularity, tile_cols)
        self._made: dict[tuple[str, NmPattern], Tensor] = {}
        self.patterns = dict.fromkeys(self._dense, NmPattern(1, 1))

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """(outputs, inputs) of every layer."""
        return {name: (w.shape[0], w.shape[1]) for name, w in self._dense.items()}

    def set(self, name: str, pattern: NmPattern) -> None:
        """Give one layer a pattern."""
        if self.patterns[name] == pattern:
            return
        with torch.inference_mode():
            if pattern.n == pattern.m:
                self._weights[name].copy_(self._dense[name])
            elif self._grams is None:
                torch.mul(self._dense[name], self._mask(name, pattern), out=self._weights[name])
            else:
                self._weights[name].copy_(self._updated(name, pattern))
        self.patterns[name] = pattern

    def apply(self, patterns: Mapping[str, NmPattern]) -> None:
        """Give several layers theirs."""
        for name, pattern in patterns.items():
            self.set(name, pattern)

    def _mask(self, name: str, pattern: NmPattern) -> Tensor:
        key = name, pattern
        if key not in self._made:
            known = self._stats.layers.get(name)
            self._made[key] = layer_mask(name, self._dense[name], pattern, self._sharing,
                                         known.norm if known else None, self._score)
        return self._made[key]

    def _updated(self, name: str, pattern: NmPattern) -> Tensor:
        key = name, pattern
        if key not in self._made:
            if self._grams is None or name not in self._grams:
                raise DataError(f"{name}: no Gram matrix of its inputs")
            try:
                self._made[key], _ = sparsegpt(
                    self._dense[name], self._grams[name], pattern,
                    granularity=self._sharing.granularity, tile_cols=self._sharing.tile_cols)
            except DataError as error:
                raise DataError(f"{name}: {error}") from error
        return self._made[key]
