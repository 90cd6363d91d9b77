"""Scores of single weights: the larger, the worthier to stay."""

from torch import Tensor, result_type

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
    weight : Tensor of float32, shape (O, K)
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
    # In place: one new matrix of the layer's size at a time instead of two.
    return weight.abs().to(result_type(weight, norm)).mul_(norm)
