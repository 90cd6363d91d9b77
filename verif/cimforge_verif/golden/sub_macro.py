"""A sub-macro: column units side by side on the same activation lines."""

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge_verif.golden.column import column
from cimforge_verif.golden.operands import signed, unsigned

__all__ = ["sub_macro"]


def sub_macro(config: DcimConfig, weight: np.ndarray, index: np.ndarray,
              lines: np.ndarray) -> np.ndarray:
    """Return the sums of the C columns; unit u is the columns ``u·index_share …``.

    Parameters
    ----------
    config : DcimConfig
    weight : ndarray of shape (R, C)
    index : ndarray of shape (R, units)
    lines : ndarray of shape (..., R, L)

    Returns
    -------
    ndarray of int64, shape (..., C)

    Raises
    ------
    DataError
        If an operand has the wrong shape or does not fit its bits.
    """
    weight = signed("weight", weight, (config.rows, config.cols), config.weight_bits)
    index = unsigned("index", index, (config.rows, config.units), config.lines)
    share = config.index_share
    sums = [column(config, weight[:, u * share:(u + 1) * share], index[:, u], lines)
            for u in range(config.units)]
    return np.concatenate(sums, axis=-1)
