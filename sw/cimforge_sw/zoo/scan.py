"""The selective scan of Mamba with a backward pass that is linear in time, for training on a CPU.

The fallback in ``transformers`` slices a tensor per time step, and the gradient of each slice is
a tensor of full size: quadratic work. Here time comes first and the recurrence is one function.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.mamba import modeling_mamba

__all__ = ["linear_scan", "trainable_scan"]


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, decay: Tensor, drive: Tensor) -> Tensor:
        states = torch.empty_like(drive)
        state = torch.zeros_like(drive[0])
        for t in range(len(drive)):
            state = torch.addcmul(drive[t], decay[t], state, out=states[t])
        ctx.save_for_backward(decay, states)
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        decay, states = ctx.saved_tensors
        drive = gradients[0].clone()  # becomes the gradient of the drive, from the last step back
        for t in range(len(drive) - 2, -1, -1):
            drive[t].addcmul_(decay[t + 1], drive[t + 1])
        slope = torch.zeros_like(decay)
        torch.mul(drive[1:], states[:-1], out=slope[1:])
        return slope, drive


def linear_scan(decay: Tensor, drive: Tensor) -> Tensor:
    """Return ``h[t] = decay[t] * h[t-1] + drive[t]``, with ``h[-1] = 0``.

    Parameters
    ----------
    decay, drive : Tensor of float, shape (T, ...)

    Returns
    -------
    Tensor, shape (T, ...)
    """
    return _LinearScan.apply(decay, drive)


def _selective_scan(hidden_states: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor,
                    D: Tensor | None = None, z: Tensor | None = None,
                    delta_bias: Tensor | None = None, delta_softplus: bool = False,
                    **_: Any) -> Tensor:
    """Compute what ``transformers`` does under this signature; [B, D, T] and B, C [B, N, T]."""
    if delta_bias is not None:
        dt = dt + delta_bias[..., None]
    if delta_softplus:
        dt = F.softplus(dt)
    x, dt = hidden_states.permute(2, 0, 1), dt.permute(2, 0, 1)  # [T, B, D]
    decay = torch.exp(dt[..., None] * A)
    drive = (dt * x)[..., None] * B.permute(2, 0, 1)[:, :, None, :]
    out = (linear_scan(decay, drive) @ C.permute(2, 0, 1)[..., None]).squeeze(-1)
    if D is not None:
        out = out + x * D
    out = out.permute(1, 2, 0)
    return out * F.silu(z) if z is not None else out


@contextmanager
def trainable_scan() -> Iterator[None]:
    """Let Mamba blocks of ``transformers`` use the scan of this module."""
    before = modeling_mamba.mamba_selective_scan
    modeling_mamba.mamba_selective_scan = _selective_scan
    try:
        yield
    finally:
        modeling_mamba.mamba_selective_scan = before
