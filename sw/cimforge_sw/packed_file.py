"""The packed N:M file: a safetensors file whose pruned layers are values and index.

The format is specified in ``docs/formats.md``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.layer_file import LayerFormat
from cimforge_sw.layers import linear_layers
from cimforge_sw.packed_layer import PackedShape, pack_layer, unpack_layer

__all__ = ["PACKED_FORMAT", "PACKED_VERSION", "PackedFile", "PackedLayer", "check_layers",
           "read_packed", "write_packed"]

PACKED_FORMAT = "cimforge-nm"
PACKED_VERSION = "1"
_FORMAT = LayerFormat(PACKED_FORMAT, PACKED_VERSION, frozenset(
    {"n", "m", "inputs", "outputs", "dtype", "transposed"}))


@dataclass(frozen=True)
class PackedLayer:
    """What the metadata says of a pruned layer.

    Parameters
    ----------
    shape : PackedShape
    dtype : str
        Of the values, as torch names it, such as ``"float32"``.
    transposed : bool
        The model's parameter is [K, O] (``Conv1D``), the packed matrix its transpose.
    """

    shape: PackedShape
    dtype: str
    transposed: bool


@dataclass(frozen=True, eq=False)
class PackedFile:
    """A packed file in memory, unpacked.

    Parameters
    ----------
    tensors : dict of str to Tensor
        As a dense checkpoint has them: ``<layer>.weight`` in the place of values and index.
    masks : dict of str to Tensor of bool, shape (O, K)
        Of the pruned layers.
    layers : dict of str to PackedLayer
    """

    tensors: dict[str, Tensor]
    masks: dict[str, Tensor]
    layers: dict[str, PackedLayer]


def _matrix(weight: Tensor, transposed: bool) -> Tensor:
    return weight.T if transposed else weight


def write_packed(path: Path, content: PackedFile) -> None:
    """Write a packed file, not atomically: `save_packed` renames the folder around it.

    Raises
    ------
    DataError
        A mask that keeps more or fewer than N in a group (`pack_layer`).
    """
    tensors = dict(content.tensors)
    described = {}
    for name, layer in content.layers.items():
        weight = _matrix(tensors.pop(f"{name}.weight"), layer.transposed)
        tensors[f"{name}.values"], tensors[f"{name}.index"] = pack_layer(
            name, weight, content.masks[name], layer.shape.pattern)
        described[name] = {
            "n": layer.shape.pattern.n, "m": layer.shape.pattern.m, "inputs": layer.shape.inputs,
            "outputs": layer.shape.outputs, "dtype": layer.dtype, "transposed": layer.transposed}
    _FORMAT.write(path, tensors, described)


def read_packed(path: Path) -> PackedFile:
    """Read and unpack a packed file, layer by layer.

    Raises
    ------
    DataError
        Truncated, another format or version, a layer without its tensors or with a dense weight
        besides, tensors that do not fit the metadata or that it does not describe, or a damaged
        index; names the file and the layer.
    """
    tensors, layers = _FORMAT.read(path, _layer)
    masks = {}
    for name, layer in layers.items():
        try:
            weight, masks[name] = _take(name, layer, tensors)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        tensors[f"{name}.weight"] = _matrix(weight, layer.transposed).contiguous()
    for index in tensors:
        name = index.removesuffix(".index")
        if name != index and f"{name}.values" in tensors:
            raise DataError(f"{path}: {name}: the file has '{name}.values' and '{index}', but the "
                            "metadata does not describe this layer")
    return PackedFile(tensors, masks, layers)


def check_layers(path: Path, packed: PackedFile, module: nn.Module) -> None:
    """Refuse packed layers that a model has not, or has the other way round.

    Raises
    ------
    DataError
        Names the file and the layer. A square matrix of the wrong orientation has the right shape.
    """
    layers = linear_layers(module)
    for name, layer in packed.layers.items():
        if name not in layers:
            raise DataError(f"{path}: {name} is packed, but {type(module).__name__} has no such "
                            "linear layer")
        wanted = isinstance(layers[name], Conv1D)
        if layer.transposed != wanted:
            raise DataError(f"{path}: {name}: 'transposed' must be {str(wanted).lower()} for a "
                            f"{type(layers[name]).__name__}, not {str(layer.transposed).lower()}")


def _take(name: str, layer: PackedLayer, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    for part in ("values", "index"):
        if f"{name}.{part}" not in tensors:
            raise DataError(f"{name}: the metadata has this layer, but the file has no tensor "
                            f"'{name}.{part}'")
    if f"{name}.weight" in tensors:
        raise DataError(f"{name}: packed, but the file has a dense '{name}.weight', too")
    values, index = tensors.pop(f"{name}.values"), tensors.pop(f"{name}.index")
    if not values.is_floating_point():
        raise DataError(f"{name}: expected values of floating point, not {values.dtype}")
    if values.dtype != getattr(torch, layer.dtype, None):
        raise DataError(f"{name}: expected values of {layer.dtype}, not {values.dtype}")
    return unpack_layer(name, values, index, layer.shape)


def _layer(where: str, entry: dict[str, Any]) -> PackedLayer:
    sizes = [entry["outputs"], entry["inputs"]]
    if not all(type(size) is int and size > 0 for size in sizes):  # True is an int, too
        raise DataError(f"{where}: expected positive integers as outputs and inputs, not {sizes}")
    try:
        pattern = NmPattern(entry["n"], entry["m"])
    except ConfigError as error:
        raise DataError(f"{where}: {error}") from error
    if pattern.n == pattern.m:
        raise DataError(f"{where}: {pattern} is dense, and dense layers are not packed")
    if not isinstance(entry["dtype"], str) or not isinstance(entry["transposed"], bool):
        raise DataError(f"{where}: expected a text as dtype and true or false as transposed")
    shape = PackedShape(entry["outputs"], entry["inputs"], pattern)
    return PackedLayer(shape, entry["dtype"], entry["transposed"])
