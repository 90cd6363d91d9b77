"""A slow tile for tests of the compiler, written from ``docs/dcim.md`` alone, and random layers."""

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.layout import unpack_acts, unpack_selects, unpack_weights

SMALL = DcimConfig(sub_macros=2, rows=4, cols=4, max_m=4, act_port_bits=64, act_depth=16,
                   acc_depth=4, max_k=1024)


def random_weight(rng, outputs, inputs, n, m, bits=8, shared=1):
    """Return [O, K] with exactly n of m nonzeros, at positions that ``shared`` outputs share."""
    groups = -(-inputs // m)
    order = rng.random((-(-outputs // shared), groups, m)).argsort(-1)
    mask = np.repeat(order < n, shared, axis=0)[:outputs].reshape(outputs, -1)
    value = rng.integers(1, 1 << bits - 1, mask.shape) * rng.choice([-1, 1], mask.shape)
    return np.where(mask, value, 0)[:, :inputs].astype(np.int8)


def random_acts(rng, config, tokens, inputs):
    high = 1 << config.act_bits - 1
    return rng.integers(-high, high, (tokens, inputs))


class Interpreter:
    """Executes commands one by one; anything that the tile would refuse fails the test."""

    def __init__(self, config, layer, x):
        self.config, self.layer = config, layer
        self.stream = list(layer.weights)
        self.acts = list(unpack_acts(config, layer.act_beats(config, x)))
        width = config.window_beats * config.act_lanes
        self.buffer = np.full((config.act_depth, width), 99)  # what earlier layers left there
        self.banks, self.selects, self.acc, self.out = {}, {}, {}, []

    def run(self):
        for command in self.layer.commands:
            getattr(self, type(command).__name__)(command)
        assert not self.stream
        assert not self.acts
        assert not self.banks, "a bank was not released"
        beats = np.array(self.out).reshape(-1, self.config.out_port)
        return self.layer.collect(self.config, beats)

    def _take(self, count):
        beats, self.stream = np.array(self.stream[:count]), self.stream[count:]
        return beats

    def LoadWeights(self, command):
        assert command.bank not in self.banks
        assert command.bank < self.config.weight_banks
        beats = self._take(self.config.weight_beats)
        self.banks[command.bank] = unpack_weights(self.config, beats)

    def LoadSelects(self, command):
        assert command.bank not in self.banks
        assert 1 <= command.steps <= self.config.max_steps
        beats = self._take(command.steps * self.config.select_beats)
        self.selects[command.bank] = unpack_selects(self.config, beats)

    def LoadActs(self, command):
        assert 1 <= command.count
        assert command.row + command.count <= self.config.act_depth
        assert 1 <= command.beats <= self.config.window_beats
        for row in range(command.row, command.row + command.count):
            beats, self.acts = self.acts[:command.beats], self.acts[command.beats:]
            self.buffer[row, :command.beats * self.config.act_lanes] = np.concatenate(beats)

    def Compute(self, command):
        if not (command.first and command.last):
            assert command.acc + command.count <= self.config.acc_depth
        for i in range(command.count):
            total = self._product(command, self.buffer[command.row + i * command.stride])
            if not command.first:
                total = total + self.acc[command.acc + i]
            if command.last:
                self.out.append(total)
            else:
                self.acc[command.acc + i] = total
        if command.release:
            del self.banks[command.bank]

    def End(self, command):
        assert command is self.layer.commands[-1]

    def _product(self, command, window):
        config, n, m, group = self.config, command.n, command.m, command.group
        total = np.zeros((config.sub_macros // group, config.cols), dtype=np.int64)
        for row in range(config.rows):
            for p in range(config.sub_macros):
                for step in range(command.steps):
                    lines, enable = self._lines(command, row, p, step, window, n, m)
                    if lines is None:
                        continue
                    weight, index = self.banks[command.bank]
                    column = np.repeat(index[p, row], config.index_share)
                    total[p // group] += weight[p, row] * lines[column] * enable
        return total.reshape(-1)

    def _lines(self, command, row, p, step, window, n, m):
        """Return the lines that the cells of a row select from, and the columns enabled."""
        config = self.config

        def block(sub_macro):
            number = (row * command.group + sub_macro % command.group) // n
            whole = number < config.rows * command.group // n
            return window[number * m:][:m] if whole else np.zeros(m, dtype=np.int64)

        if config.select == "line":
            return block(p), 1
        level1, level2, mask = self.selects[command.bank]
        source = level2[step, row, p]
        pairs = np.concatenate([block(source), [0]])[:max(m, 2)].reshape(-1, 2)
        pair = level1[step, row, source]
        return (pairs[pair] if pair < len(pairs) else None), mask[step, p]

