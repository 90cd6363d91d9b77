"""What a pattern free in every column costs: one step with ``line``, several with ``pair``."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cimforge.spec.commands import Compute
from cimforge.spec.config import DcimConfig
from cimforge.spec.pattern import NmPattern
from cimforge_sw.compile.estimate import estimate
from cimforge_sw.compile.layer import compile_layer

__all__ = ["FreePattern", "free_pattern", "free_weights"]


@dataclass(frozen=True, kw_only=True)
class FreePattern:
    """One random layer, compiled for one configuration in the mode that the compiler chose.

    Attributes
    ----------
    mode : str
        N:M and G; 2:4 runs as 4:8 where M is 8.
    tiles : int
    steps : tuple of int
        Select steps of every tile, in order; all 1 with ``line``.
    cycles : int
        Predicted, weights streamed.
    resident_cycles : int
        Predicted, every tile's weights in place.
    """

    mode: str
    tiles: int
    steps: tuple[int, ...]
    cycles: int
    resident_cycles: int

    @property
    def steps_per_tile(self) -> float:
        """Mean number of steps."""
        return sum(self.steps) / self.tiles


def free_weights(pattern: NmPattern, outputs: int, inputs: int, weight_bits: int = 8,
                 seed: int = 0) -> np.ndarray:
    """Return random weights with exactly N of M kept, at positions of its own in every output.

    Returns
    -------
    ndarray of int8, shape (outputs, inputs)
        A last block of fewer than M inputs keeps at most N.
    """
    rng, top = np.random.default_rng(seed), (1 << weight_bits - 1) - 1
    blocks = -(-inputs // pattern.m)
    kept = rng.random((outputs, blocks, pattern.m)).argsort(axis=-1) < pattern.n
    value = rng.integers(1, top, kept.shape, endpoint=True) * rng.choice([-1, 1], kept.shape)
    return np.where(kept, value, 0).reshape(outputs, -1)[:, :inputs].astype(np.int8)


def free_pattern(configs: Mapping[str, DcimConfig], pattern: str, outputs: int, inputs: int,
                 tokens: int, seed: int = 0) -> dict[str, FreePattern]:
    """Compile the same random layer, free in every output, for several configurations.

    Parameters
    ----------
    configs : mapping of str to DcimConfig
        Such as ``line`` and ``pair``.
    pattern : str
        N:M, such as ``"2:4"``.
    outputs, inputs, tokens : int
        O, K and T.
    seed : int
        Of the weights.

    Returns
    -------
    dict of str to FreePattern
        By the names of ``configs``.

    Raises
    ------
    DataError, ConfigError
        As :func:`compile_layer`.
    """
    nm, made = NmPattern.parse(pattern), {}
    for name, config in configs.items():
        weight = free_weights(nm, outputs, inputs, config.weight_bits, seed)
        layer = compile_layer(config, f"free.{pattern}", weight, nm, tokens)
        cost = estimate(config, layer)
        steps = tuple(c.steps for c in layer.commands if isinstance(c, Compute))
        made[name] = FreePattern(mode=str(layer.mode), tiles=len(steps), steps=steps,
                                 cycles=cost.cycles, resident_cycles=cost.resident_cycles)
    return made
