"""Plans of a sweep: uniform, from a file, or recorded in the accuracy table, with their scores."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cimforge.cycles.plans import DONORS, transferred, uniform
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge.spec.yaml_text import yaml_mapping, yaml_scalar

if TYPE_CHECKING:
    from cimforge_sw.plan import Plan
    from cimforge_sw.shapes import ModelShapes

__all__ = ["PlanChoice", "Resolved", "plan_choice", "resolve"]

_KEYS = ("recorded", "sparsity", "seed", "patterns")
Row = dict[str, Any]


@dataclass(frozen=True)
class PlanChoice:
    """One entry of a sweep's ``plans``.

    Attributes
    ----------
    name : str
        What records call it.
    uniform : NmPattern, optional
    file : Plan, optional
    recorded : tuple of (str, float, int, str), optional
        Method, sparsity that was asked for, seed and candidates of a row of the accuracy table.
    """

    name: str
    uniform: NmPattern | None = None
    file: "Plan | None" = None
    recorded: tuple[str, float, int, str] | None = None


@dataclass(frozen=True)
class Resolved:
    """A plan on one model.

    Attributes
    ----------
    kind : str
        ``"uniform"``, ``"file"``, ``"recorded"`` or ``"transferred"``.
    levels : dict of str to NmPattern
        By layer.
    score : dict, optional
        The row of the accuracy table that scored these levels on this model.
    """

    kind: str
    levels: dict[str, NmPattern]
    score: Row | None


def plan_choice(where: str, node: yaml.Node, sweep: Path) -> PlanChoice:
    """Return what an entry of ``plans`` asks for: N:M, a YAML file, or a recorded plan.

    Raises
    ------
    ConfigError
        None of these; with its line.
    DataError
        A plan file that is none.
    """
    from cimforge_sw.plan import Plan

    line = f"(line {node.start_mark.line + 1})"
    if isinstance(node, yaml.MappingNode):
        return _recorded(where, node)
    text = yaml_scalar(node, where, ConfigError)
    if text.endswith((".yaml", ".yml")):
        return PlanChoice(text, file=Plan.load(sweep.parent / text))
    try:
        return PlanChoice(text, uniform=NmPattern.parse(text))
    except ConfigError as error:
        raise ConfigError(f"{where} must be N:M, a .yaml file, or {{recorded: METHOD, sparsity: "
                          f"S}}, not {text!r} {line}: {error}") from error


def _recorded(where: str, node: yaml.Node) -> PlanChoice:
    """Return the choice of a recorded plan."""
    raw = {key: yaml_scalar(value, f"{where}.{key}", ConfigError)
           for key, value in yaml_mapping(node, where, ConfigError).items()}
    line = f"(line {node.start_mark.line + 1})"
    if unknown := sorted(raw.keys() - set(_KEYS)):
        raise ConfigError(f"{where}: unknown key(s): {', '.join(unknown)}; a recorded plan has "
                          f"{', '.join(_KEYS)} {line}")
    if missing := [key for key in ("recorded", "sparsity") if key not in raw]:
        raise ConfigError(f"{where}: {missing[0]} is missing {line}")
    try:
        sparsity, seed = float(raw["sparsity"]), int(raw.get("seed", "0"))
    except ValueError as error:
        raise ConfigError(f"{where}: sparsity must be a number and seed an integer, not "
                          f"{raw['sparsity']!r} and {raw.get('seed', '0')!r} {line}") from error
    method, patterns = raw["recorded"], raw.get("patterns", "N:8")
    name = (f"{method} {sparsity:g}" + (f" of {patterns}" if patterns != "N:8" else "")
            + (f" #{seed}" if seed else ""))
    return PlanChoice(name, recorded=(method, sparsity, seed, patterns))


def resolve(choice: PlanChoice, shapes: "ModelShapes", rows: list[Row]) -> Resolved:
    """Return the pattern of every layer, and the score where this very plan was scored.

    A recorded plan of a small model is given to a large one by role and depth of the layers, and
    has no score there.

    Parameters
    ----------
    choice : PlanChoice
    shapes : ModelShapes
    rows : list of dict
        Records of the accuracy table, ``levels`` included (`accuracy_rows`).

    Raises
    ------
    DataError
        A glob that matches no layer, or a plan that was not recorded.
    """
    from cimforge_sw.shapes import load_shapes

    if choice.uniform is not None:
        # dense is recorded as 1:1; of the seeds the first
        score = next((row for row in _rows(rows, shapes.model)
                      if row["method"] in ("uniform", "dense") and row["seed"] == 0
                      and row["pattern_set"] == choice.name), None)
        return Resolved("uniform", uniform(shapes, str(choice.uniform)), score)
    if choice.file is not None:
        return Resolved("file", choice.file.resolve([layer.name for layer in shapes.layers]), None)
    donor = DONORS.get(shapes.model, shapes.model)
    row = _find(choice, donor, _rows(rows, donor), shapes.model)
    if donor != shapes.model:
        return Resolved("transferred", transferred(shapes, load_shapes(donor), row["levels"]), None)
    names = [layer.name for layer in shapes.layers]
    if len(names) != len(row["levels"]):
        raise DataError(f"{choice.name} was recorded on {shapes.model} of {len(row['levels'])} "
                        f"layers, but these shapes have {len(names)}")
    return Resolved("recorded", dict(zip(names, row["levels"], strict=True)), row)


def _rows(rows: list[Row], model: str) -> list[Row]:
    """Return the rows of a model in INT8, which is what the hardware computes."""
    return [row for row in rows if row["model"] == model and row["quantized"]]


def _key(row: Row) -> tuple[str, float, int, str]:
    return row["method"], row["sparsity_target"], row["seed"], row["pattern_set"]


def _find(choice: PlanChoice, donor: str, rows: list[Row], model: str) -> Row:
    found = next((row for row in rows if _key(row) == choice.recorded), None)
    if found is not None:
        return found
    about = model if donor == model else f"{donor}, whose plans {model} gets"
    if not rows:
        raise DataError(f"plan {choice.name}: nothing is recorded on {about}; transferred plans "
                        f"are for {', '.join(DONORS)}")
    there = list(dict.fromkeys(f"{method} {target:g} of {patterns}"
                               for method, target, _, patterns in map(_key, rows)))
    raise DataError(f"plan {choice.name}: not recorded on {about}; there are "
                    f"{', '.join(there)}, seeds {', '.join(map(str, sorted(_seeds(rows))))}")


def _seeds(rows: list[Row]) -> set[int]:
    return {row["seed"] for row in rows}
