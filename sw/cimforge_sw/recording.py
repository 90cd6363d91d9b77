"""What the linear layers of an integer model were given and computed, and the same again."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from cimforge.spec.errors import DataError
from cimforge_sw.models import Model
from cimforge_sw.quantize import QuantizedLinear, QuantizedModel, QuantLinear

__all__ = ["Recording"]

#: Input, int8 [T, K], and accumulators, int32 [T, O], of one call of a layer.
_Call = tuple[np.ndarray, np.ndarray]


class _Recorder(QuantLinear):
    """Keeps what it is given and what it computes, exactly."""

    def __init__(self, layer: QuantizedLinear, calls: list[_Call]):
        super().__init__(layer)
        self._calls = calls

    def accumulate(self, x_q: Tensor) -> Tensor:
        out = super().accumulate(x_q)
        self._calls.append((x_q.numpy().copy(), out.numpy().copy()))
        return out


class _Player(QuantLinear):
    """Returns results from somewhere else for the calls that were recorded, in their order."""

    def __init__(self, layer: QuantizedLinear, calls: Iterator[_Call]):
        super().__init__(layer)
        self._name, self._calls = layer.name, calls

    def accumulate(self, x_q: Tensor) -> Tensor:
        x, out = next(self._calls, (None, None))
        if x is None or out is None or not np.array_equal(x_q.numpy(), x):
            raise DataError(f"{self._name}: is given an input that was not recorded; a run must do "
                            "the same both times")
        return torch.from_numpy(out)


@dataclass(frozen=True, eq=False)
class Recording:
    """Calls of every layer of an integer model.

    Parameters
    ----------
    quantized : QuantizedModel
    """

    quantized: QuantizedModel
    _calls: dict[str, list[_Call]] = field(default_factory=lambda: defaultdict(list))

    def model(self) -> Model:
        """Return the integer model; what runs on it is recorded."""
        return self.quantized.as_model(lambda layer: _Recorder(layer, self._calls[layer.name]))

    def inputs(self, name: str) -> np.ndarray:
        """Return all inputs of a layer, int8 [T, K].

        Raises
        ------
        DataError
            It was never called.
        """
        if not self._calls[name]:
            raise DataError(f"the run never reached layer {name}")
        return np.concatenate([x for x, _ in self._calls[name]])

    def products(self, name: str) -> np.ndarray:
        """Return the accumulators that belong to `inputs`, int32 [T, O]."""
        return np.concatenate([out for _, out in self._calls[name]])

    def replayed(self, results: dict[str, np.ndarray]) -> Model:
        """Return the model with its accumulators from somewhere else.

        Parameters
        ----------
        results : dict of str to ndarray of int32, shape (T, O)
            Of every layer, for all of its `inputs`.

        Raises
        ------
        DataError
            From the model: an input that was not recorded at this point.
        """
        def player(layer: QuantizedLinear) -> QuantLinear:
            inputs = [x for x, _ in self._calls[layer.name]]
            ends = np.cumsum([len(x) for x in inputs])
            parts = np.split(results[layer.name], ends[:-1])
            return _Player(layer, iter(list(zip(inputs, parts, strict=True))))
        return self.quantized.as_model(player)
