"""Random tiles and layers for them, small enough to simulate: cycles predicted against counted."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError
from cimforge.spec.pattern import NmPattern

__all__ = ["LayerPoint", "random_config", "random_points"]

_PAIR = ("1:1", "1:2", "2:4", "4:8", "1:4", "2:8", "1:8")


@dataclass(frozen=True, eq=False)
class LayerPoint:
    """A layer with its inputs.

    Attributes
    ----------
    name : str
    weight : ndarray of int8, shape (O, K)
        Random, as many nonzeros as the pattern lets a group keep.
    pattern : NmPattern
    x : ndarray of int8, shape (T, K)
        Activations of ``act_bits``.
    shared : int
        Adjacent outputs with the same positions.
    """

    name: str
    weight: np.ndarray
    pattern: NmPattern
    x: np.ndarray
    shared: int


def random_config(rng: np.random.Generator) -> DcimConfig:
    """Return a small legal tile; each of its ports and buffers may be the narrowest.

    The same state of ``rng`` gives the same tile. Combinations that no hardware can have are drawn
    again.
    """
    def one(*choices):
        return choices[rng.integers(len(choices))]

    while True:
        sub_macros, cols, select = one(1, 2, 4), one(2, 4, 8), one("line", "line", "pair")
        weight_bits, act_bits = one(4, 8), one(4, 8)
        try:
            return DcimConfig(
                sub_macros=sub_macros, rows=one(2, 4, 8), cols=cols, select=select,
                weight_bits=weight_bits, act_bits=act_bits, act_slice=one(1, 2, act_bits),
                max_m=one(1, 2, 4, 8), fixed_n=one(0, 0, 1, 2), index_share=one(1, 1, 2),
                index_coding=one("binary", "one_hot"),
                weight_banks=one(1, 2), adder_stages=one(1, 2), load_rows=one(1, sub_macros),
                act_port_bits=act_bits * one(1, 3, 8), out_port=one(1, cols),
                act_depth=one(16, 64), acc_depth=one(2, 8), max_k=1024)
        except ConfigError:
            continue  # such as a pattern denser than M, or pairs that share their index


def random_points(config: DcimConfig, rng: np.random.Generator, count: int = 10
                  ) -> Iterator[LayerPoint]:
    """Yield layers that a tile can run, each of at most about a dozen tiles.

    Parameters
    ----------
    config : DcimConfig
    rng : numpy Generator
        The same state gives the same layers.
    count : int
        Layers.
    """
    shared = config.cols if config.select == "pair" else config.index_share
    if config.select == "pair":
        patterns = [p for p in map(NmPattern.parse, _PAIR) if p.m <= config.max_m]
    else:
        patterns = [NmPattern(n, config.max_m) for n in range(1, config.max_m + 1)]
    for number in range(count):
        pattern = patterns[rng.integers(len(patterns))]
        mode = config.modes[rng.integers(len(config.modes))]
        inputs = int(rng.integers(1, 3 * min(map(config.k_tile, config.modes)) + 1))
        outputs = int(rng.integers(1, 3 * config.outputs(mode) + 1))
        tokens = int(rng.integers(1, 9))
        high = 1 << config.act_bits - 1
        x = rng.integers(-high, high, (tokens, inputs)).astype(np.int8)
        yield LayerPoint(f"point{number}", _weight(config, rng, outputs, inputs, pattern, shared),
                         pattern, x, shared)


def _weight(config: DcimConfig, rng: np.random.Generator, outputs: int, inputs: int,
            pattern: NmPattern, shared: int) -> np.ndarray:
    groups = -(-inputs // pattern.m)
    drawn = rng.random((-(-outputs // shared), groups, pattern.m))
    drawn.reshape(len(drawn), -1)[:, inputs:] = 2  # last: a short group is as full as it can be
    rank = drawn.argsort(axis=-1).argsort(axis=-1)
    kept = np.repeat(rank < pattern.n, shared, axis=0)[:outputs].reshape(outputs, -1)[:, :inputs]
    top = (1 << config.weight_bits - 1) - 1
    value = rng.integers(1, top, kept.shape, endpoint=True) * rng.choice([-1, 1], kept.shape)
    return np.where(kept, value, 0).astype(np.int8)
