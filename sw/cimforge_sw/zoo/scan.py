"""The selective scan of Mamba for training on a CPU: linear in time, and it stays in the cache.

The fallback in ``transformers`` slices a tensor per time step, and the gradient of each slice is
a tensor of full size: quadratic work. Here one function goes through time; what it discretizes
lives for one step only, and is computed again on the way back.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.mamba import modeling_mamba

__all__ = ["selective_scan", "trainable_scan"]


class _SelectiveScan(torch.autograd.Function):
    """x, dt [T, B, D], A [N, 1, D], b, c [T, N, B, 1]; returns [T, B, D].

    D comes last everywhere, so that every operation runs along long contiguous rows.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, dt: Tensor, A: Tensor, b: Tensor, c: Tensor) -> Tensor:
        steps, batch, width = x.shape
        states = x.new_zeros(steps + 1, len(A), batch, width)  # states[t] is before step t
        out = torch.empty_like(x)
        for t in range(steps):
            decay = (A * dt[t]).exp_()
            torch.addcmul((dt[t] * x[t]) * b[t], decay, states[t], out=states[t + 1])
            torch.sum(states[t + 1] * c[t], 0, out=out[t])
        ctx.save_for_backward(x, dt, A, b, c, states)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, dt, A, b, c, states = ctx.saved_tensors
        out = gradients[0].contiguous()
        to_x, to_dt = torch.empty_like(x), torch.empty_like(dt)
        to_b, to_c, to_a = torch.empty_like(b), torch.empty_like(c), torch.zeros_like(states[0])
        carry = torch.zeros_like(states[0])  # gradient that later steps send to this step's state
        for t in range(len(x) - 1, -1, -1):
            decay = (A * dt[t]).exp_()
            to_c[t] = (states[t + 1] * out[t]).sum(-1, keepdim=True)
            carry.addcmul_(out[t].expand_as(carry), c[t].expand_as(carry))
            to_b[t] = (carry * (dt[t] * x[t])).sum(-1, keepdim=True)
            through_drive = (carry * b[t]).sum(0)
            to_x[t] = through_drive * dt[t]
            carry *= decay
            through_decay = carry * states[t]
            to_dt[t] = through_drive * x[t] + (through_decay * A).sum(0)
            to_a.addcmul_(through_decay, dt[t].expand_as(carry))
        return to_x, to_dt, to_a.sum(1, keepdim=True), to_b, to_c


def selective_scan(x: Tensor, dt: Tensor, A: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return ``y[t] = h[t] c[t]`` of ``h[t] = exp(dt[t] A) h[t-1] + dt[t] x[t] b[t]``.

    Equations 2 and 4 of Mamba (arXiv 2312.00752), ``h[-1] = 0``; differentiable in all arguments.

    Parameters
    ----------
    x, dt : Tensor of float, shape (T, B, D)
    A : Tensor of float, shape (D, N)
    b, c : Tensor of float, shape (T, B, N)

    Returns
    -------
    Tensor, shape (T, B, D)
    """
    b, c = (part.transpose(1, 2)[..., None].contiguous() for part in (b, c))
    return _SelectiveScan.apply(x.contiguous(), dt.contiguous(), A.T[:, None].contiguous(), b, c)


def _like_transformers(hidden_states: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor,
                       D: Tensor | None = None, z: Tensor | None = None,
                       delta_bias: Tensor | None = None, delta_softplus: bool = False,
                       **_: Any) -> Tensor:
    """Take what the blocks of ``transformers`` pass: x, dt and z [B, D, T], B and C [B, N, T]."""
    if delta_bias is not None:
        dt = dt + delta_bias[..., None]
    if delta_softplus:
        dt = F.softplus(dt)
    first = (2, 0, 1)  # time
    out = selective_scan(hidden_states.permute(first), dt.permute(first), A, B.permute(first),
                         C.permute(first)).permute(1, 2, 0)
    if D is not None:
        out = out + hidden_states * D[:, None]
    return out * F.silu(z) if z is not None else out


@contextmanager
def trainable_scan() -> Iterator[None]:
    """Let Mamba blocks of ``transformers`` use the scan of this module."""
    before = modeling_mamba.mamba_selective_scan
    modeling_mamba.mamba_selective_scan = _like_transformers
    try:
        yield
    finally:
        modeling_mamba.mamba_selective_scan = before
