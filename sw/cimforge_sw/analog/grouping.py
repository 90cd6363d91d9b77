"""Which blocks one command drives: the rule that schedules follow and costs count by."""

import numpy as np

from cimforge_sw.analog.layout import Layout

__all__ = ["STAGES", "Table", "driven_together", "labels", "table_of"]

STAGES = ("W", "R", "L")
#: Columns of numbers, int64 [P]: one entry per placement.
Table = dict[str, np.ndarray]
_COLUMNS = ("matrix", "stage", "array", "row", "col", "rows", "cols", "drive", "index",
            "first_row", "block_rows", "factor_rows", "source", "target")


def table_of(layout: Layout) -> Table:
    """Return what matters of a layout's placements, in its order."""
    found = []
    for p in layout.places:
        block, factor = p.block, p.block.factor
        found.append((layout.number[factor.matrix], STAGES.index(factor.stage), p.array, p.row,
                      p.col, p.rows, p.cols, p.drive, block.index, block.first_row, block.rows,
                      factor.rows, layout.source(p), layout.target(p)))
    columns = np.array(found, dtype=np.int64).reshape(-1, len(_COLUMNS)).T
    return dict(zip(_COLUMNS, columns, strict=True))


def driven_together(table: Table, array: int, *keys: np.ndarray) -> np.ndarray:
    """Return the drive of every placement, int64 [P]; drives are numbered from 0.

    Placements that agree in ``keys``, stage, array, ``drive`` and part of their block are driven
    together if they lie on a diagonal, or in the same rows with the same input; each alone where
    no address generator reaches all of them.

    Parameters
    ----------
    table : Table
        Of placements in the order that address generators are to begin with the first of.
    array : int
        m.
    *keys : ndarray of int64, shape (P,)
        What sets placements apart besides: step, setting of the requantizer.
    """
    group, _ = labels(*keys, table["stage"], table["array"], table["drive"], table["first_row"])
    on_diagonal = _distinct(group, table["row"]) == _distinct(group, table["col"])
    group, count = labels(group, np.where(on_diagonal, 0, 1 + table["source"]))
    members = np.bincount(group)[group]
    rows = _distinct(group, table["row"])
    fits = (_distinct(group, table["col"]) == members) & ((rows == members) | (rows == 1))
    for at, address, size in (("row", "source", "rows"), ("col", "target", "cols")):
        fits &= _reached(group, count, table[at], table[address], table[size], array)
    return labels(group, np.where(fits, 0, 1 + np.arange(len(group))))[0]


def _distinct(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return how many different values the group of every row has."""
    first = np.unique(labels(group, values)[0], return_index=True)[1]
    return np.bincount(group[first])[group]


def _reached(group: np.ndarray, count: int, at: np.ndarray, address: np.ndarray, size: np.ndarray,
             array: int) -> np.ndarray:
    """Tell whether one generator makes all addresses of a group: base plus jump per place."""
    first = np.unique(group, return_index=True)[1][group]
    turn = (at - at[first]) // size % (array // size)
    offset = address - address[first]
    jump = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(jump, group[turn > 0], offset[turn > 0] // turn[turn > 0])
    jump[jump == np.iinfo(np.int64).max] = 0
    fits = (size == size[first]) & (jump[group] >= 0) & (offset == jump[group] * turn)
    return np.bincount(group, ~fits, count)[group] == 0


def labels(*keys: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the number of every row's combination of keys (none negative), and how many there are.

    Combinations are numbered in the order of their values, the first key before the others.
    """
    whole = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        whole = np.unique(whole, return_inverse=True)[1] * (key.max(initial=0) + 1) + key
    seen, number = np.unique(whole, return_inverse=True)
    return number, len(seen)
