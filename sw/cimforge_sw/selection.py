"""Selection in one call, as the API offers it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cimforge.spec.config import DcimConfig
from cimforge_sw.calibration import Stats, calibrate
from cimforge_sw.models import Model
from cimforge_sw.select import Selection, Selector
from cimforge_sw.tokens import Text
from cimforge_sw.update import gram_matrices

__all__ = ["flow", "flow_x"]


def flow(model: Model, stats: Stats, sparsity: float, config: DcimConfig | None = None, *,
         mode: str = "balanced", exclude: Sequence[str] = ()) -> Selection:
    """Select N:M per layer by FLOW: N from the outliers' presence, M from their locality.

    Parameters
    ----------
    model : Model
        Dense.
    stats : Stats
        Calibration of the model.
    sparsity : float
        Least share of weights pruned.
    config : DcimConfig, optional
        Hardware: its candidates and sharing; N:8 with free positions without one.
    mode : str
        ``"latency"``, ``"balanced"`` or ``"accuracy"``.
    exclude : sequence of str
        Globs of layers that stay dense, inside the target.

    Returns
    -------
    Selection
        ``.plan`` goes to `prune`.
    """
    return Selector(model, stats, (), config, exclude=exclude).select("flow", sparsity, mode=mode)


def flow_x(model: Model, texts: Sequence[Text], config: DcimConfig | None = None, *,
           sparsity: float, max_cycles: float | None = None, exclude: Sequence[str] = (),
           stats: Stats | None = None, update: bool = False, journal: Path | None = None,
           progress: Callable[[int, int], None] | None = None) -> Selection:
    """Select N:M per layer by FLOW-X: what each choice costs the model, measured end to end.

    Parameters
    ----------
    model : Model
        Dense.
    texts : sequence of str or of sequences of int
        Calibration text that plans are scored on; a few thousand tokens.
    config : DcimConfig, optional
        Hardware: its candidates, sharing and cycles.
    sparsity : float
        Least share of weights pruned.
    max_cycles : float, optional
        The layers' cycles on ``config`` add up to no more.
    exclude : sequence of str
        Globs of layers that stay dense, inside the target.
    stats : Stats, optional
        Calibration; of ``texts`` unless given. Layers excluded need none.
    update : bool
        Choose for weights that `prune_with_update` updates on the same ``texts``.
    journal : Path, optional
        A file that an interrupted search goes on from; it stays.
    progress : callable(done, total), optional
    """
    if stats is None:
        stats = calibrate(model, texts, exclude=exclude)
    selector = Selector(model, stats, texts, config, exclude=exclude,
                        grams=gram_matrices(model, texts, exclude=exclude) if update else None)
    return selector.select("flow-x", sparsity, max_cycles=max_cycles, journal=journal,
                           progress=progress)
