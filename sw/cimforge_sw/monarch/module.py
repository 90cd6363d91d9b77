"""A linear layer made of Monarch factors."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cimforge.spec.errors import DataError
from cimforge_sw.monarch.factors import Factors
from cimforge_sw.monarch.shape import MonarchShape

__all__ = ["MonarchLinear"]


class MonarchLinear(nn.Module):
    """In the place of a linear layer: ``y = x M^T + bias``, by two batched products per part.

    A part makes some of the outputs. Most layers have one; a fused layer, such as GPT-2's
    ``c_attn``, has a part for each of the matrices it holds, one after the other, which share their
    input.

    Parameters
    ----------
    parts : sequence of Factors
        Outputs in this order; all with the same inputs.
    bias : Tensor of floating point, shape (O,), or None
    transposed : bool
        The layer that this one replaces stores [K, O] (``Conv1D``): what loads a checkpoint into
        the dense model needs to know.

    Attributes
    ----------
    shapes : tuple of MonarchShape
    right, left : nn.ParameterList
        R [k, r*j, I] and L [j, O/j, k*r] of each part (`Factors`).
    bias : nn.Parameter or None

    Raises
    ------
    DataError
        No parts, parts with different inputs, or a bias of another length.
    """

    def __init__(self, parts: Sequence[Factors], bias: Tensor | None = None,
                 transposed: bool = False):
        super().__init__()
        self.transposed = transposed
        self.shapes: tuple[MonarchShape, ...] = tuple(part.shape for part in parts)
        if len({shape.inputs for shape in self.shapes}) != 1:
            raise DataError("expected parts that share their inputs, not "
                            f"{[shape.inputs for shape in self.shapes]}")
        if bias is not None and bias.shape != (self.outputs,):
            raise DataError(f"expected a bias [{self.outputs}], not {list(bias.shape)}")
        self.right = _frozen(part.right for part in parts)
        self.left = _frozen(part.left for part in parts)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    @property
    def outputs(self) -> int:
        """O, of all parts together."""
        return sum(shape.outputs for shape in self.shapes)

    @property
    def inputs(self) -> int:
        """K."""
        return self.shapes[0].inputs

    @property
    def weight(self) -> Tensor:
        """The matrix of `dense`, for owners that compute with it; writing to it has no effect."""
        return self.dense()

    @property
    def parts(self) -> list[Factors]:
        """The factors; their tensors are the module's own."""
        return [Factors(*each) for each in zip(self.shapes, self.right, self.left, strict=True)]

    def dense(self) -> Tensor:
        """Return the matrix [O, K] that the layer stands for."""
        return torch.cat([part.dense() for part in self.parts])

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., O] of [..., K]."""
        if torch.is_grad_enabled() and self.right[0].requires_grad:
            # Training has thousands of vectors per matrix: one large product is twice as fast
            # forth and back as small ones and their copies (measured at 192 x 512, 4096 vectors).
            return nn.functional.linear(x, self.dense(), self.bias)
        out = torch.cat([part.apply(x) for part in self.parts], -1)
        return out if self.bias is None else out + self.bias

    def extra_repr(self) -> str:
        """Return sizes and blocks, for printing a model."""
        return f"{self.inputs} -> {self.outputs}, {' + '.join(map(str, self.shapes))}"


def _frozen(tensors) -> nn.ParameterList:
    """Return parameters without gradients, as `load_model` leaves all of a model's."""
    return nn.ParameterList(nn.Parameter(t.detach(), requires_grad=False) for t in tensors)
