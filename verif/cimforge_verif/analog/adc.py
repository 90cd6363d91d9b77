"""The converter: its transfer function, and the generator of its dither."""

import numpy as np

__all__ = ["lfsr_states", "rotate16", "transfer"]


def transfer(sums: np.ndarray, bits: int, shift: int = 0, offset: int = 0,
             added: np.ndarray | int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Convert column sums: ``code = clamp((S - OFF + R) >> SH, 0, 2^A - 1)``.

    Parameters
    ----------
    sums : ndarray of int64, shape (...)
        S of the sampled columns.
    bits, shift, offset : int
        A, SH and OFF.
    added : ndarray of int64, broadcast against ``sums``
        R.

    Returns
    -------
    value : ndarray of int64, shape (...)
        ``(code << SH) + OFF``.
    clamped : ndarray of bool, shape (...)
        Where the clamp changed the code.
    """
    code = (sums - offset + added) >> shift
    clamped = np.clip(code, 0, (1 << bits) - 1)
    return (clamped << shift) + offset, clamped != code


def lfsr_states(seed: int, count: int) -> tuple[np.ndarray, int]:
    """Return ``count`` successive states of the 16-bit generator, ``seed`` first, and the next one.

    Galois form with taps 16, 14, 13, 11 (mask 0xB400), which has the longest period, 2^16 - 1.
    """
    states = np.empty(count, dtype=np.int64)
    for i in range(count):
        states[i] = seed
        seed = seed >> 1 ^ (0xB400 if seed & 1 else 0)
    return states, seed


def rotate16(value: np.ndarray, left: np.ndarray | int) -> np.ndarray:
    """Rotate 16-bit values to the left by 0..15 bits."""
    return (value << left | value >> 16 - left) & 0xFFFF
