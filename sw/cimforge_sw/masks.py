"""N:M masks from scores: which weights of every group of M inputs stay.

N counts what is *kept*. Ties go to the lower index, so that a mask depends on no device, thread
count or sort. K is padded to a multiple of M with positions that lose against every real weight.
"""

import numpy as np
import torch
from torch import Tensor

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern

__all__ = ["GRANULARITIES", "check_sharing", "nm_mask", "wanda_score"]

GRANULARITIES = ("free", "share2", "share4", "tile")
_CHUNK = 1 << 15  # groups ranked at a time: their planes stay in the cache
_PAIRWISE_M = 16  # beyond it comparing all pairs costs more than sorting


def wanda_score(weight: Tensor, norm: Tensor) -> Tensor:
    """Return ``S = |W| * ||X_j||_2`` (Wanda, arXiv 2306.11695, eq. 1).

    Parameters
    ----------
    weight : Tensor of float32, shape (O, K)
        Dense weights.
    norm : Tensor of float32, shape (K,)
        Norm of every input channel, `LayerStats.norm`.

    Returns
    -------
    Tensor of float32, shape (O, K)

    Raises
    ------
    DataError
        The shapes do not belong together.
    """
    if weight.ndim != 2 or norm.shape != weight.shape[1:]:
        raise DataError(f"expected weight [O, K] and norm [K], not {list(weight.shape)} "
                        f"and {list(norm.shape)}")
    return weight.abs() * norm


def _top(groups: Tensor, n: int) -> Tensor:
    """Return where the ``n`` best of each row [G, M] are; ties to the lower index.

    An element is kept if fewer than n others beat it. Every pair is compared once, on whole
    columns of groups and in NumPy: ten times faster than sorting short rows in torch.
    """
    count, m = groups.shape
    if m > _PAIRWISE_M:
        order = groups.argsort(dim=1, descending=True, stable=True)
        keep = torch.zeros(groups.shape, dtype=torch.bool)
        return keep.scatter_(1, order[:, :n], True)
    kept = np.empty(groups.shape, dtype=bool)
    for start in range(0, count, _CHUNK):
        columns = np.ascontiguousarray(groups[start:start + _CHUNK].numpy().T)
        kept[start:start + _CHUNK] = (_beaten(columns) < n).T
    return torch.from_numpy(kept)


def _beaten(columns: np.ndarray) -> np.ndarray:
    """Return how many elements of its group beat each element; columns and result are [M, G]."""
    m, groups = columns.shape
    beaten = np.repeat(np.arange(m, dtype=np.int8)[:, None], groups, axis=1)  # all earlier ones
    wins = np.empty(groups, dtype=bool)
    for i in range(m):
        for j in range(i + 1, m):  # the later one wins only if it is greater
            np.greater(columns[j], columns[i], out=wins)
            beaten[i] += wins.view(np.int8)
            beaten[j] -= wins.view(np.int8)
    return beaten


def _share_mask(score: Tensor, pattern: NmPattern, outputs: int) -> Tensor:
    """Choose common positions for every ``outputs`` adjacent rows; the last set may be smaller."""
    rows, width = score.shape
    if outputs > 1:
        fill = score.new_zeros(-rows % outputs, width)
        score = torch.cat([score, fill]).reshape(-1, outputs, width).sum(1, dtype=torch.float64)
    keep = _top(score.reshape(-1, pattern.m), pattern.n).reshape(-1, width)
    return keep.repeat_interleave(outputs, 0)[:rows] if outputs > 1 else keep


def _tile_mask(score: Tensor, pattern: NmPattern, tile_cols: int) -> Tensor:
    """Choose the N pair slots of every group once per ``tile_cols`` outputs.

    A pair (2q, 2q+1) given one slot serves the better weight of each output; given both it serves
    both. The first slot gains the tile's sum of the better weights, the second that of the others,
    which is never more: the N best slots are therefore the best choice.
    """
    rows, width = score.shape
    tiles, pairs = -(-rows // tile_cols), width // 2
    lanes = score.reshape(rows, pairs, 2)
    second_better = lanes[..., 1] > lanes[..., 0]
    gain = torch.zeros(tiles, pairs, 2, dtype=torch.float64)
    tile = torch.arange(rows) // tile_cols
    gain.index_add_(0, tile, lanes.sort(-1, descending=True).values.double())
    slots = _top(gain.reshape(-1, pattern.m), pattern.n).reshape(tiles, pairs, 2)
    first, both = slots[tile].unbind(-1)
    keep = torch.stack([both | (first & ~second_better), both | (first & second_better)], -1)
    return keep.reshape(rows, width)


def check_sharing(granularity: object, tile_cols: object) -> None:
    """Refuse a granularity or a tile size that `nm_mask` cannot have, with a ConfigError."""
    if granularity not in GRANULARITIES:
        raise ConfigError(f"granularity must be one of {', '.join(GRANULARITIES)}, "
                          f"not {granularity!r}")
    if not isinstance(tile_cols, int) or tile_cols < 1:
        raise ConfigError(f"tile_cols must be a positive integer, not {tile_cols!r}")


def _check(score: Tensor, pattern: NmPattern, granularity: str, tile_cols: int) -> None:
    if score.ndim != 2 or not score.is_floating_point():
        raise DataError(f"expected a floating-point score [O, K], not {score.dtype} "
                        f"{list(score.shape)}")
    check_sharing(granularity, tile_cols)
    if granularity == "tile" and pattern.m % 2 and pattern.n < pattern.m:
        raise ConfigError(f"granularity 'tile' shares pairs of inputs and needs an even M, "
                          f"not {pattern}")
    if torch.isnan(score).any():
        row, col = torch.isnan(score).nonzero()[0].tolist()
        raise DataError(f"score[{row}, {col}] is NaN")


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
    _check(score, pattern, granularity, tile_cols)
    inputs = score.shape[1]
    if pattern.n == pattern.m or not score.numel():
        return torch.ones(score.shape, dtype=torch.bool)
    if score.dtype != torch.float64:
        score = score.float()  # NumPy has no bfloat16
    padding = -inputs % pattern.m
    if padding:
        score = torch.nn.functional.pad(score, (0, padding), value=-torch.inf)
    if granularity == "tile":
        keep = _tile_mask(score, pattern, tile_cols)
    else:
        keep = _share_mask(score, pattern, {"free": 1, "share2": 2, "share4": 4}[granularity])
    return keep[:, :inputs].contiguous() if padding else keep
