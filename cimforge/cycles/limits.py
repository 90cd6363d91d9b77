"""What FLOW-X may use to be faster than a fixed macro: its cycles in every comparison at once."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cimforge.cycles.designs import BUFFERS, FLEXIBLE, designs
from cimforge.spec.pattern import NmPattern

if TYPE_CHECKING:
    from cimforge_sw.select.knapsack import Limit

__all__ = ["TOKENS", "cycle_limits"]

#: Vectors per layer at which latency is compared.
TOKENS = (16, 128)


def cycle_limits(shapes: Mapping[str, tuple[int, int]], candidates: Sequence[NmPattern],
                 design: str, own: NmPattern, share: float) -> "list[Limit]":
    """Return limits on cycles, streamed and resident, 16 and 128 tokens: four in all.

    Parameters
    ----------
    shapes : mapping of str to (outputs, inputs)
        Layers.
    candidates : sequence of NmPattern
        Of every layer, on the flexible macro.
    design : str
        The fixed macro, with whichever of `BUFFERS` is faster.
    own : NmPattern
        Its own pattern, which all layers have on it.
    share : float
        The limit is where, between the least that the candidates can take (0) and what the fixed
        macro takes (1): layers have parts that no pattern makes faster.
    """
    from cimforge_sw.compile.shape_cost import shape_costs
    from cimforge_sw.select.knapsack import Limit

    def both(name: str, buffer: str, patterns: Sequence[NmPattern], tokens: int) -> np.ndarray:
        """Return cycles, streamed and resident, of every layer and pattern: [2, L, P]."""
        jobs = [(layer, *shape, pattern, tokens) for layer, shape in shapes.items()
                for pattern in patterns]
        costs = shape_costs(designs(buffer)[name], jobs)
        return np.stack([costs.cycles, costs.resident_cycles]).reshape(
            2, len(shapes), len(patterns)).astype(float)

    limits = []
    for tokens in TOKENS:
        fixed = np.min([both(design, buffer, [own], tokens).sum((1, 2)) for buffer in BUFFERS], 0)
        for use, most in zip(both(FLEXIBLE, "equal_bits", candidates, tokens), fixed, strict=True):
            least = use.min(1).sum()
            limits.append(Limit(use, high=least + share * (most - least)))
    return limits
