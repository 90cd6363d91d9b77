"""Integer models of a layer on the analog tile: what every mapping must compute."""

import numpy as np

from cimforge_verif.golden.requantizer import requantize

__all__ = ["linear", "monarch"]


def linear(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return ``x @ weight.T`` exactly: int64 [T, O] of INT8 [T, K] and INT8 [O, K]."""
    return x.astype(np.int64) @ weight.astype(np.int64).T


def monarch(x: np.ndarray, right: np.ndarray, left: np.ndarray, scale: tuple[int, int, int], *,
            rank: int = 1, strided: bool = True) -> np.ndarray:
    """Multiply by a Monarch matrix in integers, with INT8 between its two stages.

    With k input and j output blocks, and x as [k, i] (see ``strided``):

        h[k,r,j] = requantize(sum_i right[k,r,j,i] x[k,i])       INT32 to INT8
        y[l*J + j] = sum_{k,r} left[j,l,k,r] h[k,r,j]            INT32

    For n = b^2, rank 1 and strided inputs that is ``P L P R P x`` with P the transposition of the
    vector as b x b (Monarch Mixer's order-2 form; projection: arXiv 2204.00595, algorithm 1).

    Parameters
    ----------
    x : ndarray of int8, shape (T, K)
    right : ndarray of int8, shape (k, rank * j, K / k)
        Blocks of the first stage; rows rank-major, ``r * j_count + j``.
    left : ndarray of int8, shape (j, O / j, k * rank)
        Blocks of the second stage; columns ``k * rank + r``.
    scale : (bias, multiplier, shift)
        Of the requantizer between the stages.
    rank : int
    strided : bool
        Input block k holds the inputs ``i * k_count + k``; otherwise ``k * (K / k_count) + i``.

    Returns
    -------
    ndarray of int64, shape (T, O)
    """
    tokens = len(x)
    blocks, _, size = right.shape
    outs = left.shape[0]
    x = x.astype(np.int64)
    if strided:
        x = x.reshape(tokens, size, blocks).swapaxes(1, 2)
    first = np.einsum("tki,kni->tkn", x.reshape(tokens, blocks, size), right.astype(np.int64))
    bias, multiplier, shift = map(np.asarray, scale)
    hidden = requantize(first, bias, multiplier, shift, 8)
    hidden = hidden.reshape(tokens, blocks, rank, outs).transpose(0, 3, 1, 2)
    second = np.einsum("tjc,jlc->tlj", hidden.reshape(tokens, outs, blocks * rank),
                       left.astype(np.int64))
    return second.reshape(tokens, -1)
