"""Pruning: masks from a plan and calibration, applied to a copy, and checked on the tensors."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern, group_counts
from cimforge_sw.calibration import Stats
from cimforge_sw.layers import linear_layers, uncounted_weights, weight_matrix
from cimforge_sw.masks import nm_mask
from cimforge_sw.models import Model
from cimforge_sw.plan import Plan
from cimforge_sw.scores import magnitude_score, wanda_score

__all__ = ["SCORES", "PrunedModel", "check_groups", "layer_mask", "of_all", "prune", "sparsity"]

SCORES = ("wanda", "magnitude")


@dataclass(frozen=True, eq=False)
class PrunedModel:
    """A pruned copy of a model, and what was done to it.

    Parameters
    ----------
    model : Model
        The copy; layers without a pattern are as they were.
    masks : dict of str to Tensor of bool, shape (O, K)
        What stayed, by layer.
    patterns : dict of str to NmPattern
        The plan, resolved.
    plan : Plan
    sparsity : float
        Zeros among the weights of all linear layers, counted in the tensors.

    Attributes
    ----------
    uncounted : dict of str to int
        Weights that are matrices but no linear layers, such as the experts of a mixture, by
        parameter: not pruned, and not in ``sparsity``.
    sparsity_of_all : float
        ``sparsity`` with those counted, too.
    """

    model: Model
    masks: dict[str, Tensor]
    patterns: dict[str, NmPattern]
    plan: Plan
    sparsity: float

    @property
    def uncounted(self) -> dict[str, int]:
        """See `uncounted_weights`."""
        return uncounted_weights(self.model.module)

    @property
    def sparsity_of_all(self) -> float:
        """`sparsity` with the `uncounted` weights, which stay dense, counted."""
        return of_all(self.sparsity, sum(mask.numel() for mask in self.masks.values()),
                      self.uncounted)


def of_all(sparsity: float, weights: int, uncounted: Mapping[str, int]) -> float:
    """Return the share of zeros among the weights counted and those that are not together."""
    return sparsity * weights / (weights + sum(uncounted.values()))


def check_groups(name: str, weight: Tensor, pattern: NmPattern) -> None:
    """Refuse a weight [O, K] with more than N nonzeros in a group of M.

    Raises
    ------
    DataError
        Names the layer, and the output and inputs of the first group that breaks the pattern.
    """
    counts = group_counts(weight.numpy(), pattern.m)
    bad = (counts > pattern.n).nonzero()
    if len(bad[0]):
        row, group = int(bad[0][0]), int(bad[1][0])
        raise DataError(f"{name}: output {row}, inputs {group * pattern.m}.."
                        f"{(group + 1) * pattern.m - 1} keep {counts[row, group]} weights, "
                        f"more than {pattern} allows")


def sparsity(weights: dict[str, Tensor]) -> float:
    """Return the share of zeros in all weights together, counted."""
    zeros = sum(w.numel() - int(torch.count_nonzero(w)) for w in weights.values())
    return zeros / sum(w.numel() for w in weights.values())


def prune(model: Model, plan: Plan, stats: Stats, score: str = "wanda") -> PrunedModel:
    """Mask the linear layers by score, each with its pattern of the plan.

    Weights that stay are not changed; `prune_with_update` (SparseGPT) changes them.

    Parameters
    ----------
    model : Model
        Stays as it is.
    plan : Plan
        Every glob must match a layer.
    stats : Stats
        Of the same model; layers it excluded must be dense in the plan.
    score : str
        ``"wanda"`` or ``"magnitude"``.

    Raises
    ------
    DataError
        Statistics missing or of another shape, a glob of the plan that matches nothing, or a group
        that kept more than N (the gate after this stage).
    ConfigError
        A pattern the plan's granularity cannot have, or another score.
    """
    layers = linear_layers(model.module)
    patterns = plan.resolve(layers)
    module = copy.deepcopy(model.module)
    masks, weights = {}, {}
    for name, layer in linear_layers(module).items():
        weight = weights[name] = weight_matrix(layer)
        norm = stats.layers[name].norm if name in stats.layers else None
        mask = masks[name] = layer_mask(name, weight, patterns[name], plan, norm, score)
        weight.mul_(mask)
        check_groups(name, weight, patterns[name])
    return PrunedModel(replace(model, module=module), masks, patterns, plan, sparsity(weights))


def layer_mask(name: str, weight: Tensor, pattern: NmPattern, plan: Plan,
               norm: Tensor | None, score: str = "wanda") -> Tensor:
    """Return the mask of one layer.

    Parameters
    ----------
    name : str
        For messages.
    weight : Tensor of float32, shape (O, K)
        Dense.
    pattern : NmPattern
        All true where N = M.
    plan : Plan
        Says who shares positions.
    norm : Tensor of float32, shape (K,), or None
        Of the inputs (`LayerStats.norm`); Wanda needs it unless the layer stays dense.
    score : str
        ``"wanda"`` or ``"magnitude"``.

    Returns
    -------
    Tensor of bool, shape (O, K)

    Raises
    ------
    DataError
        No norm where one is needed, or one of another length.
    ConfigError
        Another score.
    """
    if score not in SCORES:
        raise ConfigError(f"score must be one of {', '.join(SCORES)}, not {score!r}")
    if pattern.n == pattern.m:
        return torch.ones(weight.shape, dtype=torch.bool)
    if score == "magnitude":
        return nm_mask(magnitude_score(weight), pattern, plan.granularity, plan.tile_cols)
    if norm is None:
        raise DataError(f"{name}: no calibration statistics; calibrate it or plan it dense")
    if norm.shape != weight.shape[1:]:
        raise DataError(f"{name}: statistics of {len(norm)} inputs, but the layer has "
                        f"{weight.shape[1]}; were they taken from another model?")
    return nm_mask(wanda_score(weight, norm), pattern, plan.granularity, plan.tile_cols)
