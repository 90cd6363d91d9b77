"""Random legal programs: every command in any order that the rules of docs/dcim.md allow."""

import numpy as np
from hw_tile_bench import Program

from cimforge.spec.commands import (
    Compute,
    End,
    LoadActs,
    LoadSelects,
    LoadWeights,
    SetRequantize,
)
from cimforge.spec.layout import pack_acts, pack_selects, pack_weights
from cimforge_verif.random_tile import random_signed

__all__ = ["random_program", "random_weight_beats"]


def random_weight_beats(config, rng):
    """Return the beats of one bank of anything."""
    shape = config.sub_macros, config.rows
    weight = random_signed(rng, (*shape, config.cols), config.weight_bits)
    return pack_weights(config, weight, rng.integers(0, config.lines, (*shape, config.units)))


def random_select_beats(config, rng, steps):
    """Return the beats of any selects."""
    level = rng.integers(0, config.sub_macros, (2, steps, config.rows, config.sub_macros))
    mask = rng.integers(0, 2, (steps, config.sub_macros, config.cols))
    return pack_selects(config, *level, mask)


class _Writer:
    """Appends commands and their beats, and remembers the banks."""

    def __init__(self, config, rng):
        self.config, self.rng = config, rng
        self.commands, self.weights, self.acts = [], [], []
        self.full = [False] * config.weight_banks
        self.steps = [0] * config.weight_banks
        self.loaded = [0]  # rows of windows that were loaded
        self.partial = set(range(config.acc_depth))  # accumulation rows without a whole sum

    def integer(self, low, high):
        return int(self.rng.integers(low, high, endpoint=True))

    def load_weights(self):
        empty = [bank for bank, full in enumerate(self.full) if not full]
        if not empty:
            return
        bank = int(self.rng.choice(empty))
        if self.config.select == "pair" and (
                not self.steps[bank] or self.rng.random() < 0.5):
            self.steps[bank] = self.integer(1, self.config.max_steps)
            self.commands.append(LoadSelects(bank=bank, steps=self.steps[bank]))
            self.weights.append(random_select_beats(self.config, self.rng, self.steps[bank]))
        self.commands.append(LoadWeights(bank=bank))
        self.weights.append(random_weight_beats(self.config, self.rng))
        self.full[bank] = True

    def load_acts(self):
        cfg = self.config
        count = self.integer(1, min(4, cfg.act_depth))
        beats, row = self.integer(1, cfg.window_beats), self.integer(0, cfg.act_depth - count)
        self.loaded += range(row, row + count)
        self.commands.append(LoadActs(row=row, count=count, beats=beats))
        self.acts.append(pack_acts(cfg, random_signed(self.rng, (count, beats * cfg.act_lanes),
                                                      cfg.act_bits)))

    def compute(self):
        cfg, rng = self.config, self.rng
        usable = [bank for bank, full in enumerate(self.full)
                  if full and (cfg.select == "line" or self.steps[bank])]
        if not usable:
            self.load_weights()
            return
        bank, mode = int(rng.choice(usable)), cfg.modes[rng.integers(len(cfg.modes))]
        count = self.integer(1, min(4, cfg.act_depth, cfg.acc_depth))
        row = int(rng.choice(self.loaded))  # in a large buffer hardly any other is not zero
        stride = self.integer(0, (cfg.act_depth - 1 - row) // max(1, count - 1)
                              ) if count > 1 else 7
        release = bool(rng.random() < 0.6)
        steps = self.integer(1, self.steps[bank]) if cfg.select == "pair" else 1
        last = bool(rng.random() < 0.6)
        first, acc = self._rows(count, steps, last)
        self.commands.append(Compute(
            bank=bank, n=mode.n, m=mode.m, group=mode.group, row=row, stride=stride, count=count,
            acc=acc, steps=steps, first=first, last=last, requantize=bool(rng.integers(2)),
            release=release))
        self.full[bank] &= not release  # select steps stay, for weights that come without new ones

    def _rows(self, count, steps, last):
        """Choose ``first`` and ``acc``; what several steps leave behind is not added to."""
        acc = self.integer(0, self.config.acc_depth - count)
        rows = set(range(acc, acc + count))
        first = bool(self.rng.integers(2)) or bool(rows & self.partial)
        if first and last and steps == 1:  # keeps nothing
            return first, self.integer(0, 65535)
        self.partial = self.partial | rows if last and steps > 1 else self.partial - rows
        return first, acc

    def set_requantize(self):
        self.commands.append(SetRequantize(
            output=self.integer(0, self.config.sub_macros * self.config.cols - 1),
            bias=self.integer(-5000, 5000), multiplier=self.integer(1, 65535),
            shift=self.integer(8, 24)))


def random_program(config, rng, length=24):
    """Return a legal program of about ``length`` commands; banks may still be full at its end."""
    writer = _Writer(config, rng)
    kinds = [writer.load_weights, writer.load_acts, writer.compute, writer.set_requantize]
    while len(writer.commands) < length:
        rng.choice(kinds, p=[0.25, 0.2, 0.45, 0.1])()
    streams = [np.concatenate(beats) if beats else None
               for beats in (writer.weights, writer.acts)]
    return Program([*writer.commands, End()], *streams)
