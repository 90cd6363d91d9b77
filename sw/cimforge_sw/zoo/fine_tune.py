"""Where fine-tuning after D2S begins, and the checkpoint it ends in."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from cimforge_sw.checkpoint import MONARCH
from cimforge_sw.layers import linear_layers
from cimforge_sw.models import Model, load_model
from cimforge_sw.monarch.convert import MonarchModel, d2s, d2s_with_recovery
from cimforge_sw.monarch.file import write_monarch
from cimforge_sw.monarch.module import MonarchLinear
from cimforge_sw.monarch.plan import MonarchPlan
from cimforge_sw.packed import save_description, state_tensors
from cimforge_sw.zoo.recipes import MonarchRecipe
from cimforge_sw.zoo.text import calibration_spans

__all__ = ["FineTune"]

_PLAN = "monarch.yaml"


class FineTune:
    """A dense model of the zoo, converted with recovery and ready to train.

    Parameters
    ----------
    recipe : MonarchRecipe
    """

    def __init__(self, recipe: MonarchRecipe):
        self._recipe = recipe
        self._dense = load_model(recipe.start)
        self._plan = MonarchPlan.uniform(recipe.rule)

    @property
    def tokenizer(self) -> Any:
        """The dense model's."""
        return self._dense.tokenizer

    @cached_property
    def _converted(self) -> MonarchModel:
        texts = calibration_spans(self._recipe.spans, seed=0)
        return d2s_with_recovery(self._dense, self._plan, texts)

    @cached_property
    def module(self) -> nn.Module:
        """What is trained, all parameters: always the same object."""
        return self._converted.model.module.requires_grad_(True)

    def before(self, score: Callable[[Model], float]) -> dict[str, float]:
        """Return the scores ``dense``, ``d2s`` and ``recovered``; `module` is not trained yet."""
        models = {"dense": self._dense, "d2s": d2s(self._dense, self._plan).model,
                  "recovered": self._converted.model}
        for model in models.values():
            model.module.eval()
        return {name: score(model) for name, model in models.items()}

    @property
    def about(self) -> dict[str, Any]:
        """What the training record says besides."""
        cost = self._converted.cost
        return {"start": self._recipe.start, "start_digest": self._dense.digest,
                "rule": self._recipe.rule, "spans": self._recipe.spans,
                "compression": cost.compression, "speedup": cost.speedup}

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write the trained module as a Monarch checkpoint, in the types it has.

        There is no ``fidelity.json``: the factors are no approximation of the dense weights any
        more, so only ``load_model`` reads the folder.
        """
        module.requires_grad_(False)
        layers = {name: layer for name, layer in linear_layers(module).items()
                  if isinstance(layer, MonarchLinear)}
        write_monarch(folder / MONARCH, state_tensors(module), layers)
        (folder / MONARCH).chmod(0o644)  # safetensors writes for its owner only
        save_description(replace(self._dense, module=module), folder)
        self._plan.save(folder / _PLAN)
