"""Select steps of a ``pair`` tile: which columns can share the pair selects of their rows."""

import numpy as np

__all__ = ["select_steps", "share_pairs"]


def share_pairs(kept: np.ndarray, slot: np.ndarray, limit: int) -> np.ndarray:
    """Line up nonzeros of columns that can share pair selects.

    Where all columns together need at most ``limit`` slots of a block (each pair as often as the
    column that needs it most), every pair gets fixed slots. A column that lacks some of a shared
    pattern (weights that quantized to zero) then still agrees with the others.

    Parameters
    ----------
    kept : ndarray of bool, shape (groups, columns, blocks, m)
        Nonzero weights.
    slot : ndarray of integers, same shape
        Rank of every nonzero in its block; used where the columns cannot share.
    limit : int
        Slots of a block.

    Returns
    -------
    ndarray of int64, same shape
        Slot of every nonzero.
    """
    groups, columns, blocks, m = kept.shape
    if m == 1:
        return slot
    pairs = kept.reshape(groups, columns, blocks, m // 2, 2)
    needed = pairs.sum(axis=-1).max(axis=1, keepdims=True)  # (groups, 1, blocks, m / 2)
    start = needed.cumsum(axis=-1) - needed
    second = start + pairs[..., 0]  # of a pair: after its first, if that is there
    fixed = np.stack(np.broadcast_arrays(start, second), axis=-1).reshape(kept.shape)
    return np.where((needed.sum(axis=-1) <= limit)[..., None], fixed, slot)


def _greedy(need: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put each column into the first step that agrees with it wherever both care.

    Parameters
    ----------
    need : ndarray of int, shape (C, slots)
        Pair index, or -1 where a column does not care.

    Returns
    -------
    step : ndarray of int64, shape (C,)
    selects : ndarray of int, shape (steps, slots)
        -1 where no column of the step cares.
    """
    selects = np.full_like(need, -1)
    step = np.zeros(len(need), dtype=np.int64)
    if (np.where(need < 0, need.max(axis=0), need) == need.max(axis=0)).all():
        return step, need.max(axis=0, keepdims=True)
    count = 0
    for column, row in enumerate(need):
        held = selects[:count]
        clash = ((held != row) & (held >= 0) & (row >= 0)).any(axis=1)
        chosen = count if clash.all() else int(np.argmin(clash))
        count = max(count, chosen + 1)
        selects[chosen] = np.maximum(selects[chosen], row)
        step[column] = chosen
    return step, selects[:count]


def select_steps(need: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose the steps of one tile; level-2 selects are the identity.

    Groups of sub-macros have their own selects and step side by side, so a tile takes as many
    steps as its worst group: at most one per column.

    Parameters
    ----------
    need : ndarray of int, shape (R, P, C)
        Pair that each cell needs, or -1 for an empty cell.
    group : int
        G.

    Returns
    -------
    level1 : ndarray of int64, shape (steps, R, P)
    mask : ndarray of int64, shape (steps, P, C)
        Every column computes in exactly one step.
    """
    rows, macros, cols = need.shape
    groups = [_greedy(need[:, p:p + group].reshape(-1, cols).T) for p in range(0, macros, group)]
    steps = max(len(selects) for _, selects in groups)
    level1 = np.zeros((steps, rows, macros), dtype=np.int64)
    mask = np.zeros((steps, macros, cols), dtype=np.int64)
    for place, (step, selects) in enumerate(groups):
        span = slice(place * group, (place + 1) * group)
        level1[:len(selects), :, span] = np.maximum(selects, 0).reshape(-1, rows, group)
        mask[:, span] = (step == np.arange(steps)[:, None])[:, None]
    return level1, mask
