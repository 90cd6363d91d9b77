"""Monarch layers in integers: INT8 factors, INT8 between the stages, and models made of them."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.analog.converter import Conversion, converted_product
from cimforge_sw.analog.factors import Matrix
from cimforge_sw.analog.resolution import Resolution
from cimforge_sw.forward import forward
from cimforge_sw.integer import int_product, quantize_tensor, requantize_params, symmetric_max
from cimforge_sw.layers import linear_layers, watch_inputs
from cimforge_sw.models import Model
from cimforge_sw.monarch.factors import Factors, split_columns
from cimforge_sw.monarch.module import MonarchLinear
from cimforge_sw.monarch.shape import MonarchShape
from cimforge_sw.quantize import use_integers
from cimforge_sw.tokens import Text, batches, encode

__all__ = ["IntegerMonarch", "IntegerMonarchModel", "align", "quantize_factors", "quantize_monarch"]

_LARGEST = symmetric_max(8)


@dataclass(frozen=True, eq=False)
class IntegerMonarch:
    """One Monarch matrix as integers and scales; ``y = acc * middle_scale * left_scale``.

    Parameters
    ----------
    name : str
    shape : MonarchShape
    right, left : ndarray of int8, shapes (k, r j, I) and (j, O / j, k r)
    act_scale, right_scale, middle_scale, left_scale : float32
        Real value of one step; one per factor, as the tile has one requantizer setting per factor.
    multiplier, shift : int
        ``act_scale * right_scale / middle_scale`` for the requantizer between the stages.
    """

    name: str
    shape: MonarchShape
    right: np.ndarray
    left: np.ndarray
    act_scale: np.float32
    right_scale: np.float32
    middle_scale: np.float32
    left_scale: np.float32
    multiplier: int
    shift: int

    @property
    def scale(self) -> tuple[int, int, int]:
        """(bias, multiplier, shift) of the requantizer."""
        return 0, self.multiplier, self.shift

    @property
    def out_scale(self) -> np.float32:
        """Real value of one step of the accumulators."""
        return self.middle_scale * self.left_scale

    @property
    def weights(self) -> dict[tuple[str, str], np.ndarray]:
        """As `schedule` takes them."""
        return {(self.name, "R"): self.right, (self.name, "L"): self.left}

    def matrix(self, shared: str = "") -> Matrix:
        """Return what mappings need to know.

        Raises
        ------
        ConfigError
            Inputs that are not strided: the tile's addresses are.
        """
        shape = self.shape
        if shape.order != "strided":
            raise ConfigError(f"{self.name}: the analog tile takes strided inputs, not "
                              f"{shape.order}; convert with order='strided'")
        return Matrix(self.name, shape.outputs, shape.inputs, shape.in_blocks, shape.out_blocks,
                      shape.rank, *shape.full, shared)

    def quantize_input(self, x: Tensor) -> Tensor:
        """Return float32 [..., K] as INT8."""
        return quantize_tensor(x, torch.tensor(self.act_scale), _LARGEST)

    def int_product(self, x: Tensor, how: Conversion | Resolution | None = None) -> Tensor:
        """Return the accumulators, int32 [T, O], of INT8 [T, K], in torch.

        Parameters
        ----------
        x : Tensor of int8, shape (T, K)
        how : Conversion or Resolution, optional
            Converters that both stages go through; exact without. A pulse drives the rows of one
            block: a column meets cells of its own block alone, so that no mapping of the blocks
            changes a sum (but ``row_group`` may).

        Raises
        ------
        DataError
            Another type or shape.
        """
        shape = self.shape
        if x.dtype != torch.int8 or x.ndim != 2 or x.shape[1] != shape.inputs:
            raise DataError(f"{self.name}: expected int8 inputs [T, {shape.inputs}], not "
                            f"{x.dtype} {list(x.shape)}")
        first = _blocks(split_columns(x, shape).transpose(0, 1), self.right, how)
        # At most 47 bits, and a division by a power of two: float64 rounds half to even, exactly.
        middle = torch.round(first.double() * (self.multiplier / 2.0 ** self.shift))
        middle = middle.clamp_(-_LARGEST - 1, _LARGEST).to(torch.int8)
        middle = middle.view(shape.in_blocks, len(x), shape.rank, shape.out_blocks)
        middle = middle.permute(3, 1, 0, 2).reshape(shape.out_blocks, len(x), -1)
        second = _blocks(middle, self.left, how).permute(1, 2, 0)
        return second.reshape(len(x), -1)[:, :shape.outputs]


def _blocks(x: Tensor, weight: np.ndarray, how: Conversion | Resolution | None) -> Tensor:
    """Return int32 [B, T, n] of INT8 [B, T, i] and blocks [B, n, i]."""
    blocks = torch.from_numpy(weight)
    if how is not None:
        how = how.of(weight.shape[2])
        return converted_product(x.contiguous(), blocks, how, count=False)[0]
    return torch.stack([int_product(a, b) for a, b in zip(x, blocks, strict=True)])


def quantize_factors(name: str, part: Factors, act_max: float, middle_max: float
                     ) -> IntegerMonarch:
    """Quantize one Monarch matrix: symmetric, a scale per factor.

    Parameters
    ----------
    name : str
    part : Factors
    act_max, middle_max : float
        Largest magnitudes at its input and between its stages, from calibration.

    Raises
    ------
    DataError
        A scale that the requantizer cannot have.
    """
    right, right_scale = _integers(part.right)
    left, left_scale = _integers(part.left)
    act_scale, middle_scale = (np.float32(_step(value)) for value in (act_max, middle_max))
    try:
        multiplier, shift = requantize_params(
            np.array([float(act_scale) * float(right_scale) / float(middle_scale)]))
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    return IntegerMonarch(name, part.shape, right, left, act_scale, right_scale, middle_scale,
                          left_scale, int(multiplier[0]), int(shift[0]))


def align(parts: Sequence[IntegerMonarch]) -> list[IntegerMonarch]:
    """Give matrices that share an input one setting of the requantizer: the coarsest of theirs.

    A drive has one setting, so only then can a row of blocks of all of them be driven at once. No
    hidden value saturates that did not before; what it costs is resolution of the others.

    Raises
    ------
    DataError
        Inputs of different scales.
    """
    live = [part for part in parts if part.right.any()]  # what is always zero takes any setting
    coarsest = min(live or parts, key=lambda part: part.multiplier / 2.0 ** part.shift)
    for part in parts:
        if part.act_scale != coarsest.act_scale:
            raise DataError(f"{part.name}: must have the input's scale of {coarsest.name}, "
                            f"{coarsest.act_scale}, not {part.act_scale}")
    return [replace(part, multiplier=coarsest.multiplier, shift=coarsest.shift,
                    middle_scale=np.float32(float(coarsest.middle_scale) * float(part.right_scale)
                                            / float(coarsest.right_scale))) for part in parts]


def _step(largest: float) -> float:
    return largest / _LARGEST if largest > 0 else 1.0


def _integers(factor: Tensor) -> tuple[np.ndarray, np.float32]:
    scale = torch.tensor(_step(float(factor.abs().max())), dtype=torch.float32)
    return (quantize_tensor(factor.detach().float(), scale, _LARGEST).numpy(),
            np.float32(scale.item()))


class _IntegerLayer(nn.Module):
    """In the place of a `MonarchLinear`: its parts in integers, scaled in float32."""

    def __init__(self, parts: list[IntegerMonarch], bias: Tensor | None,
                 how: Conversion | Resolution | None):
        super().__init__()
        self.parts, self.how, self.bias = parts, how, bias

    def quantize_input(self, x: Tensor) -> Tensor:
        """Return float32 [T, K] as INT8; all parts have one scale."""
        return self.parts[0].quantize_input(x.float())

    @property
    def weight(self) -> Tensor:
        """Integers, for owners that ask for the weight's type before a call (T5)."""
        return torch.from_numpy(self.parts[0].right)

    def product(self, x: Tensor) -> Tensor:
        """Return the output [..., O] without the bias, of float32 [..., K]."""
        rows = x.reshape(-1, x.shape[-1]).float()
        out = torch.cat([part.int_product(part.quantize_input(rows), self.how).float()
                         * float(part.out_scale) for part in self.parts], -1)
        return out.reshape(*x.shape[:-1], -1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.product(x)
        return out if self.bias is None else out + self.bias


@dataclass(frozen=True, eq=False)
class IntegerMonarchModel:
    """A model with Monarch layers, and these in integers.

    Parameters
    ----------
    model : Model
    layers : dict of str to list of IntegerMonarch
        By layer; the parts of a fused layer are named ``layer[n]``.
    """

    model: Model
    layers: dict[str, list[IntegerMonarch]]

    def as_model(self, how: Conversion | Resolution | None = None) -> Model:
        """Return a copy whose Monarch layers run on integers, through converters if given."""
        module = copy.deepcopy(self.model.module)
        for name, parts in self.layers.items():
            use_integers(module, name, _IntegerLayer(parts, module.get_submodule(name).bias, how))
        return replace(self.model, module=module)


def quantize_monarch(model: Model, texts: Iterable[Text],
                     shared: Iterable[Sequence[str]] = ()) -> IntegerMonarchModel:
    """Quantize every Monarch layer of a model by the ranges that calibration text shows.

    Parameters
    ----------
    model : Model
        From `d2s`; other layers stay in float.
    texts : iterable of str or of sequences of int
    shared : iterable of sequences of str
        Layers with a common input (`shared_inputs`), to be driven together (`align`); the parts of
        a fused layer always are.

    Raises
    ------
    DataError
        No Monarch layer, unusable texts, or a layer that the text never reached.
    """
    layers = {name: layer for name, layer in linear_layers(model.module).items()
              if isinstance(layer, MonarchLinear)}
    if not layers:
        raise DataError(f"{model.name}: has no Monarch layers; convert it by d2s first")
    ranges = {name: [[0.0, 0.0] for _ in layer.shapes] for name, layer in layers.items()}

    def see(name: str, x: Tensor) -> None:
        for known, part in zip(ranges[name], layers[name].parts, strict=True):
            known[0] = max(known[0], float(x.abs().max()))
            known[1] = max(known[1], float(part.first(x).abs().max()))

    with torch.inference_mode(), watch_inputs(model.module, layers, see):
        for _, ids in batches(encode(model, texts)):
            forward(model.module, ids)
    unreached = [name for name, known in ranges.items() if not any(map(any, known))]
    if unreached:
        raise DataError(f"calibration never reached {len(unreached)} layer(s): "
                        f"{', '.join(unreached)}; give text that does")
    made = {name: align([
        quantize_factors(name if len(layer.shapes) == 1 else f"{name}[{n}]", part, *known)
        for n, (part, known) in enumerate(zip(layer.parts, ranges[name], strict=True))])
        for name, layer in layers.items()}
    for group in shared:
        members = [name for name in group if name in made]
        aligned = iter(align([part for name in members for part in made[name]]) if members else ())
        made |= {name: [next(aligned) for _ in made[name]] for name in members}
    return IntegerMonarchModel(model, made)
