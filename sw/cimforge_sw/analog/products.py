"""Products of integer layers without any mapping: what a tile must give for the same inputs."""

from collections.abc import Mapping

import numpy as np
import torch

from cimforge_sw.analog.converter import Conversion, converted_product
from cimforge_sw.analog.integer import IntegerMonarch
from cimforge_sw.integer import int_product
from cimforge_sw.quantize import IntegerModel, QuantizedLinear

__all__ = ["layer_products"]


def layer_products(model: IntegerModel, inputs: Mapping[str, np.ndarray],
                   how: Conversion | None = None) -> dict[str, np.ndarray]:
    """Return the accumulators of layers, computed in torch.

    Parameters
    ----------
    model : IntegerModel
        From `quantize` or `quantize_monarch`.
    inputs : mapping of layer name to ndarray of int8, shape (T, K)
        As from `capture_inputs`.
    how : Conversion, optional
        Converters that every column sum goes through; exact without.

    Returns
    -------
    dict of str to ndarray of int32, shape (T, O)
        By layer, or by part ``name[n]`` of a fused one: the names that programs have.
    """
    found = {}
    for name, rows in inputs.items():
        layer, x = model.layers[name], torch.from_numpy(np.ascontiguousarray(rows))
        for part in layer if isinstance(layer, list) else [layer]:
            found[part.name] = _product(part, x, how).numpy()
    return found


def _product(part: IntegerMonarch | QuantizedLinear, x: torch.Tensor, how: Conversion | None
             ) -> torch.Tensor:
    if isinstance(part, IntegerMonarch):
        return part.int_product(x, how)
    weight = torch.from_numpy(part.weight)
    return int_product(x, weight) if how is None else converted_product(x, weight, how)[0]
