"""Checks that every golden function makes on what it is given."""

import numpy as np

from cimforge.spec.errors import DataError

__all__ = ["signed", "unsigned"]


def _operand(name: str, array: np.ndarray, shape: tuple[int, ...], low: int,
             high: int) -> np.ndarray:
    array = np.asarray(array)
    if array.shape[max(0, array.ndim - len(shape)):] != shape:
        raise DataError(f"{name} must have shape (..., {', '.join(map(str, shape))}), "
                        f"not {array.shape}")
    if not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise DataError(f"{name} must be integers, not {array.dtype}")
    if array.size and (array.min() < low or array.max() > high):
        raise DataError(f"{name} must be in {low}..{high}, not {array.min()}..{array.max()}")
    return array.astype(np.int64)


def signed(name: str, array: np.ndarray, shape: tuple[int, ...], bits: int) -> np.ndarray:
    """Return ``array`` as int64 after checking its last dimensions and its two's-complement range.

    Raises
    ------
    DataError
        If the hardware cannot represent it.
    """
    return _operand(name, array, shape, -(1 << bits - 1), (1 << bits - 1) - 1)


def unsigned(name: str, array: np.ndarray, shape: tuple[int, ...], limit: int) -> np.ndarray:
    """Return ``array`` as int64 after checking its last dimensions and ``0 <= array < limit``."""
    return _operand(name, array, shape, 0, limit - 1)
