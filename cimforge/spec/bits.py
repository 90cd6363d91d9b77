"""Between integers in arrays and the bits on ports; element 0 in the least significant bits."""

import numpy as np

__all__ = ["bits_of", "bytes_of", "signed_of", "unsigned_of"]


def bits_of(values: np.ndarray, width: int) -> np.ndarray:
    """Return the two's-complement bits of integers, least significant first.

    Parameters
    ----------
    values : ndarray of integers, shape (...)
    width : int
        Bits per value, at most 63.

    Returns
    -------
    ndarray of uint8, shape (..., width)
    """
    shifts = np.arange(width, dtype=np.int64)
    return (np.asarray(values, dtype=np.int64)[..., None] >> shifts & 1).astype(np.uint8)


def unsigned_of(bits: np.ndarray) -> np.ndarray:
    """Inverse of :func:`bits_of` for unsigned values: int64, shape ``bits.shape[:-1]``."""
    return bits.astype(np.int64) @ (np.int64(1) << np.arange(bits.shape[-1], dtype=np.int64))


def signed_of(bits: np.ndarray) -> np.ndarray:
    """Inverse of :func:`bits_of` for two's complement: int64, shape ``bits.shape[:-1]``."""
    return unsigned_of(bits) - (bits[..., -1].astype(np.int64) << bits.shape[-1])


def bytes_of(bits: np.ndarray) -> np.ndarray:
    """Pack rows of bits into bytes, padding the last byte with zeros.

    Parameters
    ----------
    bits : ndarray of uint8, shape (rows, n)

    Returns
    -------
    ndarray of uint8, shape (rows, ceil(n / 8))
    """
    return np.packbits(bits, axis=-1, bitorder="little")
