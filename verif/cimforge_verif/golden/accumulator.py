"""The accumulator: sums over the tiles of K."""

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge_verif.golden.operands import signed

__all__ = ["accumulator"]


def accumulator(config: DcimConfig, stored: np.ndarray, sums: np.ndarray,
                first: bool) -> np.ndarray:
    """Return ``(0 if first else stored) + sums`` in ``acc_bits`` bits; it wraps.

    No legal program wraps: ``config.max_k`` sees to that.

    Parameters
    ----------
    config : DcimConfig
    stored : ndarray of shape (..., P*C)
        What the accumulation rows hold.
    sums : ndarray of shape (..., P*C)
        From :func:`cimforge_verif.golden.macro`.
    first : bool

    Returns
    -------
    ndarray of int64, shape (..., P*C)

    Raises
    ------
    DataError
        If an operand has the wrong shape or does not fit its bits.
    """
    lanes = (config.sub_macros * config.cols,)
    stored = signed("stored", stored, lanes, config.acc_bits)
    sums = signed("sums", sums, lanes, config.macro_bits)
    total = sums if first else stored + sums
    half = 1 << config.acc_bits - 1
    return ((total + half) & (2 * half - 1)) - half
