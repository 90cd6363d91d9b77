"""SparseGPT for any N:M: choose what stays and let it make up for what goes, column by column."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.masks import nm_mask

__all__ = ["GramAccumulator", "damped_gram", "sparsegpt"]

_CHUNK = 1024  # vectors per product in float32: their sums are short enough to be exact to 1e-6


class GramAccumulator:
    """Adds up ``X^T X`` of a layer's inputs: products in float32, their sum in float64.

    A float32 sum over a long calibration text would lose the small directions that the inverse
    lives on; float64 products would take twice the time of a pass over the model.

    Parameters
    ----------
    inputs : int
        K.

    Attributes
    ----------
    gram : Tensor of float64, shape (K, K)
        So far.
    tokens : int
        Vectors seen.
    """

    def __init__(self, inputs: int):
        self.gram = torch.zeros(inputs, inputs, dtype=torch.float64)
        self.tokens = 0

    def see(self, x: Tensor) -> None:
        """Add vectors, floating point [T, K].

        Raises
        ------
        DataError
            Another width, NaN or infinite values.
        """
        if x.ndim != 2 or x.shape[1] != len(self.gram):
            raise DataError(f"expected inputs [T, {len(self.gram)}], not {list(x.shape)}")
        if not torch.isfinite(x).all():
            raise DataError("NaN or infinite activations at the layer's input")
        for part in x.detach().float().split(_CHUNK):
            self.gram += part.T @ part
        self.tokens += len(x)


def damped_gram(gram: Tensor, damp: float) -> Tensor:
    """Return a Gram matrix [K, K] in float64 with a larger diagonal.

    ``damp`` times its mean over the inputs that were ever active is added; inputs that never were
    get the mean besides: their rows and columns are zero, so any value leaves the others alone.
    """
    gram = gram.double().clone()
    diagonal = gram.diagonal()  # a view
    dead = diagonal == 0
    mean = float(diagonal[~dead].mean()) if not bool(dead.all()) else 1.0
    diagonal[dead] = mean
    diagonal += damp * mean
    return gram


def sparsegpt(weight: Tensor, gram: Tensor, pattern: NmPattern, *, granularity: str = "free",
              tile_cols: int = 32, damp: float = 0.01, block: int = 128) -> tuple[Tensor, Tensor]:
    """Prune a layer so that its outputs on the calibration text change little.

    SparseGPT (arXiv 2301.00774, algorithm 1): with ``H = X^T X + lambda I`` and U upper triangular,
    ``U^T U = H^-1``, walk over the inputs j from left to right. At the first input of every group
    score the weights of the group, as corrected so far, by ``W_ij^2 / U_jj^2`` and choose what
    stays; then remove weight after weight, and subtract ``(removed / U_jj) * U_j,l`` from the
    weights l > j of the same output.

    Parameters
    ----------
    weight : Tensor of float32, shape (O, K)
        Dense; it stays as it is.
    gram : Tensor of float32 or float64, shape (K, K)
        ``X^T X`` of the layer's inputs, `GramAccumulator.gram`.
    pattern : NmPattern
        The last group may be short.
    granularity, tile_cols
        Who shares positions, see `nm_mask`.
    damp : float
        lambda as a share of the mean of H's diagonal over the inputs that were ever active.
    block : int
        Inputs whose corrections are gathered before the inputs to the right get them in one matrix
        product; rounded down to whole groups. Changes the speed, and results only by rounding.

    Returns
    -------
    new_weight : Tensor of float32, shape (O, K)
        Zero outside the mask, and at inputs that were never active (zero diagonal).
    mask : Tensor of bool, shape (O, K)
        Every full group keeps exactly N.

    Raises
    ------
    DataError
        Shapes that do not belong together, NaN or infinite values, or a singular Gram matrix.
    ConfigError
        ``damp`` or ``block`` out of range, or what `nm_mask` refuses.
    """
    _check(weight, gram, damp, block)
    if pattern.n == pattern.m:
        return weight.detach().clone(), torch.ones(weight.shape, dtype=torch.bool)
    inputs, m = weight.shape[1], pattern.m
    upper = _inverse_factor(gram, damp)
    # Transposed, so that the weights of one input are neighbours in memory.
    columns = weight.detach().float().T.clone(memory_format=torch.contiguous_format)
    columns[gram.diagonal() == 0] = 0
    mask = torch.zeros(inputs, weight.shape[0], dtype=torch.bool)
    step = max(block // m, 1) * m

    def choose(score: Tensor) -> Tensor:
        return nm_mask(score.T, pattern, granularity, tile_cols).T

    for first in range(0, inputs, step):
        last = min(first + step, inputs)
        part = columns[first:last].double()
        mask[first:last], removed = _prune_block(part, upper[first:last, first:last], m, choose)
        columns[first:last] = part
        columns[last:].addmm_(upper[first:last, last:].T.float(), removed.float(), alpha=-1)
    columns.mul_(mask)  # the corrected weight minus itself need not be exactly zero
    return columns.T.contiguous(), mask.T.contiguous()


def _prune_block(part: Tensor, upper: Tensor, m: int,
                 choose: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Walk over the inputs of a block, in place; return its mask and what was removed over U_jj.

    All [B, O]. Weights of the same group are corrected after each input, the others of the block
    after each group, again in one matrix product.
    """
    mask = torch.zeros(part.shape, dtype=torch.bool)
    removed = torch.zeros_like(part)
    pivots = upper.diagonal()[:, None]
    # The same memory for NumPy, which takes steps this short on one thread: handing each of them
    # to several takes much longer where another program holds one of the cores.
    weights, factor, gone, kept = (each.numpy() for each in (part, upper, removed, mask))
    for start in range(0, len(part), m):
        stop = min(start + m, len(part))
        mask[start:stop] = choose((part[start:stop] / pivots[start:stop]).square())
        for i in range(start, stop):
            np.divide(weights[i], factor[i, i], out=gone[i], where=~kept[i])
            weights[i:stop] -= factor[i, i:stop, None] * gone[i]
        part[stop:].addmm_(upper[start:stop, stop:].T, removed[start:stop], alpha=-1)
    return mask, removed


def _check(weight: Tensor, gram: Tensor, damp: float, block: int) -> None:
    if weight.ndim != 2 or gram.shape != 2 * weight.shape[1:]:
        raise DataError(f"expected weight [O, K] and gram [K, K], not {list(weight.shape)} "
                        f"and {list(gram.shape)}")
    for name, values in (("weight", weight), ("gram", gram)):
        if not torch.isfinite(values).all():
            row, col = (~torch.isfinite(values)).nonzero()[0].tolist()
            raise DataError(f"{name}[{row}, {col}] is {float(values[row, col])}; "
                            "expected finite values")
    if not damp >= 0:
        raise ConfigError(f"damp must be 0 or more, not {damp!r}")
    if block < 1:
        raise ConfigError(f"block must be at least 1, not {block!r}")


def _inverse_factor(gram: Tensor, damp: float) -> Tensor:
    """Return U, upper triangular in float64, with ``U^T U`` the inverse of the damped Gram matrix.

    Cholesky from the last input to the first gives ``H = R R^T`` with R upper triangular, and
    U = R^-1: no inverse of H itself, which would square its condition.
    """
    hessian = damped_gram(gram, damp)
    scale = hessian.diagonal().flip(0).clone()
    factor, info = torch.linalg.cholesky_ex(hessian.flip(0, 1))
    # A pivot is what the inputs before it leave unexplained; rounding leaves about K * epsilon.
    floor = len(scale) * torch.finfo(torch.float64).eps * scale
    if int(info) or bool((factor.diagonal().square() <= floor).any()):
        raise DataError(f"the Gram matrix of {len(scale)} inputs is singular with damp = {damp:g}: "
                        "calibrate on more text, or use a larger damp")
    eye = torch.eye(len(scale), dtype=torch.float64)
    return torch.linalg.solve_triangular(factor.flip(0, 1), eye, upper=True)
