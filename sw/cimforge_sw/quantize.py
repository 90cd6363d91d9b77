"""Quantization: symmetric integers per output channel, one activation scale per layer."""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.calibration import Stats
from cimforge_sw.forward import forward
from cimforge_sw.integer import int_product, quantize_tensor, requantize_params, symmetric_max
from cimforge_sw.layers import (
    bias_vector,
    linear_layers,
    replace_layer,
    used_by_weight,
    watch_inputs,
    weight_matrix,
)
from cimforge_sw.models import Model
from cimforge_sw.prune import PrunedModel, check_groups
from cimforge_sw.tokens import Text, batches, encode

__all__ = ["IntegerModel", "QuantByWeight", "QuantLinear", "QuantizedLinear", "QuantizedModel",
           "capture_inputs", "quantize", "quantized_model", "requantize_params"]

_ACC_MAX = (1 << 31) - 1


@dataclass(frozen=True, eq=False)
class QuantizedLinear:
    """One layer as integers and scales; ``y = acc * s_x * s_w + bias``.

    Parameters
    ----------
    name : str
        As in the model.
    weight : ndarray of int8, shape (O, K)
        In ``-(2**(weight_bits-1) - 1) .. 2**(weight_bits-1) - 1``.
    weight_scale : ndarray of float32, shape (O,)
        Real value of one step; 1 for an all-zero row.
    act_scale : float32
        Real value of one step of the input.
    bias : ndarray of float32, shape (O,)
    pattern : NmPattern
        At most N nonzeros in every M inputs of ``weight``.
    weight_bits, act_bits : int
        4 or 8.
    """

    name: str
    weight: np.ndarray
    weight_scale: np.ndarray
    act_scale: np.float32
    bias: np.ndarray
    pattern: NmPattern
    weight_bits: int = 8
    act_bits: int = 8

    def quantize_input(self, x: np.ndarray) -> np.ndarray:
        """Return float32 inputs [T, K] as int8: round half to even, saturate symmetrically."""
        self._check(x, np.float32)
        return quantize_tensor(torch.from_numpy(x), torch.tensor(self.act_scale),
                               symmetric_max(self.act_bits)).numpy()

    def int_matmul(self, x_q: np.ndarray) -> np.ndarray:
        """Return the accumulators, int32 [T, O], of int8 inputs [T, K]; exact, computed in torch.

        Raises
        ------
        DataError
            Another dtype or shape, or a value that ``act_bits`` cannot hold.
        """
        self._check(x_q, np.int8)
        largest = symmetric_max(self.act_bits)
        if x_q.size and not -largest - 1 <= x_q.min() <= x_q.max() <= largest:
            raise DataError(f"{self.name}: inputs do not fit in {self.act_bits} signed bits")
        return int_product(torch.from_numpy(x_q), torch.from_numpy(self.weight)).numpy()

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return ``acc * (s_x * s_w) + bias``, float32 [T, O], of float32 inputs [T, K]."""
        acc = self.int_matmul(self.quantize_input(x)).astype(np.float32)
        return acc * (self.act_scale * self.weight_scale) + self.bias

    def _check(self, x: np.ndarray, dtype: type) -> None:
        inputs = self.weight.shape[1]
        if x.dtype != dtype or x.ndim != 2 or x.shape[1] != inputs:
            raise DataError(f"{self.name}: expected {np.dtype(dtype)} inputs [T, {inputs}], "
                            f"not {x.dtype} {list(x.shape)}")


class QuantLinear(nn.Module):
    """A linear layer that runs on integers and scales the result in float32, as the host does.

    Parameters
    ----------
    layer : QuantizedLinear
        Its arrays are shared, not copied.
    """

    def __init__(self, layer: QuantizedLinear):
        super().__init__()
        self.largest = symmetric_max(layer.act_bits)
        self.register_buffer("weight", torch.from_numpy(layer.weight))
        self.register_buffer("act_scale", torch.tensor(layer.act_scale))
        self.register_buffer("scale", torch.from_numpy(layer.act_scale * layer.weight_scale))
        self.register_buffer("bias", torch.from_numpy(layer.bias))

    def quantize_input(self, x: Tensor) -> Tensor:
        """Return float32 [..., K] as the int8 the hardware would be given."""
        return quantize_tensor(x, self.act_scale, self.largest)

    def accumulate(self, x_q: Tensor) -> Tensor:
        """Return the accumulators, int32 [T, O], of int8 [T, K]."""
        return int_product(x_q, self.weight)

    def product(self, x: Tensor) -> Tensor:
        """Return the layer's output [..., O] without its bias, of float32 [..., K]."""
        x_q = self.quantize_input(x).reshape(-1, x.shape[-1])
        out = self.accumulate(x_q).float() * self.scale
        return out.reshape(*x.shape[:-1], len(self.bias))

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x) + self.bias


class IntegerLayer(Protocol):
    """A module that stands for a linear layer and computes on integers."""

    bias: Any

    def quantize_input(self, x: Tensor) -> Tensor:
        """Return float32 [..., K] as the int8 the hardware would be given."""

    def product(self, x: Tensor) -> Tensor:
        """Return the layer's output [..., O] without its bias, of float32 [..., K]."""


class _LeftFactor:
    """Stands for the weight [O, K] of an integer layer on the left of ``@``, and nowhere else."""

    def __init__(self, linear: IntegerLayer):
        self._linear = linear

    def __matmul__(self, x: Tensor) -> Tensor:
        """Return float32 [..., O, T] of float32 [..., K, T], computed on integers."""
        return self._linear.product(x.transpose(-1, -2)).transpose(-1, -2)


class QuantByWeight(nn.Module):
    """In the place of a layer that its owner uses as ``layer.weight @ x`` and ``layer.bias``.

    The same integers; adding the bias is left to the owner, as it was.

    Parameters
    ----------
    linear : IntegerLayer
        Such as a `QuantLinear`.
    """

    def __init__(self, linear: IntegerLayer):
        super().__init__()
        self.linear = linear

    @property
    def weight(self) -> _LeftFactor:
        return _LeftFactor(self.linear)

    @property
    def bias(self) -> Tensor | None:
        return self.linear.bias

    def quantize_input(self, x: Tensor) -> Tensor:
        """Return float32 [..., K] as the int8 the hardware would be given."""
        return self.linear.quantize_input(x)


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """The pruned model the integers came from, and its layers by name."""

    pruned: PrunedModel
    layers: dict[str, QuantizedLinear]
    weight_bits: int
    act_bits: int

    def as_model(self, make: "Callable[[QuantizedLinear], QuantLinear] | None" = None) -> Model:
        """Return a model whose linear layers run on integers, for `evaluate`.

        ``make`` returns what stands for each layer; default: a `QuantLinear`.
        """
        return replace(self.pruned.model, module=quantized_model(self, make or QuantLinear))


def quantize(pruned: PrunedModel, stats: Stats, weight_bits: int = 8,
             act_bits: int = 8) -> QuantizedModel:
    """Quantize every linear layer: weights per output channel, inputs by the calibrated range.

    Parameters
    ----------
    pruned : PrunedModel
        Also a dense model, pruned by ``Plan.uniform("dense")``.
    stats : Stats
        Of the same model: the largest input of each layer sets its activation scale.
    weight_bits, act_bits : int
        4 or 8.

    Raises
    ------
    ConfigError
        Other widths, or a layer whose sums could overflow 32 bits.
    DataError
        A layer without statistics, or a group that keeps more than N (the gate of this stage).
    """
    for bits in (weight_bits, act_bits):
        symmetric_max(bits)
    layers = {}
    for name, layer in linear_layers(pruned.model.module).items():
        if name not in stats.layers:
            raise DataError(f"{name}: no calibration statistics, so no activation scale")
        layers[name] = _quantize_layer(name, layer, pruned.patterns[name],
                                       stats.layers[name].abs_max, weight_bits, act_bits)
    return QuantizedModel(pruned, layers, weight_bits, act_bits)


def _quantize_layer(name: str, layer: nn.Module, pattern: NmPattern, abs_max: float,
                    weight_bits: int, act_bits: int) -> QuantizedLinear:
    weight, largest = weight_matrix(layer), symmetric_max(weight_bits)
    inputs, act_max = weight.shape[1], symmetric_max(act_bits)
    if inputs * (largest + 1) * (act_max + 1) > _ACC_MAX:
        raise ConfigError(f"{name}: {inputs} inputs of {weight_bits} x {act_bits} bits can "
                          "overflow a 32-bit accumulator")
    scale = _step(weight.abs().amax(1) / largest)
    integers = quantize_tensor(weight, scale[:, None], largest)
    check_groups(name, integers, pattern)
    act_scale = _step(torch.tensor(abs_max / act_max, dtype=torch.float32))
    return QuantizedLinear(
        name, integers.contiguous().numpy(), scale.numpy(), act_scale.numpy()[()],
        bias_vector(layer).numpy().copy(), pattern, weight_bits, act_bits)


def _step(scale: Tensor) -> Tensor:
    """Return a scale that can be divided by: 1 where everything is zero."""
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def quantized_model(quantized: QuantizedModel,
                    make: Callable[[QuantizedLinear], QuantLinear] = QuantLinear) -> nn.Module:
    """Return a copy of the module with integer layers in the place of the linear ones.

    Each is what ``make`` returns, placed by `use_integers`.
    """
    module = copy.deepcopy(quantized.pruned.model.module)
    for name, layer in quantized.layers.items():
        use_integers(module, name, make(layer))
    return module


def use_integers(module: nn.Module, name: str, layer: IntegerLayer) -> None:
    """Put an integer layer in the place of a linear one, also where the owner never calls it."""
    assert isinstance(layer, nn.Module)
    replace_layer(module, name, QuantByWeight(layer) if used_by_weight(module, name) else layer)


@runtime_checkable
class IntegerModel(Protocol):
    """A model with layers in integers: `QuantizedModel`, `IntegerMonarchModel`."""

    layers: dict[str, Any]

    def as_model(self) -> Model:
        """Return the model; its integer layers have ``quantize_input``."""


def capture_inputs(quantized: IntegerModel, texts: Iterable[Text],
                   layers: Sequence[str]) -> dict[str, np.ndarray]:
    """Run the integer model on text and return what chosen layers are given.

    Parameters
    ----------
    quantized : QuantizedModel or IntegerMonarchModel
        Its own integer layers feed the layers after them.
    texts : iterable of str or of sequences of int
        One text runs at a time, so rows come in the order of the texts.
    layers : sequence of str
        Layer names, or globs of them.

    Returns
    -------
    dict of str to ndarray of int8, shape (T, K)
        In the order of the model.

    Raises
    ------
    DataError
        A name that matches no layer, a layer the text never reached, or unusable texts.
    """
    for glob in layers:
        if not any(fnmatchcase(name, glob) for name in quantized.layers):
            raise DataError(f"{glob!r} matches none of {len(quantized.layers)} layers")
    chosen = [name for name in quantized.layers if any(fnmatchcase(name, g) for g in layers)]
    model = quantized.as_model()
    watched = {name: model.module.get_submodule(name) for name in chosen}
    seen: dict[str, list[Tensor]] = {name: [] for name in chosen}
    rows = encode(model, texts)

    def see(name: str, x: Tensor) -> None:
        seen[name].append(watched[name].quantize_input(x))

    with torch.inference_mode(), watch_inputs(model.module, chosen, see):
        for row in rows:
            for _, ids in batches([row]):
                forward(model.module, ids)
    unreached = [name for name, parts in seen.items() if not parts]
    if unreached:
        raise DataError(f"the text never reached layer(s): {', '.join(unreached)}")
    return {name: torch.cat(parts).numpy() for name, parts in seen.items()}
