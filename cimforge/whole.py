"""``cimforge model``: a whole model with every linear layer on the tile."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import cimforge as cf
from cimforge.prepare import plan_of, quantized_by_plan
from cimforge.report.progress import progress
from cimforge.report.records import write_records
from cimforge.spec.errors import DataError
from cimforge.spec.files import check_writable

__all__ = ["run_model"]


def run_model(source: str, plan: str, config_name: str, calibration: Sequence[str],
              texts: Sequence[str], *, backend: str = "batch", tokens: int = 128,
              stalls: float = 0.0, seed: int = 0, out: Path | None = None) -> str:
    """Prune, quantize, run every linear layer on the tile, and score what comes out.

    Parameters
    ----------
    source : str
        What ``load_model`` takes.
    plan : str
        N:M for every layer, or the path of a YAML plan.
    config_name : str
        Preset or YAML file of the tile.
    calibration, texts : sequence of str
        The scales' text, and the text that runs.
    backend, tokens, stalls, seed
        See `simulate_model`.
    out : Path, optional
        Folder of ``model.json`` and of the layers' results: an interrupted run goes on.

    Returns
    -------
    str
        A page: the score on the integer model and on the tile, and the cycles of every layer.

    Raises
    ------
    CimforgeError
        What cannot be used or does not fit, before anything runs.
    AssertionError
        The tile differs from the integer model; names layer and position.
    """
    config = cf.load_config(config_name)
    chosen = plan_of(plan)
    if out is not None:
        check_writable(out)
    with progress() as bars:
        model, quantized = quantized_by_plan(bars, source, chosen, config, calibration, tokens)
        metric, score = _score(model, texts)
        with bars.task(f"every layer ({backend})", None) as bar:
            made = cf.simulate_model(
                quantized, config, score, backend=backend, tokens=tokens, stalls=stalls, seed=seed,
                folder=None if out is None else out / "layers", progress=bar.of)
    _check_same(made.integer, made.hardware)
    records = [asdict(layer) for layer in made.layers]
    summary = {"model": source, "metric": metric, "integer": _number(made.integer),
               "hardware": _number(made.hardware), "backend": backend,
               "sparsity": quantized.pruned.sparsity}
    if out is not None:
        write_records(out / "model.json", "cimforge model", [*records, {"layer": "*", **summary}],
                      config=config.to_dict())
    return _page(records, summary)


def _score(model: Any, texts: Sequence[str]):
    """Return the name of what is computed, and the function of a model that does it."""
    from cimforge_sw.evaluate import embed

    if hasattr(model.module, "lm_head"):
        return "bits per byte", lambda each: cf.bits_per_byte(each, texts)
    dense = embed(model, texts).numpy()

    def cosine(each: Any) -> np.ndarray:
        return (embed(each, texts).numpy() * dense).sum(-1)
    return "cosine to the dense embeddings", cosine


def _check_same(integer: Any, hardware: Any) -> None:
    if not np.array_equal(integer, hardware):
        raise DataError(f"the model's score is {_number(integer)!r} on the integers and "
                        f"{_number(hardware)!r} on what the tile computed from the same inputs: "
                        "the model does not do the same twice")


def _number(value: Any) -> float:
    return float(np.mean(value))


def _page(records: Sequence[dict[str, Any]], summary: dict[str, Any]) -> str:
    lines = [f"{r['layer']}: {r['pattern']}, {r['tokens']} tokens, {r['cycles_predicted']} cycles "
             + ("predicted" if r["cycles_counted"] is None else
                f"predicted, {r['cycles_counted']} counted") for r in records]
    total = sum(r["cycles_predicted"] for r in records)
    lines.append(f"{len(records)} layers equal the integer model's to the bit, {total} cycles; "
                 f"{summary['metric']}: {summary['hardware']:.6f} from the tile's results, "
                 f"{summary['integer']:.6f} from the integer model")
    return "\n".join(lines) + "\n"
