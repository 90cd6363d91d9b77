"""Work on a matrix by chunks of rows that fit in the cache, on threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["map_rows"]

T = TypeVar("T")
_CHUNK = 1 << 17  # elements; measured: smaller ones wait for the interpreter, larger for memory


def map_rows(work: Callable[[int, int], T], rows: int, width: int, unit: int = 1) -> list[T]:
    """Return ``work(first, last)`` of consecutive ranges of rows, in their order.

    NumPy and torch let other threads run while they compute. The ranges depend on the shape alone,
    so results, sums of floating point included, do not depend on the number of threads.

    Parameters
    ----------
    work : callable(first, last)
        Gets a range of rows; may write to rows of its own.
    rows, width : int
        Shape of the matrix.
    unit : int
        Rows that stay together: every range but the last is a multiple of it.
    """
    step = max(1, _CHUNK // max(1, width * unit)) * unit
    first = range(0, rows, step)
    last = [min(start + step, rows) for start in first]
    threads = min(torch.get_num_threads(), len(first))
    if threads <= 1:
        return list(map(work, first, last))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, first, last))
