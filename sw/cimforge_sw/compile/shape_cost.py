"""What layers cost on the digital tile, from shapes and patterns alone, many at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.mode import Mode
from cimforge.spec.pattern import NmPattern
from cimforge_sw.compile.bound import least_cycles
from cimforge_sw.compile.cost import most_in_block
from cimforge_sw.compile.geometry import Geometry
from cimforge_sw.compile.lanes import lane_cycles
from cimforge_sw.compile.loop import Loop
from cimforge_sw.compile.patterns import runnable_patterns
from cimforge_sw.compile.tiling import Tiling

__all__ = ["Costs", "Job", "kept_weights", "shape_costs", "weight_loads"]

#: Vectors per layer: a million, a slip of the keyboard beyond.
MOST_TOKENS = 1 << 20
#: Name, outputs O, inputs K, pattern and tokens T of a layer.
Job = tuple[str, int, int, NmPattern, int]


@dataclass(frozen=True, eq=False)
class Costs:
    """What the compiler will predict for layers whose groups are as full as their pattern allows.

    Attributes
    ----------
    modes : tuple of Mode
        Chosen as the compiler chooses: fewest cycles with streamed weights; of equals the one
        with fewer passes, then the larger G.
    passes : ndarray of int64 [L]
        Tiles accumulated per window; above 1 where the hardware has no mode that dense, or a
        sparser one takes fewer cycles.
    cycles, resident_cycles : ndarray of int64 [L]
        Weights streamed, and every tile's weights in place, as :class:`Estimate` defines them.
    kept, cells : ndarray of int64 [L]
        Weights that the pattern keeps, and cells of all tiles.
    least_cells : ndarray of int64 [L]
        Cells with the mode, passes and G that take fewest; the fastest may take more.
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


@dataclass(frozen=True, eq=False)
class _Options:
    """What the compiler chooses from for every layer, one entry per option; arrays are [P].

    Attributes
    ----------
    owner : ndarray of int64
        Number of the layer; ascending.
    modes : tuple of Mode
        All that occur.
    mode : ndarray of int64
        Which of them.
    group, passes : ndarray of int64
    """

    owner: np.ndarray
    modes: tuple[Mode, ...]
    mode: np.ndarray
    group: np.ndarray
    passes: np.ndarray


def _options(config: DcimConfig, jobs: Sequence[Job]) -> _Options:
    """Return the options of all layers.

    They depend on the inputs of a layer only where there are fewer than a block or two.
    """
    sizes, number = {mode.m for mode in config.modes}, {}
    tables: list[list[tuple[int, int, int]]] = []  # by kind of layer: mode, G and passes
    kinds = []
    for _, _, inputs, pattern, _ in jobs:
        key = pattern, min(inputs, max(sizes) * pattern.m)
        if key not in number:
            number[key] = len(tables)
            runnable = runnable_patterns(
                config, {m: most_in_block(pattern, m, key[1]) for m in sizes}, pattern)
            tables.append([(i, mode.group, runnable[choice]) for i, mode in enumerate(config.modes)
                           if (choice := NmPattern(mode.n, mode.m)) in runnable])
        kinds.append(number[key])
    counts = np.array([len(tables[kind]) for kind in kinds], dtype=np.int64)
    flat = np.array([row for table in tables for row in table], dtype=np.int64).reshape(-1, 3)
    starts = np.cumsum([0, *(len(table) for table in tables)])[kinds]
    owner = np.repeat(np.arange(len(jobs)), counts)
    at = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(len(owner))
    return _Options(owner, config.modes, *flat[at].T)


def _check(config: DcimConfig, jobs: Sequence[Job]):
    for name, outputs, inputs, _, tokens in jobs:
        if min(outputs, inputs, tokens) < 1:
            raise DataError(f"{name}: outputs, inputs and tokens must be at least 1, not "
                            f"{outputs}, {inputs} and {tokens}")
        if tokens > MOST_TOKENS:
            raise DataError(f"{name}: at most {MOST_TOKENS} tokens, not {tokens}")
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
    options = _options(config, jobs)
    owner = options.owner
    sizes = np.array([(outputs, inputs, tokens) for _, outputs, inputs, _, tokens in jobs],
                     dtype=np.int64).reshape(-1, 3)[owner].T
    geometry = Geometry.of(config, options.modes, sizes[0], sizes[1], options.passes,
                           number=options.mode)
    cycles = _fewest(geometry, sizes[2], owner, jobs)
    # as the compiler: by cycles, then fewer passes, then the larger group
    order = np.lexsort((-options.group, options.passes, cycles, owner))
    best = order[np.unique(owner[order], return_index=True)[1]]
    chosen = geometry.take(best)
    least = np.full(len(jobs), np.iinfo(np.int64).max)
    np.minimum.at(least, owner[geometry.fits], geometry.cells[geometry.fits])
    kept = [kept_weights(outputs, inputs, pattern) for _, outputs, inputs, pattern, _ in jobs]
    return Costs(tuple(options.modes[i] for i in options.mode[best]), chosen.passes, cycles[best],
                 lane_cycles(chosen, sizes[2][best], loads=False),
                 np.array(kept, dtype=np.int64), chosen.cells, least)


def weight_loads(config: DcimConfig, job: Job, costs: Costs, i: int) -> int:
    """Return the banks that the weight stream fills for a layer, as the compiler's loop says.

    Parameters
    ----------
    config : DcimConfig
    job : (str, int, int, NmPattern, int)
        The layer.
    costs : Costs
        Of `shape_costs`.
    i : int
        Which of them is the layer's.
    """
    _, outputs, inputs, _, tokens = job
    tiling = Tiling(config, costs.modes[i], outputs, inputs, int(costs.passes[i]))
    return Loop(tiling, tokens, np.ones(tiling.tiles, dtype=np.int64)).loads


def _fewest(geometry: Geometry, tokens: np.ndarray, owner: np.ndarray,
            jobs: Sequence[Job]) -> np.ndarray:
    """Return the cycles of every option that may be its layer's best; of others a huge number.

    The option with the least bound goes first; others only if their bound is below its cycles.
    """
    huge = np.iinfo(np.int64).max
    fits = geometry.fits
    bound = np.full(len(owner), huge)
    bound[fits] = least_cycles(geometry.take(np.flatnonzero(fits)), tokens[fits])
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
