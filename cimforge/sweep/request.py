"""What a sweep asks for, as YAML: models, plans, tokens, a base design and axes around it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import yaml

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import CimforgeError, ConfigError
from cimforge.spec.files import shipped
from cimforge.spec.yaml_config import load_config
from cimforge.spec.yaml_text import read_yaml, yaml_mapping, yaml_names, yaml_path, yaml_scalar
from cimforge.sweep.plans import PlanChoice, plan_choice

if TYPE_CHECKING:
    from cimforge_sw.shapes import ModelShapes

__all__ = ["Sweep", "Value", "load_sweep", "sweep_names"]

Value = int | str
_Item = TypeVar("_Item")
_KEYS = ("models", "plans", "tokens", "base", "axes", "accuracy")
_MUST = ("models", "plans", "tokens", "axes")
#: Where the scores of recorded plans are from, unless a sweep names a file.
_ACCURACY = Path("reports/accuracy.json")
_MOST_POINTS = 1_000_000  # a slip of the keyboard is an error, and not a full disk


@dataclass(frozen=True)
class Sweep:
    """Everything that a sweep file says, checked and loaded.

    Attributes
    ----------
    name : str
        The file's, without its folder.
    models : tuple of ModelShapes
    plans : tuple of PlanChoice
    tokens : tuple of int
        Vectors per layer.
    base : DcimConfig
    axes : dict of str to tuple
        Fields of the configuration and their values; designs are all combinations.
    accuracy : Path
        The accuracy table's JSON.
    accuracy_named : bool
        Whether the file names it, so that it has to be there.
    """

    name: str
    models: "tuple[ModelShapes, ...]"
    plans: tuple[PlanChoice, ...]
    tokens: tuple[int, ...]
    base: DcimConfig
    axes: dict[str, tuple[Value, ...]]
    accuracy: Path
    accuracy_named: bool


def sweep_names() -> list[str]:
    """Return the sweeps that ship with the project.

    >>> "macro" in sweep_names()
    True
    """
    return yaml_names(shipped("configs/sweeps"))


def load_sweep(source: str | Path) -> Sweep:
    """Load a sweep by name, or a YAML file by path; files that it names are beside it.

    Raises
    ------
    ConfigError
        No such sweep; or a key that is unknown, missing or repeated, or a value that is none for
        it: with file, key and line.
    DataError
        A plan file that is none.
    """
    path = yaml_path(source, shipped("configs/sweeps"), "sweep")
    node = read_yaml(path, "sweep", ConfigError)
    try:
        return _build(path, node)
    except CimforgeError as error:
        text = str(error)
        raise error if text.startswith(str(path)) else type(error)(f"{path}: {text}") from error


def _build(path: Path, node: yaml.Node | None) -> Sweep:
    raw = yaml_mapping(node, "a sweep", ConfigError)
    if unknown := sorted(raw.keys() - set(_KEYS)):
        raise ConfigError(f"unknown key(s): {', '.join(unknown)}; a sweep has {', '.join(_KEYS)}")
    if missing := [key for key in _MUST if key not in raw]:
        raise ConfigError(f"{missing[0]} is missing; a sweep has {', '.join(_KEYS)}")
    named = "accuracy" in raw
    sweep = Sweep(
        name=path.stem,
        models=_models(path, raw["models"]),
        plans=_items("plans", raw["plans"], lambda where, each: plan_choice(where, each, path)),
        tokens=_items("tokens", raw["tokens"], _tokens),
        base=load_config(_beside(path, yaml_scalar(raw["base"], "base", ConfigError))
                         if "base" in raw else "default"),
        axes=_axes(raw["axes"]),
        accuracy=Path(_beside(path, yaml_scalar(raw["accuracy"], "accuracy", ConfigError),
                              every=True)) if named else _ACCURACY,
        accuracy_named=named)
    points = len(sweep.models) * len(sweep.plans) * len(sweep.tokens)
    for values in sweep.axes.values():
        points *= len(values)
    if points > _MOST_POINTS:
        raise ConfigError(f"asks for {points:,} points; at most {_MOST_POINTS:,} are measured")
    return sweep


def _beside(path: Path, text: str, every: bool = False) -> str:
    """Return the path of a file that a sweep names; what is no YAML file is a shipped name."""
    return str(path.parent / text) if every or text.endswith((".yaml", ".yml")) else text


def _items(where: str, node: yaml.Node, of: Callable[[str, yaml.Node], _Item]
           ) -> tuple[_Item, ...]:
    """Return the items of a list that is not empty and has none twice."""
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise ConfigError(f"{where} must be a list of at least one value, such as "
                          f"[a, b] (line {line})")
    found: list[_Item] = []
    for number, each in enumerate(node.value):
        item = of(f"{where}[{number}]", each)
        if item in found:
            raise ConfigError(f"{where}: {each.value!r} is there twice "
                              f"(line {each.start_mark.line + 1})")
        found.append(item)
    return tuple(found)


def _models(path: Path, node: yaml.Node) -> "tuple[ModelShapes, ...]":
    from cimforge_sw.shapes import load_shapes

    models = _items("models", node, lambda where, each: load_shapes(
        _beside(path, yaml_scalar(each, where, ConfigError))))
    names = [model.model for model in models]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"models: two files of shapes call their model {twice!r}; records would "
                          "not tell them apart")
    return models


def _value(where: str, node: yaml.Node) -> object:
    """Return a scalar as YAML reads it."""
    text = yaml_scalar(node, where, ConfigError)
    try:
        return yaml.SafeLoader("").construct_document(node)
    except (yaml.YAMLError, ValueError, KeyError) as error:
        raise ConfigError(f"{where}: {text!r} is no value (line "
                          f"{node.start_mark.line + 1})") from error


def _tokens(where: str, node: yaml.Node) -> int:
    value = _value(where, node)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{where} must be an integer of at least 1, not {node.value!r} (line "
                          f"{node.start_mark.line + 1})")
    return value


def _axes(node: yaml.Node) -> dict[str, tuple[Value, ...]]:
    fields = DcimConfig().to_dict()
    raw = yaml_mapping(node, "axes", ConfigError)
    if not raw:
        raise ConfigError("axes must name at least one parameter of the configuration, such as "
                          "rows: [16, 32]")
    if unknown := sorted(raw.keys() - fields.keys()):
        raise ConfigError(f"axes: unknown parameter(s): {', '.join(unknown)}; there are "
                          f"{', '.join(fields)}")

    def value(where: str, each: yaml.Node) -> Value:
        kind = type(fields[where.split("[")[0].removeprefix("axes.")])
        found = _value(where, each)
        if not isinstance(found, (int, str)) or type(found) is not kind:
            raise ConfigError(f"{where} must be {'an integer' if kind is int else 'text'}, not "
                              f"{each.value!r} (line {each.start_mark.line + 1})")
        return found

    return {name: _items(f"axes.{name}", each, value) for name, each in raw.items()}
