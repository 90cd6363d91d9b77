"""Vector sets for the tile: compiled layers in every mode, and programs no compiler writes."""

from dataclasses import asdict

import numpy as np

from cimforge.spec.commands import (
    Command,
    Compute,
    End,
    LoadActs,
    LoadSelects,
    LoadWeights,
    SetRequantize,
    encode,
)
from cimforge.spec.config import DcimConfig
from cimforge.spec.layout import pack_acts, pack_selects, pack_weights
from cimforge.spec.mode import Mode
from cimforge.spec.pattern import NmPattern
from cimforge.spec.program import LayerProgram
from cimforge.spec.timing import cycles
from cimforge_sw.compile import compile_layer
from cimforge_verif.random_tile import random_signed, random_tile
from cimforge_verif.stimulus import random_inputs, random_layer
from cimforge_verif.tile import Tile
from cimforge_verif.vectors import VectorSet, make_vectors

__all__ = ["compiled", "extremes", "free_pattern", "in_passes", "mode_layers", "random_program",
           "requantized"]


def nm_weight(config: DcimConfig, rng, outputs: int, inputs: int, n: int, m: int,
              shared: int) -> np.ndarray:
    """Return (O, K) with at most n of m nonzeros, at positions that ``shared`` outputs share."""
    blocks = -(-inputs // m)
    order = rng.random((-(-outputs // shared), blocks, m)).argsort(-1)
    mask = np.repeat(order < n, shared, axis=0)[:outputs].reshape(outputs, -1)[:, :inputs]
    return np.where(mask, random_signed(rng, mask.shape, config.weight_bits), 0)


def compiled(config: DcimConfig, mode: Mode, rng, tokens: int = 3) -> VectorSet:
    """Compile a random layer for one mode: a window and an output block, and a tail of both.

    ``pair``: a tile's columns share their positions, so that every tile takes one step.
    """
    outputs, inputs = config.outputs(mode) + 1, config.k_tile(mode) + mode.m // 2 + 1
    shared = config.index_share if config.select == "line" else outputs
    weight = nm_weight(config, rng, outputs, inputs, mode.n, mode.m, shared)
    layer = compile_layer(config, f"{mode}", weight, NmPattern(mode.n, mode.m), tokens,
                          group=mode.group, mode=NmPattern(mode.n, mode.m))
    assert layer.mode == mode
    return _checked(config, layer, weight, rng)


def _checked(config: DcimConfig, layer: LayerProgram, weight: np.ndarray, rng) -> VectorSet:
    """Make vectors whose results are also a plain matrix product."""
    x = random_inputs(config, layer, rng)
    vectors = make_vectors(config, layer, x)
    np.testing.assert_array_equal(vectors.y, x @ weight.T.astype(np.int64))
    return vectors


def mode_layers(config: DcimConfig, seed: int) -> list[VectorSet]:
    """Return a layer for every legal mode."""
    rng = np.random.default_rng(seed)
    return [compiled(config, mode, rng) for mode in config.modes]


def in_passes(config: DcimConfig, n: int, rng, tokens: int = 12) -> VectorSet:
    """Compile a layer of N:max_m in the passes of a sparser mode, which the compiler chooses."""
    widest = max(config.k_tile(mode) for mode in config.modes)
    weight = nm_weight(config, rng, 2 * config.cols + 1, 3 * widest, n, config.max_m,
                       config.index_share)
    layer = compile_layer(config, f"{n} in passes", weight, NmPattern(n, config.max_m), tokens)
    assert layer.passes > 1
    return _checked(config, layer, weight, rng)


def free_pattern(config: DcimConfig, n: int, m: int, rng, tokens: int = 2) -> VectorSet:
    """Compile a layer whose every output has positions of its own."""
    group = max(mode.group for mode in config.modes if (mode.n, mode.m) == (n, m))
    inputs = config.k_tile(Mode(n, m, group)) + m
    weight = nm_weight(config, rng, config.cols, inputs, n, m, 1)
    layer = compile_layer(config, f"free {n}:{m}", weight, NmPattern(n, m), tokens, group=group,
                          mode=NmPattern(n, m))
    return _checked(config, layer, weight, rng)


def requantized(config: DcimConfig, mode: Mode, rng, steps: int = 1) -> VectorSet:
    """Return a layer whose results are requantized, with a tail of K."""
    tokens = min(2, config.act_depth // 2)
    layer = random_layer(config, mode, rng, tokens=tokens, inputs=config.k_tile(mode) + 1,
                         requantize=True, steps=steps)
    x = random_inputs(config, layer.program, rng)
    vectors = make_vectors(config, layer.program, x)
    np.testing.assert_array_equal(vectors.y, layer.expected(config, x))
    return vectors


def extremes(config: DcimConfig, mode: Mode, rng) -> list[VectorSet]:
    """Return layers of nothing but the most negative operands, of zeros, and of one nonzero."""
    low = -(1 << config.weight_bits - 1), -(1 << config.act_bits - 1)
    outputs, inputs = config.outputs(mode), config.k_tile(mode)
    sets = []
    for name, value in (("lowest", low[0]), ("zero", 0), ("single", -low[0] - 1)):
        weight = nm_weight(config, rng, outputs, inputs, mode.n, mode.m, outputs)
        weight = np.where(weight != 0, value, 0)
        if name == "single":
            weight[1:], weight[0, np.flatnonzero(weight[0])[1:]] = 0, 0
        layer = compile_layer(config, name, weight, NmPattern(mode.n, mode.m), 2,
                              group=mode.group, mode=NmPattern(mode.n, mode.m))
        sets.append(make_vectors(config, layer, np.full((2, inputs), low[1])))
    return sets


class _Program:
    """Writes a random legal program: banks, strides, sums and windows in any order."""

    def __init__(self, config: DcimConfig, rng, base: int | None):
        self.config, self.rng = config, rng
        self.commands: list[Command] = []
        self.weights: list[np.ndarray] = []
        self.acts: list[np.ndarray] = []
        self.full = [0] * config.weight_banks  # steps of the weights in the bank, 0 if empty
        self.stored: set[int] = set()  # accumulation rows that hold sums
        self.depth = min(config.act_depth, 16)  # loading hundreds of windows takes its time
        self.base = self.pick(0, config.act_depth - self.depth) if base is None else base
        self.load_acts(self.base, self.depth, config.window_beats)

    def pick(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high, endpoint=True))

    def load_acts(self, row: int, count: int, beats: int) -> None:
        self.commands.append(LoadActs(row=row, count=count, beats=beats))
        values = random_signed(self.rng, (count, beats * self.config.act_lanes),
                               self.config.act_bits)
        self.acts.append(pack_acts(self.config, values))

    def set_requantize(self, output: int) -> None:
        self.commands.append(SetRequantize(
            output=output, bias=self.pick(-4096, 4096), multiplier=self.pick(0, (1 << 16) - 1),
            shift=self.pick(0, 24)))

    def load_weights(self, bank: int) -> None:
        mode = self.config.modes[self.pick(0, len(self.config.modes) - 1)]
        steps = self.pick(1, min(3, self.config.max_steps))
        tile = random_tile(self.config, mode, self.rng, steps)
        if tile.selects is not None:
            self.commands.append(LoadSelects(bank=bank, steps=steps))
            self.weights.append(pack_selects(self.config, *tile.selects))
        self.commands.append(LoadWeights(bank=bank))
        self.weights.append(pack_weights(self.config, tile.weight, tile.index))
        self.full[bank] = steps

    def compute(self, bank: int) -> None:
        """Any mode may read any weights: what they mean together is defined."""
        config, depth = self.config, self.depth
        mode = config.modes[self.pick(0, len(config.modes) - 1)]
        stride, acc = self.pick(0, 2), self.pick(0, config.acc_depth - 1)
        count = self.pick(1, min(config.acc_depth - acc, 4))
        row = self.pick(0, max(0, depth - 1 - stride * (count - 1)))
        count = count if row + stride * (count - 1) < depth else 1
        rows, steps = set(range(acc, acc + count)), self.pick(1, self.full[bank])
        first = not rows <= self.stored or self.rng.random() < 0.3
        last, release = self.rng.random(2) < 0.5
        if not last:
            self.stored |= rows
        elif steps > 1:  # the sums of the earlier steps overwrite them
            self.stored -= rows
        self.commands.append(Compute(
            bank=bank, n=mode.n, m=mode.m, group=mode.group, row=self.base + row, stride=stride,
            count=count, acc=acc, steps=steps, first=bool(first), last=bool(last),
            requantize=bool(self.rng.random() < 0.5), release=bool(release)))
        self.full[bank] *= not release

    def step(self) -> None:
        bank = self.pick(0, len(self.full) - 1)
        choice = self.rng.random()
        if choice < 0.1:
            row = self.pick(0, self.depth - 1)
            count = self.pick(1, min(2, self.depth - row))
            self.load_acts(self.base + row, count, self.pick(1, self.config.window_beats))
        elif choice < 0.15:
            self.set_requantize(self.pick(0, self.config.sub_macros * self.config.cols - 1))
        elif choice < 0.2:
            self.commands.append(End())
        elif self.full[bank]:
            self.compute(bank)
        else:
            self.load_weights(bank)


def random_program(config: DcimConfig, rng, length: int, base: int | None = None) -> VectorSet:
    """Return a random legal program, most of which no compiler would write.

    Its windows are 16 rows of the buffer, or all there are, from ``base`` on: anywhere if None.
    """
    program = _Program(config, rng, base)
    for output in range(config.sub_macros * config.cols):
        program.set_requantize(output)
    while len(program.commands) < length or True not in (
            isinstance(c, Compute) and c.last for c in program.commands):
        program.step()
    commands = [c for c in program.commands if not isinstance(c, End)] + [End()]
    weights, acts = np.concatenate(program.weights), np.concatenate(program.acts)
    tile = Tile(config)
    results = tile.run(commands, weights, acts)
    assert not tile.error, f"{tile.error.name} at {commands[tile.position]}"
    empty = np.zeros((0, 0), dtype=np.int64)
    return VectorSet(config=config, layer="random program", words=encode(commands),
                     weights=weights, acts=acts, results=results,
                     last=np.array(tile.last, dtype=np.uint8), y=empty, x=empty,
                     counters={"cycles": cycles(config, commands), **asdict(tile.counters)})
