"""Monarch plans: which blocks and rank each layer gets, as YAML that a person can edit."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from torch import nn

from cimforge.spec.errors import CimforgeError, ConfigError, DataError
from cimforge.spec.files import write_atomic
from cimforge.spec.yaml_text import read_yaml, yaml_mapping, yaml_scalar
from cimforge_sw.globs import resolve_globs
from cimforge_sw.layers import fused_outputs, layer_shape, linear_layers
from cimforge_sw.monarch.rule import MonarchRule
from cimforge_sw.monarch.shape import ORDERS, MonarchShape

__all__ = ["MonarchPlan"]

_KEYS = ("default", "order", "layers")


@dataclass(frozen=True)
class MonarchPlan:
    """Monarch rules by layer name.

    Parameters
    ----------
    default : MonarchRule
        What layers get that no glob names. Text such as ``"12x12 r4"`` is parsed.
    layers : dict of str to MonarchRule
        Globs of layer names. Where several match, the last one counts: rules first, exceptions
        after them.
    order : str
        ``"strided"`` or ``"contiguous"``, see `MonarchShape`.

    Raises
    ------
    ConfigError
        Not a rule, or another order.

    Examples
    --------
    >>> plan = MonarchPlan("12x12 r4", {"*.value": "dense"})
    >>> {name: str(rule) for name, rule in plan.resolve(["0.query", "0.value"]).items()}
    {'0.query': '12x12 r4', '0.value': 'dense'}
    """

    default: MonarchRule | str
    layers: dict[str, MonarchRule | str] = field(default_factory=dict)
    order: str = "strided"

    def __post_init__(self):
        object.__setattr__(self, "default", MonarchRule.parse(self.default))
        object.__setattr__(self, "layers", {glob: MonarchRule.parse(rule)
                                            for glob, rule in self.layers.items()})
        if self.order not in ORDERS:
            raise ConfigError(f"order must be one of {', '.join(ORDERS)}, not {self.order!r}")

    @classmethod
    def uniform(cls, rule: str | MonarchRule, exclude: Sequence[str] = (),
                order: str = "strided") -> "MonarchPlan":
        """Return the plan that gives every layer one rule, but layers of ``exclude`` stay dense."""
        return cls(rule, dict.fromkeys(exclude, "dense"), order)

    @classmethod
    def load(cls, path: str | Path) -> "MonarchPlan":
        """Read a plan; unknown and repeated keys are errors.

        Raises
        ------
        DataError
            Unreadable file, not YAML, unknown key, or a value that is no rule; names the file.
        """
        path = Path(path)
        node = read_yaml(path, "Monarch plan", DataError)
        try:
            return cls._build(node)
        except CimforgeError as error:
            raise DataError(f"{path}: {error}") from error

    @classmethod
    def _build(cls, node: yaml.Node | None) -> "MonarchPlan":
        raw = yaml_mapping(node, "a Monarch plan", DataError)
        unknown = sorted(raw.keys() - set(_KEYS))
        if unknown:
            raise DataError(f"unknown key(s): {', '.join(unknown)}; a Monarch plan has "
                            f"{', '.join(_KEYS)}")
        if "default" not in raw:
            raise DataError("no 'default': say which rule other layers get, such as sqrt")
        globs = yaml_mapping(raw["layers"], "layers", DataError) if "layers" in raw else {}
        order = yaml_scalar(raw["order"], "order", DataError) if "order" in raw else "strided"
        return cls(_rule(raw["default"], "default"),
                   {glob: _rule(value, f"layers.{glob}") for glob, value in globs.items()}, order)

    def save(self, path: str | Path) -> None:
        """Write the plan so that `load` returns an equal one.

        Raises
        ------
        DataError
            If the file cannot be written; an old one is then still there.
        """
        raw = {"default": str(self.default), "order": self.order,
               "layers": {glob: str(rule) for glob, rule in self.layers.items()}}
        write_atomic(Path(path), yaml.safe_dump(raw, sort_keys=False).encode())

    def resolve(self, names: Iterable[str]) -> dict[str, MonarchRule]:
        """Return the rule of every layer.

        Raises
        ------
        DataError
            A glob that matches no layer: the message names the nearest ones.
        """
        rules = {glob: MonarchRule.parse(rule) for glob, rule in self.layers.items()}
        return resolve_globs(names, MonarchRule.parse(self.default), rules)

    def shapes(self, module: nn.Module) -> dict[str, tuple[MonarchShape, ...]]:
        """Return the shapes of every layer's parts (`fused_outputs`); none of layers left dense.

        Parameters
        ----------
        module : nn.Module
            A whole model, converted or not.

        Raises
        ------
        DataError
            A glob that matches nothing.
        ConfigError
            A rule that a layer's size does not allow; names the layer.
        """
        layers = linear_layers(module)
        found = {}
        for name, rule in self.resolve(layers).items():
            if rule.dense:
                continue
            inputs = layer_shape(layers[name])[1]
            try:
                found[name] = tuple(rule.shape(outputs, inputs, self.order)
                                    for outputs in fused_outputs(module, name))
            except ConfigError as error:
                raise ConfigError(f"{name}: {error}") from error
        return found


def _rule(node: yaml.Node, where: str) -> MonarchRule:
    try:
        return MonarchRule.parse(yaml_scalar(node, where, DataError))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
