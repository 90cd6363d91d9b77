"""Merging: the column sums of a group's sub-macros added."""

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge_verif.golden.operands import signed

__all__ = ["merging"]


def merging(config: DcimConfig, sums: np.ndarray, group: int) -> np.ndarray:
    """Return ``lane[j·C + c] = Σ_g sums[j·G + g, c]`` for the P/G groups j; other lanes are zero.

    Parameters
    ----------
    config : DcimConfig
    sums : ndarray of shape (..., P, C)
    group : int
        G, one of ``config.groups``.

    Returns
    -------
    ndarray of int64, shape (..., P*C)

    Raises
    ------
    DataError
        If ``group`` is not legal or ``sums`` has the wrong shape or range.
    """
    p, c = config.sub_macros, config.cols
    if group not in config.groups:
        raise DataError(f"group must be one of {', '.join(map(str, config.groups))}, not {group!r}")
    sums = signed("sums", sums, (p, c), config.column_bits)
    front = sums.shape[:-2]
    lanes = np.zeros((*front, p * c), dtype=np.int64)
    used = p // group * c
    lanes[..., :used] = sums.reshape(*front, p // group, group, c).sum(axis=-2).reshape(*front,
                                                                                        used)
    return lanes
