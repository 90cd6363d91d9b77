"""What layers cost on the digital tile, from shapes and patterns alone, many at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.mode import Mode
from cimforge.spec.pattern import NmPattern
from cimforge_sw.compile.cost import most_in_block
from cimforge_sw.compile.geometry import Geometry
from cimforge_sw.compile.lanes import lane_cycles
from cimforge_sw.compile.patterns import runnable_patterns

__all__ = ["Costs", "Job", "kept_weights", "shape_costs"]

#: Name, outputs O, inputs K, pattern and tokens T of a layer.
Job = tuple[str, int, int, NmPattern, int]


@dataclass(frozen=True, eq=False)
class Costs:
    """What the compiler will predict for layers whose groups are as full as their pattern allows.

    Attributes
    ----------
    modes : tuple of Mode
        Chosen as the compiler chooses: fewest cycles with streamed weights, the larger G of equals.
    passes : ndarray of int64 [L]
        Tiles accumulated per window; above 1 where the hardware has no mode that dense.
    cycles, resident_cycles : ndarray of int64 [L]
        Weights streamed, and every tile's weights in place, as :class:`Estimate` defines them.
    kept, cells : ndarray of int64 [L]
        Weights that the pattern keeps, and cells of all tiles.
    least_cells : ndarray of int64 [L]
        Cells with the G that takes fewest; the fastest may take more.
    """

    modes: tuple[Mode, ...]
    passes: np.ndarray
    cycles: np.ndarray
    resident_cycles: np.ndarray
    kept: np.ndarray
    cells: np.ndarray
    least_cells: np.ndarray

    @property
    def slot_use(self) -> np.ndarray:
        """Share of the cells that hold a kept weight, float64 [L]."""
        return self.kept / self.cells


def kept_weights(outputs: int, inputs: int, pattern: NmPattern) -> int:
    """Return how many weights N:M keeps at most; a short last group keeps at most N.

    >>> kept_weights(2, 10, NmPattern(3, 8))
    10
    """
    groups, rest = divmod(inputs, pattern.m)
    return outputs * (groups * pattern.n + min(pattern.n, rest))


def _choices(config: DcimConfig, jobs: Sequence[Job]) -> list[list[tuple[Mode, int]]]:
    """Return the modes that the compiler chooses from, with the passes each takes.

    They depend on the inputs of a layer only where there are fewer than a block or two.
    """
    sizes, found = {mode.m for mode in config.modes}, {}
    result = []
    for _, _, inputs, pattern, _ in jobs:
        key = pattern, min(inputs, max(sizes) * pattern.m)
        if key not in found:
            most = {m: most_in_block(pattern, m, key[1]) for m in sizes}
            runnable = runnable_patterns(config, most, pattern)
            found[key] = [(mode, passes) for choice, passes in runnable.items()
                          for mode in config.modes if (mode.n, mode.m) == (choice.n, choice.m)]
        result.append(found[key])
    return result


def _bound(geometry: Geometry, tokens: np.ndarray) -> np.ndarray:
    """Return fewer cycles than a layer takes: all weights, or computing after its activations.

    Every block but a chunk's first computes after all of the chunk's activations have come, and
    the next chunk's come after that.
    """
    config, chunks = geometry.config, geometry.chunks(tokens)
    block, (short, full) = geometry.tiles_per_block, geometry.beats
    tiles = block * geometry.blocks
    loads = np.where(tiles <= config.weight_banks, tiles, tiles * chunks) * config.weight_beats
    acts = tokens * ((geometry.windows - 1) * full + short)
    computing = tokens * config.slices * block
    return np.maximum(loads, np.maximum(computing * geometry.blocks,
                                        acts + computing * (geometry.blocks - 1)))


def _check(config: DcimConfig, jobs: Sequence[Job]):
    for name, outputs, inputs, _, tokens in jobs:
        if min(outputs, inputs, tokens) < 1:
            raise DataError(f"{name}: outputs, inputs and tokens must be at least 1, not "
                            f"{outputs}, {inputs} and {tokens}")
        if inputs > config.max_k:
            raise DataError(f"{name}: the configuration takes at most max_k = {config.max_k} "
                            f"inputs, not {inputs}")


def shape_costs(config: DcimConfig, jobs: Sequence[Job]) -> Costs:
    """Return what layers cost; nothing is kept between calls, and equal layers count each.

    Parameters
    ----------
    config : DcimConfig
    jobs : sequence of (str, int, int, NmPattern, int)
        Name (for messages), O, K, pattern and T of every layer. Positions are shared as the
        hardware shares them: free with ``line``, by tile with ``pair``.

    Raises
    ------
    DataError
        A size below 1, more inputs than ``max_k``, or a layer that no mode's windows fit.
    """
    _check(config, jobs)
    options = [(job, mode, passes) for job, choices in enumerate(_choices(config, jobs))
               for mode, passes in choices]
    owner = np.array([job for job, *_ in options], dtype=np.int64)
    sizes = np.array([(outputs, inputs, tokens) for _, outputs, inputs, _, tokens in jobs],
                     dtype=np.int64).reshape(-1, 3)[owner].T
    modes = [mode for _, mode, _ in options]
    geometry = Geometry.of(config, modes, sizes[0], sizes[1],
                           np.array([passes for *_, passes in options], dtype=np.int64))
    cycles = _fewest(geometry, sizes[2], owner, len(jobs), jobs)
    # as the compiler: by cycles, then the larger group, then the order of the modes
    order = np.lexsort((np.arange(len(owner)), -np.array([mode.group for mode in modes],
                                                         dtype=np.int64), cycles, owner))
    best = order[np.unique(owner[order], return_index=True)[1]]
    chosen = geometry.take(best)
    least = np.full(len(jobs), np.iinfo(np.int64).max)
    np.minimum.at(least, owner[geometry.fits], geometry.cells[geometry.fits])
    kept = [kept_weights(outputs, inputs, pattern) for _, outputs, inputs, pattern, _ in jobs]
    return Costs(tuple(modes[i] for i in best), chosen.passes, cycles[best],
                 lane_cycles(chosen, sizes[2][best], loads=False),
                 np.array(kept, dtype=np.int64), chosen.cells, least)


def _fewest(geometry: Geometry, tokens: np.ndarray, owner: np.ndarray, count: int,
            jobs: Sequence[Job]) -> np.ndarray:
    """Return the cycles of every option that may be its layer's best; of others a huge number.

    The option with the least bound goes first; others only if their bound is below its cycles.
    """
    huge = np.iinfo(np.int64).max
    fits = geometry.fits
    bound = np.full(len(owner), huge)
    bound[fits] = _bound(geometry.take(np.flatnonzero(fits)), tokens[fits])
    order = np.lexsort((np.arange(len(owner)), bound, owner))
    first = order[np.unique(owner[order], return_index=True)[1]]
    for job in np.flatnonzero(bound[first] == huge)[:1]:
        name, _, inputs, pattern, _ = jobs[job]
        windows = geometry.windows[owner == job].min()
        raise DataError(f"{name}: {inputs} inputs in {pattern} take {windows} windows per token, "
                        f"but the activation buffer holds act_depth = {geometry.usable_rows}")
    cycles = np.full(len(owner), huge)
    cycles[first] = lane_cycles(geometry.take(first), tokens[first])
    best = cycles[first]
    rest = np.flatnonzero((bound < best[owner]) & (cycles == huge))
    cycles[rest] = lane_cycles(geometry.take(rest), tokens[rest])
    return cycles
