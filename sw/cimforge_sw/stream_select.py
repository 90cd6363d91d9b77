"""Selection for a model larger than memory: what needs shapes, or one look at every layer."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.calibration import Stats
from cimforge_sw.models import Model, source_folder
from cimforge_sw.outliers import OutlierStats, outlier_stats
from cimforge_sw.select import Selection, Selector, check_request, uniform_mixes
from cimforge_sw.skeleton import Skeleton
from cimforge_sw.stream import stream_layers
from cimforge_sw.tokens import Text

__all__ = ["STREAMED_METHODS", "check_streamed", "stream_select"]

#: FLOW-X runs the whole model for every plan it tries.
STREAMED_METHODS = ("uniform", "owl", "flow")


def check_streamed(method: str, sparsity: float, mode: str = "balanced") -> None:
    """Refuse what `stream_select` cannot do with any model; its errors."""
    if method not in STREAMED_METHODS:
        raise ConfigError("a streamed model is selected for by one of "
                          f"{', '.join(STREAMED_METHODS)}, not {method}")
    check_request(method, sparsity, mode)


def stream_select(source: str | Path, texts: Iterable[Text] | None,
                  config: DcimConfig | None = None, *, method: str = "uniform", sparsity: float,
                  mode: str = "balanced", exclude: Sequence[str] = (),
                  work: str | Path | None = None) -> Selection:
    """Select N:M per layer without holding more than a block of the model; for `stream_prune`.

    OWL and FLOW choose what they choose for the model in memory. Nothing scores the mixes of
    ``uniform``, so it is the one whose sparser layers are spread over the model.

    Parameters
    ----------
    source : str or Path
        As `load_model` takes it; dense.
    texts : iterable of str or of sequences of int, or None
        Calibration text; ``uniform`` does without.
    config : DcimConfig, optional
        Hardware: its candidates and sharing; N:8 with free positions without one.
    method, sparsity, mode, exclude
        See ``Selector``; FLOW-X needs the model in memory.
    work : str or Path, optional
        See `stream_layers`.

    Returns
    -------
    Selection
        ``details`` has ``presence`` and ``locality`` of every layer, None of those excluded (empty
        with ``uniform``), and ``cycles`` and ``tokens`` where there is hardware.

    Raises
    ------
    ConfigError, DataError
        As ``Selector.select`` and `stream_layers`; FLOW-X; or no text for OWL or FLOW.
    """
    check_streamed(method, sparsity, mode)
    if texts is None and method != "uniform":
        raise ConfigError(f"{method} counts outliers on calibration texts; only uniform does not")
    skeleton = Skeleton(source_folder(str(source)))
    skeleton.shards.close()  # shapes are enough until layers stream
    model = Model(str(source), skeleton.module, None, "")
    selector = Selector(model, Stats({}, 0, 0), (), config, exclude=exclude)
    budget = selector.check(method, sparsity, mode=mode)
    outliers: list[OutlierStats | None] = []
    if method == "uniform" or texts is None:
        mixes = {mix.details["what"]: mix for mix in uniform_mixes(budget)}
        chosen = selector.shared(mixes.get("spread") or next(iter(mixes.values())))
    else:
        found = _outliers(source, texts, exclude, work)
        outliers = [found.get(name) for name in selector.shapes]
        chosen = replace(selector, known=outliers).select(method, sparsity, mode=mode)
    chosen.details["presence"] = [entry and entry.presence for entry in outliers]
    chosen.details["locality"] = [entry and entry.locality for entry in outliers]
    if config is not None:
        chosen.details.update(cycles=selector.cycles(chosen), tokens=selector.tokens)
    return chosen


def _outliers(source: str | Path, texts: Iterable[Text], exclude: Sequence[str],
              work: str | Path | None) -> dict[str, OutlierStats]:
    found = {}
    for name, weight, norm in stream_layers(source, texts, exclude=exclude, work=work):
        try:
            found[name] = outlier_stats(weight, norm)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
    return found
