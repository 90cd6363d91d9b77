"""Layer-wise recovery: the Monarch factors that change a layer's outputs least.

The projection minimizes the error of the weight, ``tr(E E^T)``; what counts is the error of the
outputs, ``tr(E G E^T)`` with E = W - M and G = X^T X of the layer's inputs. Of a block j of L, all
outputs and all factors it meets are its own, so the blocks j are independent problems, solved
together. For each, the input blocks k take turns: with all others as they are, the best slice
(j, k) without a limit on its rank is ``X* = M_jk + (E G)_k G_kk^-1``, and the best of rank r is the
truncated SVD of ``X* S`` times ``S^-1``, where ``G_kk = S S^T``. No step makes the error larger,
and none has a rate to choose. After each turn over all k, L is solved for exactly, R as it is.
"""

import torch
from torch import Tensor

from cimforge.spec.checks import check_integer
from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.monarch.factors import Factors, join_slices, project, split_columns, split_slices
from cimforge_sw.monarch.shape import MonarchShape
from cimforge_sw.sparsegpt import damped_gram

__all__ = ["recover"]


def recover(weight: Tensor, gram: Tensor, start: Factors, *, damp: float = 0.01,
            sweeps: int = 8, tolerance: float = 2e-3) -> Factors:
    """Return factors with less output error on the calibration text than the ones to start from.

    Parameters
    ----------
    weight : Tensor of floating point, shape (O, K)
    gram : Tensor of float32 or float64, shape (K, K)
        ``X^T X`` of the layer's inputs.
    start : Factors
        Of the same size, such as the projection.
    damp : float
        Added to G's diagonal, as a share of its mean over the inputs that were ever active: keeps
        the weights near the dense ones where the text says little.
    sweeps : int
        Turns over all input blocks, at most.
    tolerance : float
        Stop when a turn lowers the squared error by a smaller share.

    Returns
    -------
    Factors
        Of the weight's type; those of ``start``, if nothing is better on ``gram``.

    Raises
    ------
    DataError
        Shapes that do not belong together, NaN or infinite values, or a singular Gram matrix.
    ConfigError
        ``damp``, ``sweeps`` or ``tolerance`` out of range.
    """
    shape = start.shape
    _check(weight, gram, shape, damp, sweeps, tolerance)
    gram = gram.double()
    descent = _Descent(weight, gram, damp, start)
    last = descent.error()
    for _ in range(sweeps):
        descent.sweep()
        descent.solve_left()
        error = descent.error()
        if last - error <= tolerance * last:
            break
        last = error
    # Of a Monarch matrix the projection is the matrix; its factors get equal shares of the scale.
    found = project(descent.matrix().to(weight.dtype), shape)
    return min(start, found, key=lambda each: _output_error(weight, each, gram))


def _check(weight: Tensor, gram: Tensor, shape: MonarchShape, damp: float, sweeps: int,
           tolerance: float) -> None:
    wanted = {"weight": (shape.outputs, shape.inputs), "gram": (shape.inputs, shape.inputs)}
    for (name, size), values in zip(wanted.items(), (weight, gram), strict=True):
        if values.shape != size:
            raise DataError(f"expected {name} {list(size)}, not {list(values.shape)}")
        if not torch.isfinite(values).all():
            raise DataError(f"{name} has NaN or infinite values")
    check_integer("sweeps", sweeps, 1)
    for name, value in (("damp", damp), ("tolerance", tolerance)):
        if not value >= 0:
            raise ConfigError(f"{name} must be 0 or more, not {value!r}")


def _output_error(weight: Tensor, factors: Factors, gram: Tensor) -> float:
    error = weight.double() - factors.dense().double()
    return float(((error @ gram) * error).sum())


def _leading_rows(matrix: Tensor, rank: int) -> Tensor:
    """Return an orthonormal basis [n, I, r] of the r leading right singular vectors of [n, l, I].

    By the eigenvectors of the smaller product: a full SVD takes several times as long.
    """
    rows, width = matrix.shape[1:]
    if rows < width:
        sides = torch.linalg.eigh(matrix @ matrix.transpose(1, 2))[1][..., -rank:]
        return torch.linalg.qr(matrix.transpose(1, 2) @ sides)[0]
    return torch.linalg.eigh(matrix.transpose(1, 2) @ matrix)[1][..., -rank:]


class _Descent:
    """The slices of all j, and their error, while the input blocks take turns.

    What padding leaves zero is left out. Columns are in the order of the blocks of R, so that those
    of a block k are neighbours: [j, l, k*I].
    """

    def __init__(self, weight: Tensor, gram: Tensor, damp: float, start: Factors):
        self._shape = shape = start.shape
        self._blocks, self._size, self._outputs = shape.reached
        self._gram = damped_gram(self._ordered(gram), damp)
        self._target = self._flat(weight)
        self._now = self._flat(start.dense())
        self._right = self._target.new_zeros(shape.out_blocks, self._blocks,
                                             min(shape.rank, self._outputs, self._size), self._size)
        self._factors = [self._cholesky(self._gram[part, part]) for part in self._parts]
        self._measure()

    @property
    def _parts(self) -> list[slice]:
        """Columns of each input block."""
        return [slice(k * self._size, (k + 1) * self._size) for k in range(self._blocks)]

    def _flat(self, weight: Tensor) -> Tensor:
        slices = split_slices(weight.double(), self._shape)
        slices = slices[:, :self._blocks, :self._outputs, :self._size]
        return slices.transpose(1, 2).reshape(len(slices), self._outputs, -1)

    def _ordered(self, gram: Tensor) -> Tensor:
        for _ in range(2):  # the columns, then the rows
            split = split_columns(gram, self._shape)[:, :self._blocks, :self._size]
            gram = split.reshape(len(split), -1).T
        return gram

    def _cholesky(self, matrix: Tensor) -> Tensor:
        factor, info = torch.linalg.cholesky_ex(matrix)
        pivots, diagonal = (m.diagonal(dim1=-2, dim2=-1) for m in (factor, matrix))
        # A pivot is what the inputs before it leave unexplained; rounding leaves about n * epsilon.
        floor = matrix.shape[-1] * torch.finfo(matrix.dtype).eps * diagonal
        if bool(info.any()) or bool((pivots.square() <= floor).any()):
            raise DataError(f"the Gram matrix of {self._shape.inputs} inputs is singular: "
                            "calibrate on more text, or use a larger damp")
        return factor

    def _measure(self) -> None:
        self._missing = self._target - self._now
        self._pull = self._missing @ self._gram

    def error(self) -> float:
        """Return the damped error, ``tr(E G E^T)``."""
        return float((self._pull * self._missing).sum())

    def sweep(self) -> None:
        """Let every input block take its turn."""
        rank = self._right.shape[2]
        for k, (part, factor) in enumerate(zip(self._parts, self._factors, strict=True)):
            pull = self._pull[..., part]
            step = torch.cholesky_solve(pull.reshape(-1, self._size).T, factor).T
            scaled = (self._now[..., part] + step.reshape(pull.shape)) @ factor
            basis = _leading_rows(scaled, rank)
            self._right[:, k] = torch.linalg.solve_triangular(
                factor, basis.transpose(1, 2), upper=False, left=False)
            change = (scaled @ basis) @ self._right[:, k] - self._now[..., part]
            self._now[..., part] += change
            self._missing[..., part] -= change
            self._pull -= change @ self._gram[part]

    def solve_left(self) -> None:
        """Replace L by the best for R as it is: a system of k*r equations for each j."""
        count = len(self._right)
        weighted = torch.stack([self._right[:, k] @ self._gram[part]
                                for k, part in enumerate(self._parts)], 1).flatten(1, 2)
        normal = torch.cat([weighted[..., part] @ self._right[:, k].transpose(1, 2)
                            for k, part in enumerate(self._parts)], 2)
        left = torch.cholesky_solve(weighted @ self._target.transpose(1, 2),
                                    self._cholesky(normal))
        left = left.view(count, self._blocks, -1, self._outputs).transpose(2, 3)
        self._now = torch.cat([left[:, k] @ self._right[:, k] for k in range(self._blocks)], 2)
        self._measure()

    def matrix(self) -> Tensor:
        """Return M as [O, K]."""
        shape = self._shape
        slices = self._now.new_zeros(shape.out_blocks, shape.in_blocks, shape.out_size,
                                     shape.in_size)
        slices[:, :self._blocks, :self._outputs, :self._size] = self._now.view(
            len(slices), self._outputs, self._blocks, self._size).transpose(1, 2)
        return join_slices(slices, shape)
