"""Monarch factors: the optimal projection of a dense matrix, and the product with vectors.

The permutations, with k, j, r, I, l as in `MonarchShape` and ``*_count`` their number::

    P_in   block k of R is given   x[col(k, i)],  i = 0 … I-1
    P_mid  block j of L is given   u_k[rho*J + j] as its input k*r_count + rho
    P_out  y[l*J + j] is           output l of block j of L

    M = P_out L P_mid R P_in

For n = b² with b blocks of b on both sides and rank 1 all three are the same P (reshape to b x b,
transpose, flatten; P = P^T), and M = P L P R P; with ``order="contiguous"`` P_in is the identity,
and M = P L P R.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cimforge.spec.errors import DataError
from cimforge_sw.monarch.shape import MonarchShape

__all__ = ["Factors", "project"]


@dataclass(frozen=True, eq=False)
class Factors:
    """The two block-diagonal factors of a Monarch matrix.

    Parameters
    ----------
    shape : MonarchShape
    right : Tensor of floating point, shape (k, r*j, I)
        Blocks of R; output ``rho*J + j`` of a block goes to block j of L.
    left : Tensor of the same type, shape (j, O/j, k*r)
        Blocks of L; input ``k*r_count + rho`` of a block comes from block k of R.

    Raises
    ------
    DataError
        Tensors of other shapes than ``shape`` says.
    """

    shape: MonarchShape
    right: Tensor
    left: Tensor

    def __post_init__(self):
        for name in ("right", "left"):
            wanted, came = getattr(self.shape, name), tuple(getattr(self, name).shape)
            if came != wanted:
                raise DataError(f"expected the {name} factor of {self.shape} as {list(wanted)}, "
                                f"not {list(came)}")

    def first(self, x: Tensor) -> Tensor:
        """Return what the blocks of L are given, [j, T, k*r], of vectors [T, K]: ``P_mid R P_in``.

        Raises
        ------
        DataError
            Vectors of another length.
        """
        shape = self.shape
        if x.ndim != 2 or x.shape[1] != shape.inputs:
            raise DataError(f"expected inputs [T, {shape.inputs}], not {list(x.shape)}")
        blocks = split_columns(x, shape).permute(1, 0, 2)
        out = torch.bmm(blocks, self.right.transpose(1, 2))
        out = out.view(shape.in_blocks, len(x), shape.rank, shape.out_blocks)
        return out.permute(3, 1, 0, 2).reshape(shape.out_blocks, len(x), shape.left[2])

    def second(self, middle: Tensor) -> Tensor:
        """Return [T, O] of what `first` returned: ``P_out L``."""
        out = torch.bmm(middle, self.left.transpose(1, 2)).permute(1, 2, 0)
        return out.reshape(middle.shape[1], self.shape.full[0])[:, :self.shape.outputs]

    def apply(self, x: Tensor) -> Tensor:
        """Return ``x M^T``, [..., O], of vectors [..., K]."""
        out = self.second(self.first(x.reshape(-1, x.shape[-1])))
        return out.reshape(*x.shape[:-1], self.shape.outputs)

    def dense(self) -> Tensor:
        """Return M as [O, K]."""
        shape = self.shape
        right = self.right.view(shape.in_blocks, shape.rank, shape.out_blocks, shape.in_size)
        left = self.left.view(shape.out_blocks, shape.out_size, shape.in_blocks, shape.rank)
        return join_slices(torch.einsum("jlkr,krji->jkli", left, right), shape)


def split_columns(x: Tensor, shape: MonarchShape) -> Tensor:
    """Return [T, k, I] of [T, K], zeros where it was padded: P_in, and the columns of a weight."""
    x = torch.nn.functional.pad(x, (0, shape.full[1] - shape.inputs))
    if shape.order == "strided":
        return x.view(len(x), shape.in_size, shape.in_blocks).transpose(1, 2)
    return x.view(len(x), shape.in_blocks, shape.in_size)


def split_slices(weight: Tensor, shape: MonarchShape) -> Tensor:
    """Return the slices [j, k, l, I] of a weight [O, K], zeros where it was padded."""
    weight = torch.nn.functional.pad(weight, (0, 0, 0, shape.full[0] - shape.outputs))
    columns = split_columns(weight, shape)
    return columns.reshape(shape.out_size, shape.out_blocks, shape.in_blocks,
                           shape.in_size).permute(1, 2, 0, 3)


def join_slices(slices: Tensor, shape: MonarchShape) -> Tensor:
    """Return the weight [O, K] of slices [j, k, l, I]: the inverse of `split_slices`."""
    order = (2, 0, 3, 1) if shape.order == "strided" else (2, 0, 1, 3)
    return slices.permute(order).reshape(shape.full)[:shape.outputs, :shape.inputs].contiguous()


def project(weight: Tensor, shape: MonarchShape) -> Factors:
    """Return the Monarch matrix nearest to a weight in Frobenius norm.

    The error is a sum over slices, so the best rank-r approximation of every slice is the best
    matrix of all (Dao et al., arXiv 2204.00595, algorithm 1 and theorem 1; here r >= 1): one
    batched SVD in float64, the square root of each singular value on either side.

    Parameters
    ----------
    weight : Tensor of floating point, shape (O, K)
    shape : MonarchShape

    Returns
    -------
    Factors
        Of the weight's type.

    Raises
    ------
    DataError
        A weight of another shape, NaN or infinite values.
    """
    if weight.shape != (shape.outputs, shape.inputs):
        raise DataError(f"expected a weight [{shape.outputs}, {shape.inputs}], "
                        f"not {list(weight.shape)}")
    if not torch.isfinite(weight).all():
        raise DataError("NaN or infinite weights cannot be projected")
    blocks, size, outputs = shape.reached  # what padding leaves zero needs no SVD
    slices = split_slices(weight.detach().double(), shape)[:, :blocks, :outputs, :size]
    u, sigma, v = torch.linalg.svd(slices, full_matrices=False)
    rank = min(shape.rank, sigma.shape[-1])
    root = sigma[..., :rank].sqrt()
    right = slices.new_zeros(shape.in_blocks, shape.rank, shape.out_blocks, shape.in_size)
    left = slices.new_zeros(shape.out_blocks, shape.out_size, shape.in_blocks, shape.rank)
    right[:blocks, :rank, :, :size] = (root[..., None] * v[..., :rank, :]).permute(1, 2, 0, 3)
    left[:, :outputs, :blocks, :rank] = (u[..., :rank] * root[..., None, :]).transpose(1, 2)
    return Factors(shape, right.view(shape.right).to(weight.dtype),
                   left.view(shape.left).to(weight.dtype))


def _reference(factors: Factors) -> Tensor:
    """Return M as [O, K] from explicit permutation matrices, entry by entry: slow and clear."""
    shape = factors.shape
    k_count, j_count, rank = shape.in_blocks, shape.out_blocks, shape.rank
    p_in = torch.zeros(shape.full[1], shape.full[1], dtype=factors.right.dtype)
    p_mid = torch.zeros(k_count * rank * j_count, k_count * rank * j_count).to(p_in)
    p_out = torch.zeros(shape.full[0], shape.full[0]).to(p_in)
    for k in range(k_count):
        for i in range(shape.in_size):
            column = i * k_count + k if shape.order == "strided" else k * shape.in_size + i
            p_in[k * shape.in_size + i, column] = 1
        for rho in range(rank):
            for j in range(j_count):
                p_mid[(j * k_count + k) * rank + rho, (k * rank + rho) * j_count + j] = 1
    for j in range(j_count):
        for row in range(shape.out_size):
            p_out[row * j_count + j, j * shape.out_size + row] = 1
    right, left = torch.block_diag(*factors.right), torch.block_diag(*factors.left)
    return (p_out @ left @ p_mid @ right @ p_in)[:shape.outputs, :shape.inputs]
