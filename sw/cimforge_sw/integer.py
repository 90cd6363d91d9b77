"""The integer arithmetic of a quantized layer in torch, stated without the golden model."""

import numpy as np
import torch
from torch import Tensor

from cimforge.spec.errors import ConfigError, DataError

__all__ = ["int_product", "quantize_tensor", "requantize_params", "symmetric_max"]

_MULTIPLIER_BITS = 16
_MAX_SHIFT = 47


def symmetric_max(bits: int) -> int:
    """Return the largest integer of a symmetric range, ``2**(bits - 1) - 1``: 127, or 7.

    Raises
    ------
    ConfigError
        Unless ``bits`` is 4 or 8, the widths the hardware has.
    """
    if bits not in (4, 8):
        raise ConfigError(f"expected 4 or 8 bits, not {bits!r}")
    return (1 << bits - 1) - 1


def quantize_tensor(x: Tensor, scale: Tensor, largest: int) -> Tensor:
    """Return ``clip(round_half_even(x / scale), -largest, largest)`` as int8; float32 division."""
    return torch.round(x / scale).clamp_(-largest, largest).to(torch.int8)


def int_product(x: Tensor, weight: Tensor) -> Tensor:
    """Return ``x @ weight.T`` in exact 32-bit integers.

    Parameters
    ----------
    x : Tensor of int8, shape (T, K)
        Quantized inputs.
    weight : Tensor of int8, shape (O, K)
        Quantized weights.

    Returns
    -------
    Tensor of int32, shape (T, O)
        Exact: K is bounded when a layer is quantized, so that no sum overflows.

    Notes
    -----
    Computed in float64, whose 53 bits hold every such sum exactly in any order of addition;
    torch's own integer product has no fast kernel and takes 20 times longer.
    """
    return torch.matmul(x.to(torch.float64), weight.to(torch.float64).T).to(torch.int32)


def requantize_params(scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return multiplier and shift with ``multiplier / 2**shift`` nearest to each scale.

    Parameters
    ----------
    scale : ndarray of float, shape (O,)
        Positive factors from an accumulator to the next layer's integers.

    Returns
    -------
    multiplier : ndarray of uint16, shape (O,)
        Normalized, in ``2**15 .. 2**16 - 1``: the relative error is at most 2**-16.
    shift : ndarray of uint8, shape (O,)
        In 0..47.

    Raises
    ------
    DataError
        A scale that is not positive and finite, or outside what 16 bits and these shifts reach.
    """
    scale = np.asarray(scale, dtype=np.float64)
    if scale.ndim != 1:
        raise DataError(f"expected scales [O], not shape {list(scale.shape)}")
    fraction, exponent = np.frexp(scale)  # scale = fraction * 2**exponent, fraction in [0.5, 1)
    with np.errstate(invalid="ignore"):
        multiplier = np.rint(np.ldexp(fraction, _MULTIPLIER_BITS))
    carried = multiplier == 1 << _MULTIPLIER_BITS  # rounded up to the next power of two
    shift = _MULTIPLIER_BITS - exponent - carried
    multiplier = np.where(carried, 1 << _MULTIPLIER_BITS - 1, multiplier)
    bad = ~np.isfinite(scale) | (scale <= 0) | (shift < 0) | (shift > _MAX_SHIFT)
    if bad.any():
        first = int(bad.argmax())
        raise DataError(f"scale[{first}] = {scale[first]:g} cannot be a 16-bit multiplier and a "
                        f"shift of 0..{_MAX_SHIFT}; expected 2**-32 .. 65535")
    return multiplier.astype(np.uint16), shift.astype(np.uint8)
