"""Points of a sweep, and their outcomes as flat records in the order of the sweep's file."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cimforge.cycles.plans import accuracy_rows
from cimforge.spec.config import DcimConfig
from cimforge.sweep.code import code_digest
from cimforge.sweep.grid import Design, label
from cimforge.sweep.measure import QUANTITIES, Work
from cimforge.sweep.plans import Resolved, resolve
from cimforge.sweep.request import Sweep
from cimforge.sweep.store import Outcome, point_digest

if TYPE_CHECKING:
    from cimforge_sw.shapes import ModelShapes

__all__ = ["Point", "cannot", "model_points", "sweep_records"]

Record = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """A design, a pruned model and a number of tokens.

    Attributes
    ----------
    design : Design
    about : dict
        What its record says of model and plan.
    plan : Resolved
    work : Work
    digest : str
        Of all that its figures depend on.
    """

    design: Design
    about: Record
    plan: Resolved
    work: Work
    digest: str


def model_points(sweep: Sweep, found: list[Design]) -> list[Point]:
    """Return the points of a sweep in the order of models, plans, tokens and designs.

    Raises
    ------
    DataError
        A plan that does not fit a model, or an accuracy table that is none.
    """
    wanted = sweep.accuracy_named or any(plan.recorded for plan in sweep.plans)
    rows = accuracy_rows(sweep.accuracy) if wanted or sweep.accuracy.is_file() else []
    points = []
    for shapes in sweep.models:
        for choice in sweep.plans:
            plan = resolve(choice, shapes, rows)
            layers = _layers(shapes, plan)
            kept = sum(layer.parameters * plan.levels[layer.name].density
                       for layer in shapes.layers)
            for tokens in sweep.tokens:
                about = {"model": shapes.model, "plan": choice.name, "plan_kind": plan.kind,
                         "sparsity": 1 - kept / shapes.parameters, "tokens": tokens}
                work = Work(layers, tokens)
                points += [Point(design, about, plan, work,
                                 point_digest(code_digest(), design.config, work))
                           for design in found]
    return points


def _layers(shapes: "ModelShapes", plan: Resolved) -> tuple[tuple[int, int, str, int], ...]:
    """Return the distinct layers and how many of each there are, sorted."""
    counted = Counter((layer.outputs, layer.inputs, str(plan.levels[layer.name]))
                      for layer in shapes.layers)
    return tuple((*layer, times) for layer, times in sorted(counted.items()))


def _scored_as(config: DcimConfig) -> bool:
    """Return whether scores of the accuracy table hold on a design: INT8, positions all free."""
    return (config.select == "line" and config.index_share == 1
            and config.weight_bits == config.act_bits == 8)


def _score(point: Point) -> Record:
    row = point.plan.score
    if row is None or not _scored_as(point.design.config):
        return {"metric": None, "score": None, "higher_is_better": None}
    return {"metric": row["metric"], "score": row["value"],
            "higher_is_better": row["higher_is_better"]}


def sweep_records(points: list[Point], known: dict[str, Outcome]) -> list[Record]:
    """Return the records of all points that could be measured.

    Keys: ``model``, ``plan``, ``plan_kind``, ``sparsity``, ``tokens``, ``design``, ``config`` (its
    digest), the axes, every quantity, and ``metric``, ``score``, ``higher_is_better``, which are
    null where this plan was not scored with the positions that the design can select.
    """
    def figures(point: Point) -> Record:  # in one order, whether they come from a file or not
        return {key: known[point.digest]["figures"][key] for key in QUANTITIES}

    return [{**point.about, "design": label(point.design.values),
             "config": point.design.config.digest, **point.design.values, **figures(point),
             **_score(point)} for point in points if "figures" in known[point.digest]]


def cannot(points: list[Point], known: dict[str, Outcome]) -> list[dict[str, str]]:
    """Return ``design`` (model, plan and tokens included) and ``reason`` of the other points."""
    return [{"design": f"{label(point.design.values)}: {point.about['model']}, "
                       f"{point.about['plan']}, {point.about['tokens']} tokens",
             "reason": known[point.digest]["cannot"]}
            for point in points if "cannot" in known[point.digest]]
