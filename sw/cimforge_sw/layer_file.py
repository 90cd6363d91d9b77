"""Safetensors files whose metadata describes layers that are stored in another form.

What the formats of ``docs/formats.md`` share: the metadata's ``format``, ``version`` and
``layers``, an object by layer name as JSON.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cimforge.spec.errors import DataError

__all__ = ["LayerFormat"]

_Layer = TypeVar("_Layer")


@dataclass(frozen=True)
class LayerFormat:
    """A format.

    Parameters
    ----------
    name, version : str
    keys : frozenset of str
        What the metadata says of every layer.
    """

    name: str
    version: str
    keys: frozenset[str]

    def write(self, path: Path, tensors: Mapping[str, Tensor], layers: Mapping[str, Any]) -> None:
        """Write a file, not atomically: callers rename the folder around it."""
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata={
            "format": self.name, "version": self.version, "layers": json.dumps(layers)})

    def read(self, path: Path, layer: Callable[[str, dict[str, Any]], _Layer]
             ) -> tuple[dict[str, Tensor], dict[str, _Layer]]:
        """Return all tensors, and the layers as ``layer(where, what the metadata says)`` has them.

        Raises
        ------
        DataError
            Truncated, another format or version, or metadata that describe no layers; names the
            file and the layer.
        """
        try:
            with safe_open(path, framework="pt") as file:
                described = self._described(path, file.metadata() or {})
                layers = {name: layer(f"{path}: layer {name!r}", entry)
                          for name, entry in described.items()}
                # Copies: a mapped tensor would change, or end the process, with its file.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path}: truncated or damaged safetensors: {error}") from error
        return tensors, layers

    def _described(self, path: Path, metadata: dict[str, str]) -> dict[str, dict[str, Any]]:
        if metadata.get("format") != self.name:
            raise DataError(f"{path}: expected the format {self.name!r} in the metadata, "
                            f"not {metadata.get('format')!r}")
        if metadata.get("version") != self.version:
            raise DataError(f"{path}: version {metadata.get('version')!r} of {self.name}; this "
                            f"cimforge reads version {self.version!r}")
        try:
            raw = json.loads(metadata.get("layers", ""))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: 'layers' of the metadata is not JSON: {error}") from error
        if not isinstance(raw, dict):
            raise DataError(f"{path}: expected an object by layer name as 'layers' of the metadata")
        for name, entry in raw.items():
            if not isinstance(entry, dict) or entry.keys() != self.keys:
                raise DataError(f"{path}: layer {name!r}: expected exactly "
                                f"{', '.join(sorted(self.keys))} in the metadata")
        return raw
