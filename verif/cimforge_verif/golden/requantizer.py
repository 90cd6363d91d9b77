"""The requantizer: from accumulators to activations of the next layer."""

import numpy as np

from cimforge.spec.errors import DataError

__all__ = ["MAX_SHIFT", "requantize"]

MAX_SHIFT = 47


def requantize(acc: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray,
               act_bits: int) -> np.ndarray:
    """Return ``clamp(round_half_even((acc + bias) · multiplier / 2^shift))``, exactly.

    Parameters
    ----------
    acc : ndarray of integers, shape (...)
        Accumulators of at most 48 bits.
    bias, multiplier, shift : ndarray of integers or int
        int32, unsigned 16 bits, and 0..47; broadcast against ``acc``.
    act_bits : int
        Width of the result.

    Returns
    -------
    ndarray of int64, the broadcast shape
        In ``-2^(act_bits-1) .. 2^(act_bits-1) - 1``.

    Raises
    ------
    DataError
        If a parameter does not fit the hardware.
    """
    acc, bias, multiplier, shift = (np.asarray(a, dtype=np.int64)
                                    for a in (acc, bias, multiplier, shift))
    for name, array, low, high in (("acc", acc, -1 << 47, (1 << 47) - 1),
                                   ("bias", bias, -1 << 31, (1 << 31) - 1),
                                   ("multiplier", multiplier, 0, (1 << 16) - 1),
                                   ("shift", shift, 0, MAX_SHIFT)):
        if array.size and (array.min() < low or array.max() > high):
            raise DataError(f"{name} must be in {low}..{high}, not {array.min()}..{array.max()}")
    product = (acc + bias) * multiplier  # at most (2^47 + 2^31) (2^16 - 1) = 2^63 - 2^31
    floor = product >> shift
    rest = product - (floor << shift)
    half = np.int64(1) << shift >> 1
    up = (rest > half) | ((rest == half) & (floor & 1 == 1) & (shift > 0))
    top = 1 << act_bits - 1
    return np.clip(floor + up, -top, top - 1)
