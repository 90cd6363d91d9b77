"""``cimforge prune --stream``: select, prune and save, one block of the model in memory."""

from collections.abc import Sequence
from pathlib import Path

import cimforge as cf
from cimforge.pruning import DESCRIPTION, WRITTEN, write_description
from cimforge.report.progress import progress
from cimforge.spec.files import check_writable

__all__ = ["needs_texts", "run_stream_prune"]


def needs_texts(method: str, score: str) -> bool:
    """Return whether calibration text is used at all."""
    return method != "uniform" or score != "magnitude"


def run_stream_prune(source: str, out: Path, texts: Sequence[str] | None, *, method: str,
                     sparsity: float = 0.5, mode: str = "balanced", config_name: str = "default",
                     exclude: Sequence[str] = (), score: str = "wanda") -> Path:
    """Do what `run_prune` does for a model larger than memory.

    Parameters
    ----------
    source, out, sparsity, mode, config_name, exclude, score
        As for `run_prune`. A run that was interrupted left ``.checkpoint.partial`` in ``out``, and
        goes on after the last block in it.
    texts : sequence of str or None
        Calibration text; None where `needs_texts` says so.
    method : str
        ``"uniform"``, ``"owl"`` or ``"flow"``.

    Returns
    -------
    Path
        The plan.

    Raises
    ------
    ConfigError, DataError
        As `stream_select` and `stream_prune`; or ``out`` in use.
    """
    from cimforge_sw.folders import check_absent, new_entries
    from cimforge_sw.select import check_score
    from cimforge_sw.stream_select import check_streamed, stream_select

    check_streamed(method, sparsity, mode)
    check_score(score)
    check_writable(out)
    check_absent(out, WRITTEN)
    config = cf.load_config(config_name)
    with progress() as bars:
        with bars.task(f"select ({method})", 1):
            chosen = stream_select(source, texts, config, method=method, sparsity=sparsity,
                                   mode=mode, exclude=exclude)
        with bars.task("prune, save", None) as bar, new_entries(out, DESCRIPTION) as new:
            # Not made in `new`: what an interrupted run left would go with that.
            pruned = cf.stream_prune(source, chosen.plan, texts, out / "checkpoint", score=score,
                                     exclude=exclude, progress=bar.of)
            details = dict(chosen.details)
            moved = {key: details.pop(key) for key in ("cycles", "tokens", "presence", "locality")}
            write_description(new, chosen.plan, pruned.patterns, {
                "model": source, "method": method, "score": score, "streamed": True,
                "target": sparsity, "sparsity": pruned.sparsity, "excess": chosen.excess,
                "uncounted": pruned.uncounted, "sparsity_of_all": pruned.sparsity_of_all,
                "details": details, **moved})
    return out / "plan.yaml"
