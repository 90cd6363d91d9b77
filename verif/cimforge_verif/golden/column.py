"""A column: R products of a weight and the activation line its index picks, added."""

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge_verif.golden.operands import signed, unsigned

__all__ = ["column", "column_slices"]


def _operands(config: DcimConfig, weight, index, lines):
    weight = signed("weight", weight, (config.rows, config.index_share), config.weight_bits)
    index = unsigned("index", index, (config.rows,), config.lines)
    lines = signed("lines", lines, (config.rows, config.lines), config.act_bits)
    return weight, index, lines


def column(config: DcimConfig, weight: np.ndarray, index: np.ndarray,
           lines: np.ndarray) -> np.ndarray:
    """Return ``sum[j] = Σ_r weight[r, j] · lines[r, index[r]]`` of one column unit.

    Parameters
    ----------
    config : DcimConfig
    weight : ndarray of shape (R, index_share)
    index : ndarray of shape (R,)
        Which line each row picks.
    lines : ndarray of shape (..., R, L)
        Activation lines, L = ``config.lines``.

    Returns
    -------
    ndarray of int64, shape (..., index_share)

    Raises
    ------
    DataError
        If an operand has the wrong shape or does not fit its bits.
    """
    weight, index, lines = _operands(config, weight, index, lines)
    picked = lines[..., np.arange(config.rows), index]
    return picked @ weight


def column_slices(config: DcimConfig, weight: np.ndarray, index: np.ndarray,
                  lines: np.ndarray) -> np.ndarray:
    """Return what :func:`column` does, the way the hardware does: slice after slice.

    With a = ``act_bits`` and s = ``act_slice``, the slices of an activation enter least
    significant first, and each gives ``term = Σ_r weight · slice`` and
    ``acc' = (acc >> s) + (term << (a - s))``. Only the last slice is signed.
    """
    weight, index, lines = _operands(config, weight, index, lines)
    a, s = config.act_bits, config.act_slice
    picked = lines[..., np.arange(config.rows), index]
    acc = np.zeros((*picked.shape[:-1], config.index_share), dtype=np.int64)
    for i in range(config.slices):
        part = picked >> (i * s)
        if i < config.slices - 1:
            part &= (1 << s) - 1
        acc = (acc >> s) + ((part @ weight) << (a - s))
    return acc
