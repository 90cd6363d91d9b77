"""The Monarch file: a safetensors file in which layers are factors in the place of a weight.

The format is specified in ``docs/formats.md``.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.layer_file import LayerFormat
from cimforge_sw.layers import linear_layers, replace_layer
from cimforge_sw.monarch.factors import Factors
from cimforge_sw.monarch.module import MonarchLinear
from cimforge_sw.monarch.shape import MonarchShape

__all__ = ["MONARCH_FORMAT", "MONARCH_VERSION", "MonarchFile", "StoredLayer", "read_monarch",
           "write_monarch"]

MONARCH_FORMAT = "cimforge-monarch"
MONARCH_VERSION = "1"
_FORMAT = LayerFormat(MONARCH_FORMAT, MONARCH_VERSION, frozenset({"parts", "transposed"}))
_PART_KEYS = {field.name for field in fields(MonarchShape)}
_SIDES = ("right", "left")


@dataclass(frozen=True, eq=False)
class StoredLayer:
    """A Monarch layer of the file.

    Parameters
    ----------
    parts : list of Factors
    transposed : bool
        The dense model's parameter is [K, O] (``Conv1D``).
    """

    parts: list[Factors]
    transposed: bool


@dataclass(frozen=True, eq=False)
class MonarchFile:
    """A Monarch file in memory.

    Parameters
    ----------
    tensors : dict of str to Tensor
        All but the factors, as a dense checkpoint has them.
    layers : dict of str to StoredLayer
    """

    tensors: dict[str, Tensor]
    layers: dict[str, StoredLayer]

    def dense_state(self) -> dict[str, Tensor]:
        """Return the tensors of a model of dense layers: zeros where `install` brings factors."""
        state = dict(self.tensors)
        for name, layer in self.layers.items():
            shapes = [part.shape for part in layer.parts]
            size = sum(shape.outputs for shape in shapes), shapes[0].inputs
            state[f"{name}.weight"] = torch.zeros(size[::-1] if layer.transposed else size)
        return state

    def install(self, module: nn.Module) -> None:
        """Replace the layers of a model that was made from `dense_state`.

        Raises
        ------
        DataError
            A name of the file that is no linear layer of the model.
        """
        layers = linear_layers(module)
        for name, stored in self.layers.items():
            if name not in layers:
                raise DataError(f"{name}: not a linear layer of a {type(module).__name__}")
            bias = layers[name].bias
            replace_layer(module, name, MonarchLinear(
                stored.parts, None if bias is None else bias.detach(), stored.transposed))


def write_monarch(path: Path, tensors: dict[str, Tensor],
                  layers: dict[str, MonarchLinear]) -> None:
    """Write a Monarch file, not atomically: `save_monarch` renames the folder around it.

    Parameters
    ----------
    path : Path
    tensors : dict of str to Tensor
        All of the model, factors included.
    layers : dict of str to MonarchLinear
    """
    described = {name: {"parts": [asdict(shape) for shape in layer.shapes],
                        "transposed": layer.transposed} for name, layer in layers.items()}
    _FORMAT.write(path, tensors, described)


def read_monarch(path: Path) -> MonarchFile:
    """Read a Monarch file.

    Raises
    ------
    DataError
        Truncated, another format or version, metadata that describe no Monarch layers, factors
        that are missing, of another shape, NaN or infinite; names the file and the layer.
    """
    tensors, described = _FORMAT.read(path, _layer)
    layers = {}
    for name, (shapes, transposed) in described.items():
        try:
            parts = [Factors(shape, *(_take(tensors, f"{name}.{side}.{index}") for side in _SIDES))
                     for index, shape in enumerate(shapes)]
        except DataError as error:
            raise DataError(f"{path}: layer {name!r}: {error}") from error
        layers[name] = StoredLayer(parts, transposed)
    return MonarchFile(tensors, layers)


def _take(tensors: dict[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise DataError(f"the metadata has this layer, but the file has no tensor {name!r}")
    tensor = tensors.pop(name)
    if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
        raise DataError(f"expected finite floating-point numbers as {name!r}")
    return tensor.float()


def _layer(where: str, entry: dict[str, Any]) -> tuple[list[MonarchShape], bool]:
    parts, transposed = entry["parts"], entry["transposed"]
    if not isinstance(parts, list) or not parts or not isinstance(transposed, bool):
        raise DataError(f"{where}: expected a list of parts, and true or false as transposed")
    for part in parts:
        if not isinstance(part, dict) or part.keys() != _PART_KEYS:
            raise DataError(f"{where}: expected exactly {', '.join(sorted(_PART_KEYS))} of a part")
    try:
        shapes = [MonarchShape(**part) for part in parts]
    except ConfigError as error:
        raise DataError(f"{where}: {error}") from error
    if len({shape.inputs for shape in shapes}) != 1:
        raise DataError(f"{where}: expected parts that share their inputs")
    return shapes, transposed
