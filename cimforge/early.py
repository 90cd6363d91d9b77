"""What can be refused before the long work: plans and hardware that a model does not fit."""

from typing import TYPE_CHECKING

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError

if TYPE_CHECKING:
    from cimforge_sw.models import Model
    from cimforge_sw.plan import Plan

__all__ = ["check_fit"]


def check_fit(model: "Model", plan: "Plan", config: DcimConfig, tokens: int) -> None:
    """Look at names and shapes only; what passes may still fail once its weights are known.

    Parameters
    ----------
    model : Model
    plan : Plan
    config : DcimConfig
    tokens : int
        Vectors per run of a layer.

    Raises
    ------
    DataError
        A glob of the plan that matches no layer, or a layer that no mode of the hardware can run.
    """
    from cimforge_sw.compile.patterns import check_weight
    from cimforge_sw.compile.tiling import Tiling
    from cimforge_sw.layers import linear_layers, weight_matrix

    layers = linear_layers(model.module)
    plan.resolve(layers)
    for name, layer in layers.items():
        outputs, inputs = weight_matrix(layer).shape
        check_weight(config, name, np.zeros((1, inputs), dtype=np.int8), tokens)
        tilings = [Tiling(config, mode, outputs, inputs) for mode in config.modes]
        if not any(tiling.fits for tiling in tilings):
            raise DataError(f"{name}: {inputs} inputs take at least "
                            f"{min(tiling.windows for tiling in tilings)} windows per token, but "
                            f"the activation buffer holds act_depth = {config.act_depth}")
