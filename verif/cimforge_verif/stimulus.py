"""Random layers that every legal mode can run, for tests and benches that want no compiler."""

from dataclasses import dataclass, field

import numpy as np

from cimforge.spec.commands import (
    Command,
    Compute,
    End,
    LoadActs,
    LoadSelects,
    LoadWeights,
    SetRequantize,
)
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.layout import pack_selects, pack_weights
from cimforge.spec.mode import Mode
from cimforge.spec.program import LayerProgram
from cimforge_verif.golden import requantize
from cimforge_verif.random_tile import RandomTile, random_signed, random_tile

__all__ = ["RandomLayer", "random_inputs", "random_layer"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomLayer:
    """A layer with the dense weights it computes.

    Attributes
    ----------
    program : LayerProgram
    weight : ndarray of int64, shape (O, K)
    scale : ndarray of int64, shape (3, O), or None
        Bias, multiplier and shift of every output, where it requantizes.
    """

    program: LayerProgram
    weight: np.ndarray
    scale: np.ndarray | None = None

    def expected(self, config: DcimConfig, x: np.ndarray) -> np.ndarray:
        """Return what the layer must give for ``x`` (T, K): one dense product."""
        acc = x.astype(np.int64) @ self.weight.T
        if self.scale is None:
            return acc
        bias, multiplier, shift = self.scale
        return requantize(acc, bias, multiplier, shift, config.act_bits)


def random_inputs(config: DcimConfig, program: LayerProgram, rng) -> np.ndarray:
    """Return random activations for a layer: int64, shape (T, K)."""
    return random_signed(rng, (program.tokens, program.inputs), config.act_bits)


@dataclass
class _Builder:
    """Collects the streams of a layer tile by tile."""

    config: DcimConfig
    mode: Mode
    tokens: int
    steps: int
    commands: list[Command] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)
    windows: list[tuple[int, int, int]] = field(default_factory=list)
    tiles: int = 0

    def acts(self, k: int, first: int, inputs: int):
        self.commands.append(LoadActs(row=k * self.tokens, count=self.tokens,
                                      beats=-(-inputs // self.config.act_lanes)))
        self.windows += [(token, first, inputs) for token in range(self.tokens)]

    def scale(self, scale: np.ndarray):
        self.commands += [SetRequantize(output=lane, bias=int(b), multiplier=int(m), shift=int(s))
                          for lane, (b, m, s) in enumerate(scale.T)]

    def tile(self, tile: RandomTile, row: int, first: bool, last: bool, requantize: bool):
        bank = self.tiles % self.config.weight_banks
        self.tiles += 1
        if tile.selects is not None:
            self.commands.append(LoadSelects(bank=bank, steps=self.steps))
            self.weights.append(pack_selects(self.config, *tile.selects))
        self.commands += [LoadWeights(bank=bank), Compute(
            bank=bank, n=self.mode.n, m=self.mode.m, group=self.mode.group, row=row, stride=1,
            count=self.tokens, steps=self.steps, first=first, last=last,
            requantize=requantize and last)]
        self.weights.append(pack_weights(self.config, tile.weight, tile.index))


def _random_scale(config: DcimConfig, outputs: int, rng) -> np.ndarray:
    """Return bias, multiplier and shift that spread the results over (and past) their range."""
    bias = rng.integers(-1 << 12, 1 << 12, outputs)
    multiplier = rng.integers(1, 1 << 16, outputs)
    shift = rng.integers(16, 16 + config.weight_bits + 2, outputs)
    return np.stack([bias, multiplier, shift])


def random_layer(config: DcimConfig, mode: Mode, rng, *, tokens: int = 3,
                 inputs: int | None = None, outputs: int | None = None, steps: int = 1,
                 requantize: bool = False) -> RandomLayer:
    """Build a layer of random legal tiles, weights streamed tile by tile.

    Parameters
    ----------
    config : DcimConfig
    mode : Mode
        One of ``config.modes``.
    rng : numpy.random.Generator
    tokens, inputs, outputs : int
        T, K and O; K and O are one tile unless given, and need not fill their last tile.
    steps : int
        Select steps of every tile (``pair``).
    requantize : bool
        Whether results are requantized or raw.

    Returns
    -------
    RandomLayer

    Raises
    ------
    DataError
        If the layer does not fit the buffers.
    """
    inputs, outputs = inputs or config.k_tile(mode), outputs or config.outputs(mode)
    k_tiles = -(-inputs // config.k_tile(mode))
    sums = k_tiles > 1 or steps > 1  # kept in the accumulation memory
    if k_tiles * tokens > config.act_depth or (sums and tokens > config.acc_depth):
        raise DataError(f"{tokens} tokens of {inputs} inputs do not fit the buffers")
    return _build(_Builder(config, mode, tokens, steps), inputs, outputs, requantize, rng)


def _build(build: _Builder, inputs: int, outputs: int, requantize: bool, rng) -> RandomLayer:
    config, mode, tokens = build.config, build.mode, build.tokens
    depth, width = config.k_tile(mode), config.outputs(mode)
    k_tiles, o_tiles = -(-inputs // depth), -(-outputs // width)
    have = [min(depth, inputs - k * depth) for k in range(k_tiles)]
    for k in range(k_tiles):
        build.acts(k, k * depth, have[k])
    dense = np.zeros((k_tiles * depth, o_tiles * width), dtype=np.int64)
    scale = _random_scale(config, o_tiles * width, rng) if requantize else None
    for o in range(o_tiles):
        lanes = slice(o * width, (o + 1) * width)
        if scale is not None:
            build.scale(scale[:, lanes])
        for k in range(k_tiles):
            tile = random_tile(config, mode, rng, build.steps, have[k])
            dense[k * depth:(k + 1) * depth, lanes] = tile.dense
            build.tile(tile, k * tokens, k == 0, k == k_tiles - 1, requantize)
    results = [(0, tokens, o * width, min(width, outputs - o * width)) for o in range(o_tiles)]
    program = LayerProgram(
        name="random", outputs=outputs, inputs=inputs, tokens=tokens,
        pattern=f"{mode.n}:{mode.m}", mode=mode, commands=[*build.commands, End()],
        weights=np.concatenate(build.weights), windows=np.array(build.windows, dtype=np.int64),
        results=np.array(results, dtype=np.int64),
        slot_use=float(np.count_nonzero(dense) / (k_tiles * o_tiles * config.slots * config.cols)))
    return RandomLayer(program=program, weight=dense[:inputs, :outputs].T,
                       scale=None if scale is None else scale[:, :outputs])
