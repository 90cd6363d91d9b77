"""What patterns cost a layer on the hardware, from its shape alone: the cost model of selection."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.pattern import NmPattern
from cimforge_sw.compile.estimate import layer_cycles

__all__ = ["pattern_cycles", "plan_cycles"]


def _most_in_block(pattern: NmPattern, block: int) -> int:
    """Return the most weights that N:M can keep in any aligned block of ``block`` inputs."""
    def most(start: int) -> int:
        edges = range(start - start % pattern.m, start + block, pattern.m)
        return sum(min(pattern.n, min(edge + pattern.m, start + block) - max(edge, start))
                   for edge in edges)
    return max(most(start) for start in range(0, block * pattern.m, block))


@lru_cache(maxsize=4096)
def pattern_cycles(config: DcimConfig, outputs: int, inputs: int, pattern: NmPattern,
                   tokens: int) -> float:
    """Return the cycles of a layer in the best grouping; infinite where no mode runs the pattern.

    Parameters
    ----------
    config : DcimConfig
    outputs, inputs, tokens : int
        O, K and T.
    pattern : NmPattern
        On ``line`` hardware it becomes the N:max_m that holds it; ``pair`` needs it as a mode, its
        positions shared as the hardware shares them.
    """
    if config.select == "pair":
        wanted = (pattern.n, pattern.m) if pattern.m > 1 else (config.max_m, config.max_m)
        modes = [mode for mode in config.modes if (mode.n, mode.m) == wanted]
        if pattern.m == 1 and not modes:  # dense: the densest there is
            densest = max(config.modes, key=lambda mode: mode.n / mode.m)
            modes = [mode for mode in config.modes if (mode.n, mode.m) == (densest.n, densest.m)
                     and densest.n == densest.m]
    else:
        held = _most_in_block(pattern, config.max_m)
        enough = sorted({mode.n for mode in config.modes if mode.n >= held})
        modes = [mode for mode in config.modes if enough and mode.n == enough[0]]
    return min((layer_cycles(config, outputs, inputs, mode.n, tokens, mode.group, m=mode.m)
                for mode in modes), default=float("inf"))


def plan_cycles(config: DcimConfig, shapes: Iterable[tuple[int, int]],
                candidates: Sequence[NmPattern], tokens: int) -> np.ndarray:
    """Return `pattern_cycles` of every layer and candidate, float64 [L, P]."""
    return np.array([[pattern_cycles(config, outputs, inputs, pattern, tokens)
                      for pattern in candidates] for outputs, inputs in shapes])
