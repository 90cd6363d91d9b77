"""``cimforge prune``: select, prune and save, with everything a person wants to see of it."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cimforge as cf
from cimforge.report.plots import plot_pareto, plot_plan
from cimforge.report.progress import progress
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.files import check_writable, write_atomic
from cimforge.spec.pattern import NmPattern

if TYPE_CHECKING:
    from cimforge_sw.plan import Plan
    from cimforge_sw.select import Selector

__all__ = ["DESCRIPTION", "FRONT", "WRITTEN", "run_front", "run_prune", "uncounted_note",
           "write_description"]

#: What `write_description` writes.
DESCRIPTION = ("plan.yaml", "plan.svg", "selection.json")
#: What `run_prune` leaves in its folder.
WRITTEN = ("checkpoint", *DESCRIPTION)

#: Sparsities of a Pareto front.
FRONT = (0.5, 0.5625, 0.625, 0.6875, 0.75)


def _selector(bars, source: str, config_name: str, texts: Sequence[str], exclude: Sequence[str],
              scored: int, check: Callable[["Selector"], object], update: bool = False,
              score: str = "wanda"):
    """Load and calibrate; plans are scored on the first ``scored`` texts.

    ``check`` sees the selector before calibration: what shapes alone can refuse is refused then.
    """
    from cimforge_sw.calibration import Stats
    from cimforge_sw.select import Selector
    from cimforge_sw.update import gram_matrices

    config = cf.load_config(config_name)
    with bars.task("load model", 1):
        model = cf.load_model(source)
        selector = Selector(model, Stats({}, 0, 0), texts[:scored], config, exclude=exclude,
                            score=score)
        check(selector)
    with bars.task("calibrate", None) as bar:
        stats = cf.calibrate(model, texts, exclude=exclude, progress=bar.of)
    grams = None
    if update:
        with bars.task("Gram matrices", 1):
            grams = gram_matrices(model, texts, exclude=exclude)
    return replace(selector, stats=stats, grams=grams)


def run_prune(source: str, out: Path, texts: Sequence[str], *, method: str = "flow-x",
              sparsity: float = 0.5, mode: str = "balanced", config_name: str = "default",
              max_cycles: float | None = None, exclude: Sequence[str] = (), update: bool = False,
              packed: bool = False, score: str = "wanda", scored: int = 128) -> Path:
    """Select a plan, prune by it, and write plan, picture, figures and checkpoint.

    Parameters
    ----------
    source : str
        What ``load_model`` takes.
    out : Path
        Folder of ``plan.yaml``, ``plan.svg``, ``selection.json`` and ``checkpoint/``, none of
        which may be there. A search that was interrupted left a journal in it, and goes on.
    texts : sequence of str
        Calibration text.
    method, sparsity, mode, max_cycles
        See ``Selector.select``.
    config_name : str
        Preset or YAML file of the hardware: candidates and cycles.
    exclude : sequence of str
        Globs of layers that stay dense.
    update : bool
        SparseGPT instead of Wanda: the weights that stay are updated, and FLOW-X chooses for that.
    packed : bool
        Write packed N:M safetensors instead of a dense checkpoint; both in the source's type.
    score : str
        What masks keep: ``"wanda"`` or ``"magnitude"``; SparseGPT has its own.
    scored : int
        How many of the first texts plans are scored on.

    Returns
    -------
    Path
        The plan.

    Raises
    ------
    ConfigError, DataError
        As ``Selector.check``, `load_model` and `calibrate`; or ``out`` in use. Whatever arguments
        or shapes show to be wrong is found before calibration.
    """
    from cimforge_sw.folders import check_absent, new_entries
    from cimforge_sw.packed import round_weights, save_packed, save_pruned
    from cimforge_sw.select import check_request, check_score

    check_request(method, sparsity, mode, max_cycles)
    check_score(score, update)
    if scored < 1:
        raise ConfigError(f"plans are scored on at least one text, not {scored}")
    check_writable(out)
    check_absent(out, WRITTEN)
    journal = out / "search.journal" if method == "flow-x" else None
    with progress() as bars:
        selector = _selector(
            bars, source, config_name, texts, exclude, scored,
            lambda early: early.check(method, sparsity, mode=mode, max_cycles=max_cycles), update,
            score)
        with bars.task(f"select ({method})", None) as bar:
            chosen = selector.select(method, sparsity, mode=mode, max_cycles=max_cycles,
                                     journal=journal, progress=bar.of)
        with bars.task("prune", None) as bar:
            pruned = (cf.prune_with_update(selector.model, chosen.plan, texts, progress=bar.of)
                      if update else
                      cf.prune(selector.model, chosen.plan, selector.stats, score))
        if update:
            round_weights(pruned)
        figures: dict[str, Any] = {
            "model": source, "method": method, "score": score, "update": update,
            "target": sparsity, "sparsity": pruned.sparsity, "excess": chosen.excess,
            "uncounted": pruned.uncounted, "sparsity_of_all": pruned.sparsity_of_all,
            "cycles": selector.cycles(chosen), "tokens": selector.tokens,
            "loss": selector.loss(chosen), "details": chosen.details,
            "presence": [entry and entry.presence for entry in selector.outliers],
            "locality": [entry and entry.locality for entry in selector.outliers]}
        with bars.task("save", 1), new_entries(out, WRITTEN) as new:
            write_description(new, chosen.plan, pruned.patterns, figures)
            (save_packed if packed else save_pruned)(pruned, new / "checkpoint")
    if journal is not None:
        journal.unlink(missing_ok=True)  # not before all that it led to is on disk
    return out / "plan.yaml"


def write_description(folder: Path, plan: "Plan", patterns: Mapping[str, NmPattern],
                      figures: Mapping[str, Any]) -> None:
    """Write a plan, the picture of it, and the figures; cycles that are infinite are null in JSON.

    Parameters
    ----------
    folder : Path
        Gets the files of `DESCRIPTION`.
    plan : Plan
    patterns : mapping of str to NmPattern
        The plan, resolved.
    figures : mapping of str to Any
        JSON types; ``cycles``, ``presence`` and ``locality`` among them.
    """
    cycles = figures["cycles"] if math.isfinite(figures["cycles"]) else None
    plan.save(folder / "plan.yaml")
    write_atomic(folder / "selection.json",
                 (json.dumps({**figures, "cycles": cycles}, indent=1) + "\n").encode())
    plot_plan(folder / "plan.svg", {name: str(pattern) for name, pattern in patterns.items()},
              figures["presence"], figures["locality"])


def run_front(source: str, out: Path, texts: Sequence[str], *,
              methods: Sequence[str] = ("uniform", "flow", "flow-x"),
              config_name: str = "default", exclude: Sequence[str] = ()) -> Path:
    """Draw the Pareto front of accuracy against latency; one point per method and sparsity.

    Plans are scored on the second half of the texts, which neither calibration nor selection saw;
    cycles are the closed form on the configuration, weights streamed. Points that are there already
    stay, so an interrupted front goes on; a picture without points is not ours, and is refused.

    Returns
    -------
    Path
        The picture; ``pareto.json`` beside it has the points.

    Raises
    ------
    ConfigError, DataError
        As `run_prune`; fewer than two texts; or a layer that does not fit the hardware.
    """
    from cimforge_sw.folders import check_absent
    from cimforge_sw.objective import Objective
    from cimforge_sw.select import check_request

    for method in methods:
        check_request(method, FRONT[0])
    if len(texts) < 2:
        raise DataError(f"a front needs at least 2 texts, to calibrate on one half and score plans "
                        f"on the other, not {len(texts)}")
    check_writable(out)
    if not (out / "pareto.json").exists():  # then a picture there is not ours
        check_absent(out, ["pareto.svg"])
    half = len(texts) // 2
    path = out / "pareto.json"
    about = [source, config_name, list(exclude), hashlib.sha256(repr(list(texts)).encode())
             .hexdigest()]
    points = _points(path, about)
    done = {(point["method"], point["target"]) for point in points}
    with progress() as bars:
        selector = _selector(bars, source, config_name, texts[:half], exclude, half,
                             lambda early: _check_front(early, methods))
        unseen = Objective(selector.model, texts[half:])
        for method in methods:
            for target in FRONT:
                if (method, target) in done:
                    continue
                journal = out / f"{method}-{target:g}.journal"
                with bars.task(f"{method} {target:g}", None) as bar:
                    chosen = selector.select(method, target, progress=bar.of,
                                             journal=journal if method == "flow-x" else None)
                selector.variants.apply(chosen.plan.resolve(selector.shapes))
                points.append({"method": method, "target": target, "label": f"{target:.1%}",
                               "sparsity": chosen.sparsity, "cycles": selector.cycles(chosen),
                               "score": unseen.loss(selector.variants.model.module)})
                out.mkdir(parents=True, exist_ok=True)
                write_atomic(path, (json.dumps({"about": about, "points": points}, indent=1)
                                    + "\n").encode())
                journal.unlink(missing_ok=True)
    return plot_pareto(out / "pareto.svg", points, "loss to the dense model (lower is better)")


def _check_front(selector: "Selector", methods: Sequence[str]) -> None:
    """Refuse a front with a point that a method cannot select, or cycles that there are not."""
    from cimforge_sw.compile.cost import pattern_cycles

    assert selector.config is not None
    for method in methods:
        for target in FRONT:
            selector.check(method, target)
    for name, (outputs, inputs) in selector.shapes.items():
        cycles = [pattern_cycles(selector.config, outputs, inputs, option, selector.tokens)
                  for option in selector.options]
        if not all(map(math.isfinite, cycles)):
            raise DataError(f"{name}: {inputs} inputs do not fit the hardware with every pattern, "
                            "so that a front over cycles would have holes")


def uncounted_note(uncounted: Mapping[str, int], sparsity_of_all: float) -> str:
    """Return a line on weights that are neither pruned nor in the sparsity; empty without any."""
    if not uncounted:
        return ""
    return (f"not pruned and not counted: {sum(uncounted.values())} weights in {len(uncounted)} "
            f"parameter(s) that are no linear layers, first {next(iter(uncounted))}; "
            f"{sparsity_of_all:.1%} of all are 0")


def _points(path: Path, about: list[Any]) -> list[dict[str, Any]]:
    """Return the points of a front that was interrupted.

    Raises
    ------
    DataError
        A damaged file, or the front of something else.
    """
    if not path.exists():
        return []
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        same, points = kept["about"] == about, list(kept["points"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the points of a front; remove it to start anew") from error
    if not same:
        raise DataError(f"{path}: the front of another model, configuration, text or exclusion; "
                        "give another folder, or remove it")
    return points
