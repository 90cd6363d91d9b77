"""Latency of a mapping in closed form, from its drives: cycles per token and of a token.

An array works its drives off one after the other, arrays work in parallel, and a stage takes as
long as its slowest array. Of a matrix, with r and l the cycles that its stages R and L keep an
array busy:

- interval: ``max over arrays of (r + l)``. The first stage of a token runs beside the second of the
  one before, so that is ``max(R, L)`` where no array holds blocks of both;
- serial: ``max over arrays of r + max over arrays of l``, the latency that decoding feels.

Matrices that share an input (Q, K, V) run at once; all others one after the other, each for all
tokens of a sequence. Loading word lines and retiring results overlap with conversion in the tile
and are left out; `cimforge.spec.analog.timing` counts them.
"""

from dataclasses import dataclass

import numpy as np

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import ConfigError
from cimforge_sw.analog.drives import LOSSLESS, Drives, Rule
from cimforge_sw.analog.factors import Matrix

__all__ = ["NORMALIZATIONS", "Latency", "StepLatency", "latency", "linear_arrays"]

NORMALIZATIONS = ("per_array", "equal_adcs")


@dataclass(frozen=True)
class StepLatency:
    """Cycles of matrices that run at once.

    Parameters
    ----------
    matrices : tuple of str
    first, second : int
        Of the two stages of one token; a dense matrix has no second.
    interval : int
        Per token, pipelined.
    """

    matrices: tuple[str, ...]
    first: int
    second: int
    interval: int

    @property
    def serial(self) -> int:
        """Cycles of one token by itself."""
        return self.first + self.second


@dataclass(frozen=True)
class Latency:
    """Cycles of all steps, in their order."""

    steps: tuple[StepLatency, ...]

    @property
    def interval(self) -> int:
        """Cycles per token, pipelined within each step."""
        return sum(step.interval for step in self.steps)

    @property
    def serial(self) -> int:
        """Cycles of one token by itself."""
        return sum(step.serial for step in self.steps)


def linear_arrays(matrix: Matrix, array: int) -> int:
    """Return the arrays that a dense matrix takes: its tiles."""
    return -(-matrix.outputs // array) * -(-matrix.inputs // array)


def latency(work: Drives, config: AnalogConfig, rule: Rule = LOSSLESS,
            normalization: str = "per_array") -> Latency:
    """Return the cycles of a mapping's drives.

    Parameters
    ----------
    work : Drives
    config : AnalogConfig
        Converters and cycles; the mapping may have more arrays than one tile.
    rule : Rule
        Precision of each kind of mapping.
    normalization : str
        ``"per_array"``: every array has ``config.adcs`` converters. ``"equal_adcs"``: at most
        ``config.adcs`` times the arrays that linear takes for a step convert at once. They are
        dealt out to the step's arrays in powers of two, at most ``config.adcs`` each, so that the
        slowest is as fast as possible; with fewer converters than arrays, these take turns.

    Raises
    ------
    ConfigError
        Another normalization, arrays of another size, or too coarse an ADC.
    """
    if normalization not in NORMALIZATIONS:
        raise ConfigError(f"normalization must be one of {', '.join(NORMALIZATIONS)}, not "
                          f"{normalization!r}")
    matrices = work.mapping.matrices
    if work.mapping.array != config.array:
        raise ConfigError(f"the mapping is for arrays of {work.mapping.array}, not {config.array}")
    shared = normalization == "equal_adcs"
    levels = [config.adcs >> n for n in range(config.adcs.bit_length() if shared else 1)]
    site, step = _sites(work)
    busy = np.zeros((2, len(levels), len(step)), dtype=np.int64)
    for n, adcs in enumerate(levels):
        cycles = work.durations(config, rule, adcs)
        for stage in (0, 1):
            busy[stage, n] = np.bincount(site, cycles * (work.stage == stage), len(step))
    found = []
    for number, members in enumerate(work.steps):
        mine = busy[:, :, step == number]
        arrays = sum(linear_arrays(matrices[n], config.array) for n in members)
        budget = config.adcs * arrays if shared else None
        first, second, interval = (
            _slowest(cycles, levels, budget) for cycles in (mine[0], mine[1], mine[0] + mine[1]))
        found.append(StepLatency(tuple(matrices[n].name for n in members), first, second, interval))
    return Latency(tuple(found))


def _sites(work: Drives) -> tuple[np.ndarray, np.ndarray]:
    """Return, of every drive, its pair of step and array; and the step of every pair."""
    pair, site = np.unique(work.step * work.mapping.arrays + work.array, return_inverse=True)
    return site, pair // work.mapping.arrays


def _slowest(cycles: np.ndarray, levels: list[int], budget: int | None) -> int:
    """Return the cycles of the slowest array, converters dealt out as well as possible.

    ``cycles`` [levels, arrays] are those with ``levels`` converters, most first.
    """
    cycles = cycles[:, cycles[0] > 0]
    if not cycles.size:
        return 0
    arrays = cycles.shape[1]
    if budget is None or arrays * levels[0] <= budget:
        return int(cycles[0].max())
    if arrays > budget:
        return int(cycles[-1].max()) * -(-arrays // budget)
    count = np.array(levels)
    limits = np.unique(cycles)
    limits = limits[limits >= cycles[0].max()]
    low, high = 0, len(limits) - 1  # the last limit is met with one converter each
    while low < high:
        middle = (low + high) // 2
        enough = cycles <= limits[middle]
        need = np.where(enough, count[:, None], count[0]).min(axis=0).sum()
        low, high = (low, middle) if need <= budget else (middle + 1, high)
    return int(limits[low])
