"""How far Monarch factors are from the dense layer: in its weights, and in its outputs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cimforge.spec.errors import DataError
from cimforge_sw.monarch.cost import Cost

__all__ = ["Errors", "LayerFidelity", "relative_errors"]


@dataclass(frozen=True)
class Errors:
    """Relative errors; 0 is exact, 1 is what a matrix of zeros has.

    Parameters
    ----------
    weight : float
        ``|W - M|_F / |W|_F``.
    output : float or None
        ``sqrt(tr(E G E^T) / tr(W G W^T))`` with E = W - M and G = X^T X of the calibration text:
        the root mean square error of the products over that of the products themselves. None
        without text.
    """

    weight: float
    output: float | None = None


@dataclass(frozen=True)
class LayerFidelity:
    """A converted layer.

    Parameters
    ----------
    name : str
    outputs, inputs : int
        O and K.
    blocks : str
        Of each part: ``"12x12 r4"``.
    cost : Cost
    projected : Errors
        Of the projection.
    recovered : Errors or None
        After layer-wise recovery; None where there was none.
    """

    name: str
    outputs: int
    inputs: int
    blocks: str
    cost: Cost
    projected: Errors
    recovered: Errors | None = None

    @property
    def errors(self) -> Errors:
        """Of the layer as it is in the model."""
        return self.recovered or self.projected


def relative_errors(weight: Tensor, approximation: Tensor, gram: Tensor | None = None) -> Errors:
    """Return the errors of a layer.

    Parameters
    ----------
    weight, approximation : Tensor of floating point, shape (O, K)
        W and M.
    gram : Tensor of float32 or float64, shape (K, K), optional
        ``X^T X`` of the calibration text.

    Raises
    ------
    DataError
        Shapes that do not belong together.
    """
    if weight.shape != approximation.shape or (
            gram is not None and gram.shape != 2 * weight.shape[1:]):
        raise DataError(f"expected weights [O, K] and gram [K, K], not {list(weight.shape)}, "
                        f"{list(approximation.shape)} and "
                        f"{None if gram is None else list(gram.shape)}")
    weight = weight.double()
    error = weight - approximation.double()
    relative = _ratio(error.square().sum(), weight.square().sum())
    if gram is None:
        return Errors(relative)
    gram = gram.double()
    return Errors(relative, _ratio(((error @ gram) * error).sum(),
                                   ((weight @ gram) * weight).sum()))


def _ratio(error: Tensor, reference: Tensor) -> float:
    """Return the root of a ratio of sums of squares; rounding may leave a sum below 0."""
    return float(torch.sqrt(error.clamp(min=0) / reference)) if reference > 0 else float(error > 0)
