"""Shapes of the linear layers of models, as YAML: what a cost needs that asks for no weights."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cimforge.spec.checks import check_integer
from cimforge.spec.errors import ConfigError
from cimforge.spec.files import shipped
from cimforge.spec.yaml_text import yaml_names, yaml_path, yaml_values

__all__ = ["LayerShape", "ModelShapes", "load_shapes", "shape_names"]

_TOP = {"model", "source", "stacks"}
_STACK = {"times", "prefix", "layers"}
_LAYER = {"outputs", "inputs", "role"}
_LARGEST = 1 << 24  # far more than any layer has; a slip of the keyboard is then an error


@dataclass(frozen=True)
class LayerShape:
    """One linear layer.

    Parameters
    ----------
    name : str
    outputs, inputs : int
        O and K.
    role : str
        What it does in its block: ``"q"``, ``"down"``; of equal ones in several blocks the same.
    depth : float
        Relative place of its block, from 0 for a stack's first to 1 for its last.
    """

    name: str
    outputs: int
    inputs: int
    role: str
    depth: float

    @property
    def parameters(self) -> int:
        """Weights, O * K."""
        return self.outputs * self.inputs


@dataclass(frozen=True)
class ModelShapes:
    """Linear layers of a model, in its order.

    Parameters
    ----------
    model : str
    source : str
        Where the sizes are from.
    layers : tuple of LayerShape
    """

    model: str
    source: str
    layers: tuple[LayerShape, ...]

    @cached_property
    def parameters(self) -> int:
        """Weights of all layers."""
        return sum(layer.parameters for layer in self.layers)


def shape_names() -> list[str]:
    """Return the models whose shapes ship with the project.

    >>> "Llama-2-7B" in shape_names()
    True
    """
    return yaml_names(shipped("cost/shapes"))


def load_shapes(source: str | Path) -> ModelShapes:
    """Load shapes by name, or a YAML file by path.

    Raises
    ------
    ConfigError
        No such model; or a key that is unknown, missing or repeated, or a value that is none for
        it: with file and key.
    """
    path = yaml_path(source, shipped("cost/shapes"), "shapes")
    try:
        return _build(yaml_values(path, "shapes", ConfigError))
    except ConfigError as error:
        text = str(error)
        raise error if text.startswith(str(path)) else ConfigError(f"{path}: {text}") from error


def _keys(where: str, raw: object, keys: set[str], optional: tuple[str, ...] = ()) -> dict:
    """Return a mapping that has these keys and no others."""
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: expected {', '.join(sorted(keys))}, not {raw!r}")
    if unknown := sorted(str(key) for key in raw.keys() - keys):
        raise ConfigError(f"{where}: unknown key(s): {', '.join(unknown)}; there are "
                          f"{', '.join(sorted(keys))}")
    if missing := sorted(keys - raw.keys() - set(optional)):
        raise ConfigError(f"{where}: {missing[0]} is missing")
    return raw


def _text(where: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{where} must be text, not {value!r}")
    return value.strip()


def _build(raw: object) -> ModelShapes:
    top = _keys("shapes", raw, _TOP)
    stacks = top["stacks"]
    if not isinstance(stacks, list) or not stacks:
        raise ConfigError(f"stacks must be a list of at least one stack, not {stacks!r}")
    layers = [layer for number, stack in enumerate(stacks)
              for layer in _stack(f"stacks[{number}]", stack)]
    names = [layer.name for layer in layers]
    if twice := next((name for name in names if names.count(name) > 1), None) if len(
            set(names)) < len(names) else None:
        raise ConfigError(f"layer {twice!r} is there twice; stacks need prefixes of their own")
    return ModelShapes(_text("model", top["model"]), _text("source", top["source"]), tuple(layers))


def _stack(where: str, raw: object) -> list[LayerShape]:
    stack = _keys(where, raw, _STACK)
    times, prefix = stack["times"], _text(f"{where}.prefix", stack["prefix"])
    check_integer(f"{where}.times", times, 1, _LARGEST)
    if prefix.count("{}") != 1:
        raise ConfigError(f"{where}.prefix must have one {{}}, the number of the block, not "
                          f"{prefix!r}")
    if not isinstance(stack["layers"], dict) or not stack["layers"]:
        raise ConfigError(f"{where}.layers: expected 'name: {{outputs, inputs}}' lines, not "
                          f"{stack['layers']!r}")
    block = []
    for name, raw_layer in stack["layers"].items():
        at = f"{where}.layers.{name}"
        layer = _keys(at, raw_layer, _LAYER, ("role",))
        for key in ("outputs", "inputs"):
            check_integer(f"{at}.{key}", layer[key], 1, _LARGEST)
        role = _text(f"{at}.role", layer.get("role", str(name).split(".")[-1]))
        block.append((str(name), layer["outputs"], layer["inputs"], role))
    return [LayerShape(f"{prefix.replace('{}', str(number))}.{name}", outputs, inputs, role,
                       number / max(times - 1, 1))
            for number in range(times) for name, outputs, inputs, role in block]
