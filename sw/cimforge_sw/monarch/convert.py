"""D2S, dense to sparse: the linear layers of a model as Monarch factors."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from cimforge.spec.errors import DataError
from cimforge_sw.layers import layer_shape, linear_layers, replace_layer, weight_matrix
from cimforge_sw.models import Model
from cimforge_sw.monarch.cost import Cost, shapes_cost
from cimforge_sw.monarch.factors import Factors, project
from cimforge_sw.monarch.fidelity import Errors, LayerFidelity, relative_errors
from cimforge_sw.monarch.module import MonarchLinear
from cimforge_sw.monarch.plan import MonarchPlan
from cimforge_sw.monarch.recover import recover
from cimforge_sw.tokens import Text, batches, encode
from cimforge_sw.update import walk_grams

__all__ = ["MonarchModel", "d2s", "d2s_with_recovery"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class MonarchModel:
    """A copy of a model with Monarch layers, and what was lost.

    Parameters
    ----------
    model : Model
        The copy; layers that the plan leaves dense are as they were.
    plan : MonarchPlan
    layers : dict of str to LayerFidelity
        The converted layers, by name, in the order of the model.
    """

    model: Model
    plan: MonarchPlan
    layers: dict[str, LayerFidelity]

    @property
    def cost(self) -> Cost:
        """Of the converted layers together."""
        return sum((layer.cost for layer in self.layers.values()), Cost())


def d2s(model: Model, plan: MonarchPlan, texts: Iterable[Text] | None = None, *,
        max_tokens: int | None = None, batch_tokens: int = 4096,
        progress: Progress | None = None) -> MonarchModel:
    """Convert layers to the Monarch matrices nearest to their weights (`project`).

    Parameters
    ----------
    model : Model
        Any family; stays as it is.
    plan : MonarchPlan
        Every glob must match a layer.
    texts : iterable of str or of sequences of int, optional
        Calibration text: only measures the error of the outputs.
    max_tokens, batch_tokens : int
        As for `calibrate`.
    progress : callable(done, total), optional
        Called after each layer.

    Raises
    ------
    DataError
        A glob that matches nothing, unusable texts or weights, a layer that the text never reached
        or that is converted already.
    ConfigError
        A rule that a layer's size does not allow; names the layer.
    """
    run = _Conversion(model, plan, progress)
    if texts is None:
        for name in run.shapes:
            run.convert(name)
    else:
        for name, gram in run.grams(model.module, texts, max_tokens, batch_tokens):
            run.convert(name, gram)
    return run.finish()


def d2s_with_recovery(model: Model, plan: MonarchPlan, texts: Iterable[Text], *,
                      sequential: bool = False, damp: float = 0.01, sweeps: int = 8,
                      tolerance: float = 2e-3, max_tokens: int | None = None,
                      batch_tokens: int = 4096, progress: Progress | None = None) -> MonarchModel:
    """Convert layers to Monarch factors that change their outputs little (`recover`).

    Parameters
    ----------
    model, plan, texts, max_tokens, batch_tokens, progress
        As for `d2s`; the text decides.
    sequential : bool
        Fit each block to the inputs that the converted blocks before it send, instead of those of
        the dense model.
    damp, sweeps, tolerance
        As for `recover`.

    Raises
    ------
    DataError, ConfigError
        As `d2s` and `recover`.
    """
    run = _Conversion(model, plan, progress)
    walked = run.module if sequential else model.module
    better = partial(recover, damp=damp, sweeps=sweeps, tolerance=tolerance)
    for name, gram in run.grams(walked, texts, max_tokens, batch_tokens):
        run.convert(name, gram, better)
    return run.finish()


class _Conversion:
    """A copy of a model whose layers are replaced one by one."""

    def __init__(self, model: Model, plan: MonarchPlan, progress: Progress | None):
        self._model, self._plan, self._progress = model, plan, progress
        self.shapes = plan.shapes(model.module)
        self.module = copy.deepcopy(model.module)
        layers = linear_layers(self.module)
        self._dense = {name: layers[name] for name in self.shapes}
        self._done: dict[str, LayerFidelity] = {}

    def grams(self, module: nn.Module, texts: Iterable[Text], max_tokens: int | None,
              batch_tokens: int) -> Iterator[tuple[str, Tensor]]:
        """Yield ``X^T X`` of the layers to convert, block after block of a module."""
        rows = encode(self._model, texts, max_tokens)
        ids = [ids for _, ids in batches(rows, batch_tokens)]
        for grams in walk_grams(module, self._dense, ids):
            for name in list(grams):
                yield name, grams.pop(name)

    def convert(self, name: str, gram: Tensor | None = None,
                better: Callable[[Tensor, Tensor, Factors], Factors] | None = None) -> None:
        """Replace a layer by its projection, or by what ``better`` makes of that."""
        layer, shapes = self._dense[name], self.shapes[name]
        try:
            weight = weight_matrix(layer)
            rows = weight.split([shape.outputs for shape in shapes])
            parts = [project(*each) for each in zip(rows, shapes, strict=True)]
            errors = [_errors(weight, parts, gram)]
            if better is not None and gram is not None:
                parts = [better(part, gram, start)
                         for part, start in zip(rows, parts, strict=True)]
                errors.append(_errors(weight, parts, gram))
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        bias = None if layer.bias is None else layer.bias.detach()
        replace_layer(self.module, name, MonarchLinear(parts, bias, isinstance(layer, Conv1D)))
        self._done[name] = LayerFidelity(name, *layer_shape(layer), " + ".join(map(str, shapes)),
                                         shapes_cost(shapes), *errors)
        if self._progress is not None:
            self._progress(len(self._done), len(self.shapes))

    def finish(self) -> MonarchModel:
        """Return the copy, in which every layer of the plan was replaced."""
        return MonarchModel(replace(self._model, module=self.module), self._plan,
                            {name: self._done[name] for name in self.shapes})


def _errors(weight: Tensor, parts: Sequence[Factors], gram: Tensor | None) -> Errors:
    return relative_errors(weight, torch.cat([part.dense() for part in parts]), gram)
