"""One model of the ADC study in integers, and its score through converters."""

import time
from functools import cached_property
from typing import Any

import cimforge as cf
from cimforge.accuracy.subject import Subject
from cimforge.adc.cells import ARRAY, EVERY, MAPPINGS, Cell

__all__ = ["AdcSubject"]

_SEED = 0  # of the calibration text: one of the accuracy table's


class _Part(Subject):
    """A subject of the accuracy table with fewer held-out texts."""

    @cached_property
    def held_out(self) -> list[str]:
        return super().held_out[::EVERY]


class AdcSubject:
    """A model, texts of the accuracy table, and its linear layers in INT8.

    Parameters
    ----------
    name : str
        Of :data:`MAPPINGS`.
    """

    def __init__(self, name: str):
        self.name = name
        self._subject = _Part(name, _SEED)

    @property
    def digest(self) -> str:
        """What the results depend on: the weights and the texts."""
        return self._subject.digest

    @cached_property
    def _quantized(self):
        """Dense layers with a scale per output channel, or factors with one each."""
        subject = self._subject
        if MAPPINGS[self.name] == "monarch":
            from cimforge_sw.analog.integer import quantize_monarch

            return quantize_monarch(subject.model, subject.texts[0])
        dense = cf.prune(subject.model, cf.Plan.uniform("dense"), subject.stats)
        return cf.quantize(dense, subject.stats)

    @cached_property
    def lossless_bits(self) -> int:
        """ADC bits with which no column of the model loses anything."""
        from cimforge_sw.analog.resolution import Resolution

        quantized = self._quantized
        if MAPPINGS[self.name] == "monarch":
            sizes = {factor.shape[2] for parts in quantized.layers.values() for part in parts
                     for factor in (part.right, part.left)}
        else:
            sizes = {layer.weight.shape[1] for layer in quantized.layers.values()}
        return max(Resolution(1, array=ARRAY).needed(size) for size in sizes)

    def _model(self, cell: Cell):
        """Return the model that a cell scores."""
        from cimforge_sw.analog.linear import converted_model
        from cimforge_sw.analog.resolution import Resolution

        if cell.rule == "float":
            return self._subject.model
        if cell.rule == "lossless":
            return self._quantized.as_model()
        how = Resolution(cell.bits, cell.rule, ARRAY)
        if MAPPINGS[self.name] == "monarch":
            return self._quantized.as_model(how)
        return converted_model(self._quantized, how)

    def measure(self, cell: Cell) -> dict[str, Any]:
        """Return ``value``, ``texts``, ``lossless_bits`` and the ``seconds`` that scoring took."""
        model = self._model(cell)
        start = time.perf_counter()
        value = self._subject.score(model)
        return {"value": value, "texts": len(self._subject.held_out), "lossless_bits":
                self.lossless_bits, "seconds": round(time.perf_counter() - start, 1)}
