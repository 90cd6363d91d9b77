"""``cimforge d2s``: a model's linear layers as Monarch factors, saved as a checkpoint."""

from collections.abc import Sequence
from pathlib import Path

import cimforge as cf
from cimforge.report.progress import progress
from cimforge.spec.errors import DataError
from cimforge.spec.files import check_writable

__all__ = ["run_d2s"]


def run_d2s(source: str, texts: Sequence[str], out: Path, *, rule: str = "sqrt",
            plan: Path | None = None, recover: bool = False) -> str:
    """Convert, save, and return the fidelity of every layer as text.

    Parameters
    ----------
    source : str
        What ``load_model`` takes.
    texts : sequence of str
        Calibration text: for the errors of outputs, and for the recovery.
    out : Path
        Folder that is not there yet, or empty.
    rule : str
        Of every layer; without effect where there is a plan.
    plan : Path, optional
        YAML of a `MonarchPlan`.
    recover : bool
        Solve the factors layer by layer.

    Raises
    ------
    CimforgeError
        As the functions called say; before anything is converted, where that can be known.
    """
    chosen = cf.MonarchPlan.uniform(rule) if plan is None else cf.MonarchPlan.load(plan)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: must be a new or an empty folder")
    check_writable(out)
    with progress() as bars:
        with bars.task("load model", 1):
            model = cf.load_model(source)
        with bars.task("D2S", None) as bar:
            convert = cf.d2s_with_recovery if recover else cf.d2s
            made = convert(model, chosen, texts, progress=lambda done, all_: bar.of(done, all_, ""))
    cf.save_monarch(made, out)
    layers = "".join(
        f"{name}: {layer.blocks}, weight error {layer.errors.weight:.3f}, output error "
        f"{layer.errors.output:.3f}\n" for name, layer in made.layers.items())
    return f"{layers}{out}: {made.cost.compression:.1f} times fewer parameters\n"
