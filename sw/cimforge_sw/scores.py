"""Scores of single weights: the larger, the worthier to stay."""

import numpy as np
import torch
from torch import Tensor

from cimforge.spec.errors import DataError

__all__ = ["magnitude_score", "wanda_score"]


def magnitude_score(weight: Tensor) -> Tensor:
    """Return ``S = |W|``, the score that needs no calibration.

    Parameters
    ----------
    weight : Tensor of floating point, shape (O, K)
        Dense weights.

    Returns
    -------
    Tensor of the weight's type, shape (O, K)

    Raises
    ------
    DataError
        Not a matrix.
    """
    if weight.ndim != 2:
        raise DataError(f"expected weight [O, K], not {list(weight.shape)}")
    return weight.abs()


def wanda_score(weight: Tensor, norm: Tensor) -> Tensor:
    """Return ``S = |W| * ||X_j||_2`` (Wanda, arXiv 2306.11695, eq. 1).

    Parameters
    ----------
    weight : Tensor of floating point, shape (O, K)
        Dense weights.
    norm : Tensor of float32, shape (K,)
        Norm of every input channel, `LayerStats.norm`.

    Returns
    -------
    Tensor of float32, shape (O, K)

    Raises
    ------
    DataError
        The shapes do not belong together.
    """
    if weight.ndim != 2 or norm.shape != weight.shape[1:]:
        raise DataError(f"expected weight [O, K] and norm [K], not {list(weight.shape)} "
                        f"and {list(norm.shape)}")
    # One new matrix and no second for |W|; NumPy asks for huge pages, which take half the time.
    score = torch.from_numpy(np.empty(weight.shape, dtype=np.float32))
    return torch.abs(weight.detach().float(), out=score).mul_(norm.detach())
