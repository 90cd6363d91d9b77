"""Dense INT8 models on the linear mapping: every product through the arrays' converters."""

from dataclasses import replace

from torch import Tensor

from cimforge.spec.errors import ConfigError
from cimforge_sw.analog.converter import Conversion, converted_product
from cimforge_sw.analog.resolution import Resolution
from cimforge_sw.models import Model
from cimforge_sw.quantize import QuantizedLinear, QuantizedModel, QuantLinear, quantized_model

__all__ = ["converted_model"]


class _ConvertedLinear(QuantLinear):
    """A `QuantLinear` whose accumulators are what converters leave of them."""

    def __init__(self, layer: QuantizedLinear, how: Conversion):
        super().__init__(layer)
        self.how = how

    def accumulate(self, x_q: Tensor) -> Tensor:
        return converted_product(x_q, self.weight, self.how, count=False)[0]


def converted_model(quantized: QuantizedModel, how: Conversion | Resolution) -> Model:
    """Return a quantized model as the linear mapping computes it.

    The matrix is cut to arrays of ``how``'s rows, which add up in digital; how columns are shared
    out among arrays and converters changes no result. Embeddings, norms, attention products and
    heads stay in float32.

    Parameters
    ----------
    quantized : QuantizedModel
        Of INT8 weights and inputs.
    how : Conversion or Resolution

    Raises
    ------
    ConfigError
        Other widths: the tile's are INT8.
    """
    if (quantized.weight_bits, quantized.act_bits) != (8, 8):
        raise ConfigError("the analog tile takes INT8 weights and inputs, not "
                          f"{quantized.weight_bits} and {quantized.act_bits} bits")

    def convert(layer: QuantizedLinear) -> QuantLinear:
        return _ConvertedLinear(layer, how.of(layer.weight.shape[1]))

    return replace(quantized.pruned.model, module=quantized_model(quantized, convert))
