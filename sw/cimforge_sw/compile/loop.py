"""The command stream of a layer: one loop over tiles, the next tile loading under this one."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cimforge.spec.commands import Command, Compute, End, LoadActs, LoadSelects, LoadWeights
from cimforge_sw.compile.tiling import Tiling

__all__ = ["Loop"]


@dataclass(frozen=True, eq=False)
class Loop:
    """Tiles of every chunk of tokens in order; the weights are streamed once per chunk.

    If all tiles of the layer fit in the weight banks they are loaded once and released by the
    last chunk.

    Attributes
    ----------
    tiling : Tiling
    tokens : int
    steps : ndarray of int64, shape (tiles,)
        Select steps of every tile; 1 with ``line``.
    """

    tiling: Tiling
    tokens: int
    steps: np.ndarray

    @cached_property
    def chunks(self) -> list[tuple[int, int]]:
        """``(first token, tokens)`` of each chunk."""
        return self.tiling.chunks(self.tokens)

    @property
    def resident(self) -> bool:
        """Whether the banks hold the whole layer."""
        return self.tiling.tiles <= self.tiling.config.weight_banks

    @property
    def computes(self) -> int:
        """Compute commands of the program."""
        return self.tiling.tiles * len(self.chunks)

    @property
    def loads(self) -> int:
        """Tiles that the weight stream carries."""
        return self.tiling.tiles if self.resident else self.computes

    def _bank(self, i: int) -> int:
        return (i % self.tiling.tiles if self.resident else i) % self.tiling.config.weight_banks

    def _load(self, i: int) -> list[Command]:
        commands: list[Command] = []
        if self.tiling.config.select == "pair":
            steps = int(self.steps[i % self.tiling.tiles])
            commands.append(LoadSelects(bank=self._bank(i), steps=steps))
        return [*commands, LoadWeights(bank=self._bank(i))]

    def _acts(self, count: int) -> list[Command]:
        tiling = self.tiling
        beats = [tiling.beats(inputs) for _, inputs in tiling.spans]
        if beats[0] == beats[-1]:
            return [LoadActs(row=0, count=len(beats) * count, beats=beats[0])]
        return [LoadActs(row=0, count=count, beats=beats[0]),
                LoadActs(row=count, count=(len(beats) - 1) * count, beats=beats[-1])]

    def _compute(self, i: int) -> Compute:
        tiling, mode = self.tiling, self.tiling.mode
        chunk, tile = divmod(i, tiling.tiles)
        part = tile % tiling.tiles_per_block
        count = self.chunks[chunk][1]
        return Compute(
            bank=self._bank(i), n=mode.n, m=mode.m, group=mode.group,
            row=part // tiling.passes * count, stride=1, count=count,
            steps=int(self.steps[tile]), first=part == 0, last=part == tiling.tiles_per_block - 1,
            release=not self.resident or chunk == len(self.chunks) - 1)

    def at(self, i: int) -> list[Command]:
        """Return the commands around Compute ``i``.

        With two banks the load of tile ``i + 1`` goes ahead of it, so that it may start as soon
        as its bank is free. A tile of ``pair`` takes two loads; the second would wait for the
        first to leave the queue, and Compute ``i`` with it, so it comes after that.
        """
        config = self.tiling.config
        before: list[Command] = []
        after: list[Command] = []
        first = 0 if i == 0 else i + config.weight_banks - 1
        for ahead in range(first, min(i + config.weight_banks, self.loads)):
            load = self._load(ahead)
            if ahead > i and config.select == "pair":
                after.append(load.pop())
            before += load
        chunk, tile = divmod(i, self.tiling.tiles)
        acts = self._acts(self.chunks[chunk][1]) if tile == 0 else []
        return [*before, *acts, self._compute(i), *after]

    def commands(self) -> Iterator[Command]:
        """Yield the whole program, ``End`` included."""
        for i in range(self.computes):
            yield from self.at(i)
        yield End()

    def windows(self) -> np.ndarray:
        """Return ``(token, first input, inputs)`` per loaded row: int64, shape (rows, 3)."""
        rows = [(token, *span) for first, count in self.chunks for span in self.tiling.spans
                for token in range(first, first + count)]
        return np.array(rows, dtype=np.int64)

    def results(self) -> np.ndarray:
        """Return ``(first token, tokens, first output, outputs)``: int64, shape (emitting, 4)."""
        width = self.tiling.config.outputs(self.tiling.mode)
        rows = [(*chunk, first, min(width, self.tiling.outputs - first))
                for chunk in self.chunks for first in range(0, self.tiling.outputs, width)]
        return np.array(rows, dtype=np.int64)
