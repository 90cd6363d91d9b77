"""The macro: distribution, sub-macros and merging."""

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.mode import Mode
from cimforge_verif.golden.distribution import distribution
from cimforge_verif.golden.merging import merging
from cimforge_verif.golden.operands import signed, unsigned
from cimforge_verif.golden.sub_macro import sub_macro

__all__ = ["macro"]


def macro(config: DcimConfig, window: np.ndarray, mode: Mode, weight: np.ndarray,
          index: np.ndarray, level1: np.ndarray | None = None, level2: np.ndarray | None = None,
          mask: np.ndarray | None = None) -> np.ndarray:
    """Return the merged sums of one step.

    Parameters
    ----------
    config : DcimConfig
    window : ndarray of shape (..., window_inputs)
    mode : Mode
    weight : ndarray of shape (P, R, C)
    index : ndarray of shape (P, R, units)
    level1, level2 : ndarray of shape (R, P), optional
        Selects of the step (``pair``).
    mask : ndarray of shape (P, C), optional
        1 where the column computes in this step, otherwise it gives zero; without it all do.

    Returns
    -------
    ndarray of int64, shape (..., P*C)

    Raises
    ------
    DataError
        If an operand has the wrong shape or does not fit its bits.
    """
    p, r, c = config.sub_macros, config.rows, config.cols
    weight = signed("weight", weight, (p, r, c), config.weight_bits)
    index = unsigned("index", index, (p, r, config.units), config.lines)
    lines = distribution(config, window, mode, level1, level2)
    sums = np.stack([sub_macro(config, weight[i], index[i], lines[..., i, :]) for i in range(p)],
                    axis=-2)
    if mask is not None:
        sums = sums * unsigned("mask", mask, (p, c), 2)
    return merging(config, sums, mode.group)
