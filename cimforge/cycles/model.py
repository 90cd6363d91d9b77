"""What a model's linear layers cost on a tile, without making a weight."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.pattern import NmPattern
from cimforge_sw.cost.energy import Events

if TYPE_CHECKING:
    from cimforge_sw.plan import Plan
    from cimforge_sw.shapes import LayerShape, ModelShapes

__all__ = ["LayerCost", "ModelCost", "estimate_shapes"]


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """A layer's share of a `ModelCost`.

    Attributes
    ----------
    layer : LayerShape
    pattern : NmPattern
    mode : str
        N:M and G that the compiler would choose, and the passes if there are several.
    cycles, resident_cycles : int
        Weights streamed, and in place; ``cimforge_sw.compile.Estimate`` defines both.
    best_slot_use : float
        Share of the cells that hold a kept weight, with the mode, passes and G that need fewest.
    kept, cells : int
        Weights that the pattern keeps, and cells of all tiles.
    words : int
        Words that are written to rows of column units, weights streamed.
    """

    layer: "LayerShape"
    pattern: NmPattern
    mode: str
    cycles: int
    resident_cycles: int
    best_slot_use: float
    kept: int
    cells: int
    words: int

    @property
    def slot_use(self) -> float:
        """Share of the cells that hold a kept weight."""
        return self.kept / self.cells


@dataclass(frozen=True)
class ModelCost:
    """Layers run one after the other, each for all tokens.

    Attributes
    ----------
    layers : tuple of LayerCost
    tokens : int
    """

    layers: tuple[LayerCost, ...]
    tokens: int

    @property
    def cycles(self) -> int:
        """Cycles of all layers, weights streamed."""
        return sum(layer.cycles for layer in self.layers)

    @property
    def resident_cycles(self) -> int:
        """The same with every tile's weights in place."""
        return sum(layer.resident_cycles for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Weights before pruning."""
        return sum(layer.layer.parameters for layer in self.layers)

    @property
    def sparsity(self) -> float:
        """Share of the weights that is pruned."""
        return 1 - sum(layer.kept for layer in self.layers) / self.parameters

    @property
    def macs(self) -> int:
        """Multiplications with kept weights, all tokens."""
        return self.tokens * sum(layer.kept for layer in self.layers)

    def events(self, resident: bool = False) -> Events:
        """Return what happens in the macro: the terms of its energy."""
        cells = self.tokens * sum(layer.cells for layer in self.layers)
        if resident:
            return Events(self.resident_cycles, cells, self.macs)
        return Events(self.cycles, cells, self.macs, sum(layer.words for layer in self.layers))

    def slot_use(self, least_inputs: int = 0, best: bool = False) -> float:
        """Return the slot use of layers with so many inputs, weighted by their parameters.

        With the mode, passes and G that need fewest cells if ``best``; NaN if there are no such
        layers.
        """
        mine = [layer for layer in self.layers if layer.layer.inputs >= least_inputs]
        if not mine:
            return float("nan")
        return float(np.average([layer.best_slot_use if best else layer.slot_use for layer in mine],
                                weights=[layer.layer.parameters for layer in mine]))


def estimate_shapes(shapes: "ModelShapes", plan: "Plan | Mapping[str, NmPattern]",
                    config: DcimConfig, tokens: int) -> ModelCost:
    """Predict a model's cycles and slot use; equal layers are computed once.

    Parameters
    ----------
    shapes : ModelShapes
    plan : Plan, or mapping of layer names to NmPattern
        Groups are taken to be as full as their pattern allows, and positions to be shared as the
        hardware shares them.
    config : DcimConfig
    tokens : int
        Vectors per layer.

    Returns
    -------
    ModelCost
        Cycles are those the compiler predicts for such weights.

    Raises
    ------
    DataError
        A glob of the plan that matches no layer, or a layer that the tile cannot run.
    """
    from cimforge_sw.compile.shape_cost import shape_costs, weight_loads

    patterns = plan if isinstance(plan, Mapping) else plan.resolve(
        [layer.name for layer in shapes.layers])
    keys = [(layer.outputs, layer.inputs, patterns[layer.name]) for layer in shapes.layers]
    first: dict[tuple[int, int, NmPattern], str] = {}
    for layer, key in zip(shapes.layers, keys, strict=True):
        first.setdefault(key, layer.name)
    jobs = [(name, *key, tokens) for key, name in first.items()]
    costs = shape_costs(config, jobs)
    tile = config.slots * config.units
    words = [weight_loads(config, job, costs, i) * tile for i, job in enumerate(jobs)]
    at = {key: i for i, key in enumerate(first)}
    found = []
    for layer, key in zip(shapes.layers, keys, strict=True):
        i = at[key]
        passes = "" if costs.passes[i] == 1 else f" x{costs.passes[i]}"
        found.append(LayerCost(
            layer=layer, pattern=key[2], mode=f"{costs.modes[i]}{passes}",
            cycles=int(costs.cycles[i]), resident_cycles=int(costs.resident_cycles[i]),
            best_slot_use=float(costs.kept[i] / costs.least_cells[i]), kept=int(costs.kept[i]),
            cells=int(costs.cells[i]), words=words[i]))
    return ModelCost(tuple(found), tokens)
