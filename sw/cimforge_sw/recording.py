"""What the linear layers of an integer model were given and computed, and the same again."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from cimforge.spec.errors import DataError
from cimforge_sw.integer import int_product
from cimforge_sw.models import Model
from cimforge_sw.quantize import Multiply, QuantizedModel

__all__ = ["Recording"]


@dataclass(frozen=True, eq=False)
class Recording:
    """Calls of every layer, in order.

    Attributes
    ----------
    quantized : QuantizedModel
    inputs : dict of str to list of ndarray of int8, shape (T, K)
    products : dict of str to list of ndarray of int32, shape (T, O)
        Exact, by torch.
    """

    quantized: QuantizedModel
    inputs: dict[str, list[np.ndarray]] = field(default_factory=dict)
    products: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def model(self) -> Model:
        """Return the integer model; what runs on it is recorded."""
        def recorder(name: str) -> Multiply:
            inputs, products = self.inputs.setdefault(name, []), self.products.setdefault(name, [])

            def multiply(x: Tensor, weight: Tensor) -> Tensor:
                out = int_product(x, weight)
                inputs.append(x.numpy().copy())
                products.append(out.numpy().copy())
                return out
            return multiply
        return self.quantized.as_model(recorder)

    def rows(self, name: str) -> np.ndarray:
        """Return all inputs of a layer: int8 [T, K]; DataError if it was never called."""
        if not self.inputs.get(name):
            raise DataError(f"the text never reached layer {name}")
        return np.concatenate(self.inputs[name])

    def replayed(self, results: dict[str, np.ndarray]) -> Model:
        """Return a model that takes its products from somewhere else, call by call.

        Parameters
        ----------
        results : dict of str to ndarray of int32, shape (T, O)
            Of all rows of every layer.

        Raises
        ------
        DataError
            From the model: an input that was not recorded at this point.
        """
        def player(name: str) -> Multiply:
            lengths = [len(x) for x in self.inputs[name]]
            parts = np.split(results[name], np.cumsum(lengths)[:-1])
            calls = iter(zip(self.inputs[name], parts, strict=True))

            def multiply(x: Tensor, _weight: Tensor) -> Tensor:
                recorded, out = next(calls, (None, None))
                if recorded is None or out is None or not np.array_equal(x.numpy(), recorded):
                    raise DataError(f"{name}: is given an input that was not recorded")
                return torch.from_numpy(out.astype(np.int32))
            return multiply
        return self.quantized.as_model(player)
