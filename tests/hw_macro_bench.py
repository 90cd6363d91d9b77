"""Vectors through a macro: presented as its contract says, merged sums compared with golden."""

from dataclasses import dataclass, field, replace
from itertools import repeat

import numpy as np
from hw_support import drive, mode_word, peek, words

from cimforge.spec.layout import pack_selects
from cimforge.spec.mode import Mode
from cimforge_verif import golden
from cimforge_verif.compare import assert_equal
from cimforge_verif.random_tile import random_signed, random_tile

TAG = {"acc": 0, "first": 1, "last": 1, "requantize": 0, "end": 1}


@dataclass
class Vector:
    """A window and how to use it; ``bank`` also names the tile whose weights it meets."""

    window: np.ndarray
    mode: Mode
    bank: int = 0
    steps: int = 1
    release: int = 0
    tag: dict = field(default_factory=lambda: dict(TAG))


@dataclass
class Sums:
    """One transfer on ``merged``, with the cycle in which it was taken."""

    lanes: np.ndarray
    group_log2: int
    tag: dict
    cycle: int = -1


def tile_selects(config, tile):
    """Return the selects of every step as integers; one zero where there are none."""
    if tile.selects is None:
        return [0]
    beats = pack_selects(config, *tile.selects).reshape(len(tile.selects[0]), -1)
    width = -(-config.weight_beat_bits // 8)
    steps = []
    for step in beats.reshape(len(beats), -1, width):
        parts = [int.from_bytes(beat.tobytes(), "little") for beat in step]
        steps.append(sum(part << i * config.weight_beat_bits for i, part in enumerate(parts)))
    return steps


def expected_sums(config, vector, tile):
    """Return what a vector must deliver, step by step."""
    for step in range(vector.steps):
        selects = [] if tile.selects is None else [part[step] for part in tile.selects]
        lanes = golden.macro(config, vector.window, vector.mode, tile.weight, tile.index, *selects)
        final = step == vector.steps - 1
        tag = dict(vector.tag, first=int(vector.tag["first"] and step == 0),
                   last=int(vector.tag["last"] and final), end=int(vector.tag["end"] and final))
        yield Sums(lanes, vector.mode.group.bit_length() - 1, tag)


class MacroBench:
    """Drives a macro cycle by cycle and remembers what happened in which."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut, self.config = ctx, dut, dut.config
        self.tiles, self.cycle = {}, 0
        self.taken, self.released, self.computing, self.sums = [], [], [], []
        self.shown = None  # what merged held when it was last valid and not taken

    async def load(self, bank, tile):
        """Write a tile, a row of all sub-macros per cycle."""
        for row in range(self.config.rows):
            self.write(bank, tile, row)
            await self.tick()
        self.tiles[bank] = tile
        self.write(bank, tile, 0, en=0)

    def write(self, bank, tile, row, en=1):
        """Put one row of a tile on the write ports."""
        cfg = self.config
        share, bits = cfg.index_share, cfg.weight_bits
        for p, port in enumerate(self.dut.write):
            drive(self.ctx, [port.en, port.bank, port.row], [en, bank, row])
            drive(self.ctx, port.data, [
                words(tile.weight[p, row, u * share:][:share], bits)
                | int(tile.index[p, row, u]) << share * bits for u in range(cfg.units)])

    def present(self, vector):
        """Put a vector on ``vectors``; None withdraws the last one."""
        port = self.dut.vectors
        drive(self.ctx, port.valid, vector is not None)
        if vector is None:
            return
        drive(self.ctx, port.window,
              words(vector.window.reshape(-1, self.config.max_m), self.config.act_bits))
        drive(self.ctx, [port.mode, port.bank, port.steps, port.release],
              [mode_word(vector.mode), vector.bank, vector.steps, vector.release])
        for name, value in vector.tag.items():
            drive(self.ctx, getattr(port.tag, name), value)

    async def tick(self, vector=None, ready=1):
        """Spend one cycle with a vector (or none) presented; return whether it was taken."""
        ctx, dut = self.ctx, self.dut
        self.present(vector)
        drive(ctx, dut.merged.ready, ready)
        if vector is not None and hasattr(dut, "selects"):
            steps = tile_selects(self.config, self.tiles[vector.bank])
            drive(ctx, dut.selects, steps[peek(ctx, dut.step)])
        taken = vector is not None and bool(peek(ctx, dut.vectors.ready))
        for name, log in (("released", self.released), ("computing", self.computing)):
            if peek(ctx, getattr(dut, name)):
                log.append(self.cycle)
        self._watch(ready)
        if taken:
            self.taken.append(self.cycle)
        await ctx.tick()
        self.cycle += 1
        return taken

    def _watch(self, ready):
        port = self.dut.merged
        if not peek(self.ctx, port.valid):
            assert self.shown is None, "merged became invalid before it was taken"
            return
        tag = {name: peek(self.ctx, getattr(port.tag, name)) for name in TAG}
        now = Sums(peek(self.ctx, port.lane), peek(self.ctx, port.group_log2), tag)
        if self.shown is not None:
            same(now, self.shown, "held sums")
        self.shown = None if ready else now
        if ready:
            self.sums.append(replace(now, cycle=self.cycle))

    async def run(self, vectors, gaps=None, waits=None):
        """Pass vectors, idle where ``gaps`` say so; ``waits`` say when sums are not ready."""
        gaps, waits, limit = gaps or repeat(False), waits or repeat(False), self.cycle + 2000
        for vector in vectors:
            while next(gaps):
                await self.tick(None, not next(waits))
            while not await self.tick(vector, not next(waits)):
                assert self.cycle < limit, "the macro does not take the vector"
        while not peek(self.ctx, self.dut.idle) or self.shown:
            await self.tick(None, not next(waits))
            assert self.cycle < limit, "the macro does not become idle"

    def check(self, vectors):
        """Compare everything taken from ``merged`` with golden, in order."""
        wanted = [sums for v in vectors for sums in expected_sums(self.config, v,
                                                                   self.tiles[v.bank])]
        assert len(self.sums) == len(wanted), f"{len(self.sums)} sums instead of {len(wanted)}"
        for i, (got, want) in enumerate(zip(self.sums, wanted, strict=True)):
            same(got, want, f"sums {i}")


def same(got, want, name):
    """Compare two transfers but for their cycles."""
    assert_equal(name, got.lanes, want.lanes, ("lane",))
    assert (got.group_log2, got.tag) == (want.group_log2, want.tag), name


def random_vectors(config, rng, count, mode=None, steps=1, **changes):
    """Return vectors of random windows, in random modes unless one is given."""
    def one(i):
        chosen = mode or config.modes[rng.integers(len(config.modes))]
        window = random_signed(rng, (config.window_inputs,), config.act_bits)
        tag = dict(acc=i % config.acc_depth, first=i % 2, last=i // 2 % 2,
                   requantize=i % 3 % 2, end=i // 3 % 2)
        return Vector(window, chosen, steps=steps, tag=tag, **changes)
    return [one(i) for i in range(count)]


def tile_for(config, rng, steps=1, mode=None):
    """Return a random tile; its selects are random too, whatever the mode."""
    tile = random_tile(config, mode or config.modes[-1], rng, steps)
    if tile.selects is None:
        return tile
    shape = (2, steps, config.rows, config.sub_macros)
    level1, level2 = rng.integers(0, config.sub_macros, shape)
    mask = rng.integers(0, 2, (steps, config.sub_macros, config.cols))
    return replace(tile, selects=(level1, level2, mask))
