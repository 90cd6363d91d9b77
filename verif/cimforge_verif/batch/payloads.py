"""Result beats as the stream carries them: lanes, and above them the ``last`` flag."""

import numpy as np

from cimforge.spec.bits import bits_of, bytes_of, signed_of
from cimforge_verif.compare import Mismatch, assert_equal

__all__ = ["differs", "lanes_of", "payloads"]


def payloads(results: np.ndarray, last: np.ndarray, acc_bits: int) -> np.ndarray:
    """Return result beats as the stream carries them: uint8, shape (beats, bytes).

    Parameters
    ----------
    results : ndarray of int64, shape (beats, lanes)
    last : ndarray of uint8, shape (beats,)
    acc_bits : int
        Bits per lane.
    """
    if acc_bits == 32:
        lanes = np.ascontiguousarray(results.astype("<i4")).view(np.uint8)
        return np.concatenate([lanes.reshape(len(results), -1), last[:, None]], axis=1)
    bits = bits_of(results, acc_bits).reshape(len(results), -1)
    return bytes_of(np.concatenate([bits, last[:, None]], axis=1))


def lanes_of(beats: np.ndarray, lanes: int, acc_bits: int) -> np.ndarray:
    """Inverse of :func:`payloads`, without the flags: int64, shape (beats, lanes)."""
    if acc_bits == 32:
        return np.ascontiguousarray(beats[:, :4 * lanes]).view("<i4").astype(np.int64)
    bits = np.unpackbits(beats, axis=1, bitorder="little", count=lanes * acc_bits)
    return signed_of(bits.reshape(len(beats), lanes, acc_bits))


def differs(place: str, got: np.ndarray, expected: np.ndarray, last: np.ndarray) -> Mismatch:
    """Return what is wrong with the last beat that came.

    Parameters
    ----------
    place : str
        Where, for the message.
    got, expected : ndarray of int64, shape (beats, lanes)
    last : ndarray of uint8, shape (beats,)
        Of the expected beats.
    """
    beat = len(got) - 1
    name = f"result beat {beat} of {len(expected)}"
    try:
        assert_equal(name, got[beat], expected[beat], ("lane",))
    except Mismatch as error:
        return Mismatch(f"{place}: {error}")
    flag = int(last[beat])
    return Mismatch(f"{place}: {name}: expected the flag last = {flag}, got {1 - flag}")
