"""What patterns cost a layer on the hardware, from its shape alone: the cost model of selection."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.pattern import NmPattern
from cimforge_sw.compile.bound import contenders
from cimforge_sw.compile.patterns import runnable_patterns
from cimforge_sw.compile.tiling import Tiling

__all__ = ["most_in_block", "pattern_cycles", "plan_cycles"]


def most_in_block(pattern: NmPattern, block: int, inputs: int) -> int:
    """Return the most weights that N:M can keep in any aligned block of ``block`` inputs."""
    def most(start: int) -> int:
        end = min(start + block, inputs)
        edges = range(start - start % pattern.m, end, pattern.m)
        return sum(min(pattern.n, min(edge + pattern.m, end) - max(edge, start))
                   for edge in edges)
    return max(most(start) for start in range(0, min(inputs, block * pattern.m), block))


@lru_cache(maxsize=4096)
def pattern_cycles(config: DcimConfig, outputs: int, inputs: int, pattern: NmPattern,
                   tokens: int) -> float:
    """Return the cycles that the compiler will need for a layer in the best mode and grouping.

    Infinite where the pattern does not fit the activation buffer, or the inputs exceed ``max_k``.
    Weights that become zero when they are quantized can make the layer faster than this.

    Parameters
    ----------
    config : DcimConfig
    outputs, inputs, tokens : int
        O, K and T.
    pattern : NmPattern
        On ``line`` hardware it runs as the N:max_m that holds it, or in several passes of a
        sparser one; on ``pair`` as it is, or as the fastest mode that holds it, its positions
        shared as the hardware shares them.
    """
    most = {m: most_in_block(pattern, m, inputs) for m in {mode.m for mode in config.modes}}
    choices = runnable_patterns(config, most, pattern)
    if inputs > config.max_k:
        return float("inf")
    tilings = [Tiling(config, mode, outputs, inputs, choices[NmPattern(mode.n, mode.m)])
               for mode in config.modes if NmPattern(mode.n, mode.m) in choices]
    found = contenders([tiling for tiling in tilings if tiling.fits], tokens)
    return min(found.values(), default=float("inf"))


def plan_cycles(config: DcimConfig, shapes: Iterable[tuple[int, int]],
                candidates: Sequence[NmPattern], tokens: int) -> np.ndarray:
    """Return `pattern_cycles` of every layer and candidate, float64 [L, P]."""
    return np.array([[pattern_cycles(config, outputs, inputs, pattern, tokens)
                      for pattern in candidates] for outputs, inputs in shapes])
