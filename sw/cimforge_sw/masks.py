"""N:M masks from scores: which weights of every group of M inputs stay.

N counts what is *kept*. Ties go to the lower index, so that a mask depends on no device, thread
count or sort. K is padded to a multiple of M with positions that lose against every real weight.
"""

import numpy as np
import torch
from torch import Tensor

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.rows import map_rows
from cimforge_sw.sharing import GRANULARITIES, check_sharing

__all__ = ["GRANULARITIES", "check_sharing", "nm_mask"]

_OUTPUTS = {"free": 1, "share2": 2, "share4": 4}  # rows that share their positions
_PAIRWISE_M = 32  # beyond it comparing all pairs costs more than sorting


def _rank_columns(columns: np.ndarray) -> np.ndarray:
    """Return how many elements of its group beat each element; columns and result are [M, G].

    Every pair is compared once, on whole columns of groups: vectorized operations whose results
    are bytes. Up to M = 8 as fast as a selection network of minima and maxima, without its ties.
    """
    m, groups = columns.shape
    index = np.arange(m, dtype=np.min_scalar_type(m - 1))[:, None]
    if m > _PAIRWISE_M:
        rank = np.empty((m, groups), index.dtype)
        np.put_along_axis(rank, np.argsort(-columns, axis=0, kind="stable"), index, axis=0)
        return rank
    rank = np.repeat(index, groups, axis=1)  # as if all earlier ones were better
    wins = np.empty(groups, dtype=bool)
    for i in range(m):
        for j in range(i + 1, m):  # the later one wins only if it is greater
            np.greater(columns[j], columns[i], out=wins)
            rank[i] += wins.view(np.uint8)
            rank[j] -= wins.view(np.uint8)
    return rank


def _in_groups(score: np.ndarray, m: int, n: int) -> np.ndarray:
    """Return whether each element of [R, K] is among the n best of its group of m."""
    groups = score.reshape(-1, m)
    columns = _rank_columns(np.ascontiguousarray(groups.T)) < n
    rows = np.empty(groups.shape, columns.dtype)
    for place, column in enumerate(columns):  # thrice as fast as rows[:] = columns.T
        rows[:, place] = column
    return rows.reshape(score.shape)


def _share_mask(score: np.ndarray, pattern: NmPattern, outputs: int) -> np.ndarray:
    """Choose common positions for every ``outputs`` adjacent rows; the last set may be smaller."""
    rows, width = score.shape
    if outputs > 1:
        score = np.pad(score, ((0, -rows % outputs), (0, 0)))
        score = score.reshape(-1, outputs, width).sum(axis=1, dtype=np.float64)
    keep = _in_groups(score, pattern.m, pattern.n)
    return keep.repeat(outputs, axis=0)[:rows] if outputs > 1 else keep


def _tile_mask(score: np.ndarray, pattern: NmPattern, tile_cols: int) -> np.ndarray:
    """Choose the N pair slots of every group once per ``tile_cols`` outputs.

    A pair (2q, 2q+1) given one slot serves the better weight of each output; given both it serves
    both. The first slot gains the tile's sum of the better weights, the second that of the others,
    which is never more: the N best slots are therefore the best choice.
    """
    even, odd = score[:, ::2], score[:, 1::2]
    tiles = np.arange(0, len(score), tile_cols)
    gain = np.stack([np.add.reduceat(pick(even, odd), tiles, axis=0, dtype=np.float64)
                     for pick in (np.maximum, np.minimum)], axis=-1)
    slots = _in_groups(gain.reshape(len(tiles), -1), pattern.m, pattern.n)
    slots = slots.repeat(tile_cols, axis=0)[:len(score)]
    first, both = slots[:, ::2], slots[:, 1::2]
    second_better = odd > even
    keep = np.empty(score.shape, dtype=bool)
    keep[:, ::2] = both | (first & ~second_better)
    keep[:, 1::2] = both | (first & second_better)
    return keep


def _padded(score: Tensor, first: int, last: int, m: int) -> np.ndarray:
    """Return rows of a score in a type that NumPy has, K filled up to a multiple of m.

    Raises
    ------
    DataError
        NaN, with its position.
    """
    some = score[first:last].detach()
    rows = (some if some.dtype in (torch.float32, torch.float64) else some.float()).numpy()
    if np.isnan(rows.max(initial=-np.inf)):  # a greatest element exists unless one is NaN
        row, col = np.argwhere(np.isnan(rows))[0].tolist()
        raise DataError(f"score[{first + row}, {col}] is NaN")
    padding = -rows.shape[1] % m
    return np.pad(rows, ((0, 0), (0, padding)), constant_values=-np.inf) if padding else rows


def _within(pattern: NmPattern, inputs: int) -> NmPattern:
    """Return the pattern with an even M just above K at most: its one group is short all the same.

    Scores are padded to whole groups, and a large M would take M / K times their memory.
    """
    m = max(inputs + inputs % 2, 2)
    return NmPattern(min(pattern.n, m), m) if m < pattern.m else pattern


def _check_score(score: Tensor) -> None:
    if score.ndim != 2 or not score.is_floating_point():
        raise DataError(f"expected a floating-point score [O, K], not {score.dtype} "
                        f"{list(score.shape)}")


def nm_mask(score: Tensor, pattern: NmPattern, granularity: str = "free",
            tile_cols: int = 32) -> Tensor:
    """Return the mask that keeps the N best-scored weights of every M consecutive inputs.

    Parameters
    ----------
    score : Tensor of floating point, shape (O, K)
        The larger, the worthier; for example `wanda_score`.
    pattern : NmPattern
        N kept of every M inputs; the last group may be short, and keeps at most N.
    granularity : str
        ``"free"``: every output has its own positions. ``"share2"``, ``"share4"``: 2 or 4 adjacent
        outputs share them, chosen by the sum of their scores. ``"tile"``: for hardware that selects
        pairs of inputs, ``tile_cols`` adjacent outputs share which pairs (2q, 2q+1) the N slots of
        a group read, and each output takes the better weight of the pair; both weights where both
        slots of a pair are chosen.
    tile_cols : int
        C, outputs per tile, for ``"tile"`` only.

    Returns
    -------
    Tensor of bool, shape (O, K)
        Every full group keeps exactly N.

    Raises
    ------
    ConfigError
        Unknown granularity, tile size below 1, or pairs of an odd M.
    DataError
        Not a floating-point matrix, or NaN in it.
    """
    _check_score(score)
    check_sharing(granularity, tile_cols)
    if granularity == "tile" and pattern.m % 2 and pattern.n < pattern.m:
        raise ConfigError(f"granularity 'tile' shares pairs of inputs and needs an even M, "
                          f"not {pattern}")
    outputs, inputs = score.shape
    pattern = _within(pattern, inputs)
    keep = np.ones(score.shape, dtype=bool)

    def choose(first: int, last: int) -> None:
        rows = _padded(score, first, last, pattern.m)
        if pattern.n == pattern.m:
            return
        chosen = (_tile_mask(rows, pattern, tile_cols) if granularity == "tile"
                  else _share_mask(rows, pattern, _OUTPUTS[granularity]))
        keep[first:last] = chosen[:, :inputs]

    map_rows(choose, outputs, inputs, tile_cols if granularity == "tile" else _OUTPUTS[granularity])
    return torch.from_numpy(keep)
