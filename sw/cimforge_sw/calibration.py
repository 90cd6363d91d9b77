"""Calibration: what every linear layer sees on real text, as norms and ranges of its inputs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cimforge.spec.errors import DataError
from cimforge_sw.forward import forward
from cimforge_sw.globs import matches_any
from cimforge_sw.layers import layer_shape, linear_layers, watch_inputs
from cimforge_sw.models import Model
from cimforge_sw.tokens import Text, batches, encode

__all__ = ["Collector", "LayerStats", "Stats", "calibrate"]


@dataclass(frozen=True, eq=False)
class LayerStats:
    """What one linear layer saw.

    Parameters
    ----------
    norm : Tensor of float32, shape (K,)
        ``||X_j||_2`` of every input channel over all tokens (Wanda, arXiv 2306.11695, eq. 1).
    abs_max : float
        Largest ``|x|`` of any input: the range of a symmetric per-tensor scale.
    tokens : int
        Vectors seen.
    """

    norm: Tensor
    abs_max: float
    tokens: int


@dataclass(frozen=True, eq=False)
class Stats:
    """Statistics of all layers, and how much text they come from."""

    layers: dict[str, LayerStats]
    texts: int
    tokens: int


class _Accumulator:
    """Running sums of one layer: squares in float32, added up in float64."""

    def __init__(self, inputs: int):
        self.squares = torch.zeros(inputs, dtype=torch.float64)
        self.abs_max = 0.0
        self.tokens = 0

    def see(self, x: Tensor) -> None:
        self.squares += x.float().square().sum(0, dtype=torch.float64)
        low, high = torch.aminmax(x)
        self.abs_max = max(self.abs_max, -float(low), float(high))
        self.tokens += len(x)

    def finish(self) -> LayerStats:
        return LayerStats(self.squares.sqrt().float(), self.abs_max, self.tokens)


class Collector:
    """Statistics of some layers, from whatever runs while it watches.

    Parameters
    ----------
    module : nn.Module
        A whole model.
    layers : dict of str to int
        Inputs K of each layer, by name.
    """

    def __init__(self, module: nn.Module, layers: dict[str, int]):
        self._module = module
        self._sums = {name: _Accumulator(inputs) for name, inputs in layers.items()}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count every use of the layers; NaN or infinite inputs are a DataError that names one."""
        with watch_inputs(self._module, self._sums, self._see):
            yield

    def _see(self, name: str, x: Tensor) -> None:
        self._sums[name].see(x)
        if not torch.isfinite(self._sums[name].squares).all():
            raise DataError(f"{name}: NaN or infinite activations at its input")

    def finish(self) -> dict[str, LayerStats]:
        """Return the statistics.

        Raises
        ------
        DataError
            Names the layers that nothing reached.
        """
        unreached = [name for name, entry in self._sums.items() if not entry.tokens]
        if unreached:
            raise DataError(f"calibration never reached {len(unreached)} layer(s): "
                            f"{', '.join(unreached)}; exclude them or give text that does")
        return {name: entry.finish() for name, entry in self._sums.items()}


def calibrate(model: Model, texts: Iterable[Text], *, max_tokens: int | None = None,
              exclude: Sequence[str] = (), batch_tokens: int = 4096,
              progress: Callable[[int, int], None] | None = None) -> Stats:
    """Run the model on text and keep the norms and ranges of every linear layer's input.

    Texts of equal length share a batch, so nothing is padded and every position counts.

    Parameters
    ----------
    model : Model
        Runs as it is, dense.
    texts : iterable of str or of sequences of int
        Sentences, or token ids; each is cut at the model's context length.
    max_tokens : int, optional
        Stop taking texts once they hold this many tokens.
    exclude : sequence of str
        Globs of layers that need no statistics, such as those that stay dense.
    batch_tokens : int
        Tokens that run at once: bounds the memory of activations.
    progress : callable(done, total), optional
        Called after each batch, in tokens.

    Returns
    -------
    Stats

    Raises
    ------
    DataError
        Unusable texts (`encode`), NaN or infinite activations, or layers the text never reached.
    """
    layers = {name: layer_shape(layer)[1]
              for name, layer in linear_layers(model.module).items()
              if not matches_any(name, exclude)}
    collector = Collector(model.module, layers)
    rows = encode(model, texts, max_tokens)
    done, total = 0, sum(map(len, rows))
    with collector.watching():
        for _, ids in batches(rows, batch_tokens):
            forward(model.module, ids)
            done += ids.numel()
            if progress is not None:
                progress(done, total)
    return Stats(collector.finish(), len(rows), total)
