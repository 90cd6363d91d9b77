"""From a checkpoint and a plan to integers: what commands that meet the hardware begin with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cimforge as cf
from cimforge.early import check_fit
from cimforge.report.progress import Progress
from cimforge.spec.config import DcimConfig

if TYPE_CHECKING:
    from cimforge_sw.models import Model
    from cimforge_sw.plan import Plan
    from cimforge_sw.quantize import QuantizedModel

__all__ = ["plan_of", "quantized_by_plan"]


def plan_of(text: str) -> "Plan":
    """Return the plan of a YAML file's path, or N:M for every layer."""
    return cf.Plan.load(text) if text.endswith((".yaml", ".yml")) else cf.Plan.uniform(text)


def quantized_by_plan(bars: Progress, source: str, plan: "Plan", config: DcimConfig,
                      texts: Sequence[str], tokens: int) -> "tuple[Model, QuantizedModel]":
    """Load, check, calibrate, prune and quantize, a bar for each.

    Parameters
    ----------
    bars : Progress
    source : str
        What ``load_model`` takes.
    plan : Plan
    config : DcimConfig
        Says how many bits the integers have.
    texts : sequence of str
        Calibration text.
    tokens : int
        Vectors per run of a layer, for `check_fit`.

    Returns
    -------
    tuple of (Model, QuantizedModel)
        As loaded, and in integers.

    Raises
    ------
    CimforgeError
        As the functions called say; what does not fit, before the calibration.
    """
    with bars.task("load model", 1):
        model = cf.load_model(source)
        check_fit(model, plan, config, tokens)
    with bars.task("calibrate", None) as bar:
        stats = cf.calibrate(model, texts, progress=bar.of)
    with bars.task("prune, quantize", 1):
        pruned = cf.prune(model, plan, stats)
        return model, cf.quantize(pruned, stats, config.weight_bits, config.act_bits)
