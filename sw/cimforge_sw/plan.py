"""Plans: which N:M each layer gets, as YAML that a person can edit and load again."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from cimforge.spec.errors import CimforgeError, ConfigError, DataError
from cimforge.spec.files import write_atomic
from cimforge.spec.pattern import NmPattern
from cimforge.spec.yaml_text import read_yaml, yaml_mapping, yaml_scalar
from cimforge_sw.globs import resolve_globs
from cimforge_sw.sharing import check_sharing

__all__ = ["Plan"]

_KEYS = ("default", "granularity", "tile_cols", "layers")


@dataclass(frozen=True)
class Plan:
    """N:M patterns by layer name.

    Parameters
    ----------
    default : NmPattern
        What layers get that no glob names; 1:1 is dense. Text such as ``"2:4"`` is parsed.
    layers : dict of str to NmPattern
        Globs of layer names. Where several match, the last one counts: rules first, exceptions
        after them.
    granularity : str
        ``"free"``, ``"share2"``, ``"share4"`` or ``"tile"``: who shares positions, see `nm_mask`.
    tile_cols : int
        Outputs per tile, for ``"tile"`` only.

    Raises
    ------
    ConfigError
        Not a pattern, unknown granularity, or a tile size below 1.

    Examples
    --------
    >>> plan = Plan(NmPattern.parse("2:4"), {"*.output.dense": NmPattern.parse("4:8")})
    >>> {k: str(v) for k, v in plan.resolve(["0.query", "0.output.dense"]).items()}
    {'0.query': '2:4', '0.output.dense': '4:8'}
    """

    default: NmPattern
    layers: dict[str, NmPattern] = field(default_factory=dict)
    granularity: str = "free"
    tile_cols: int = 32

    def __post_init__(self):
        def parsed(pattern: NmPattern | str) -> NmPattern:
            return NmPattern.parse(pattern) if isinstance(pattern, str) else pattern

        object.__setattr__(self, "default", parsed(self.default))
        object.__setattr__(self, "layers", {g: parsed(p) for g, p in self.layers.items()})
        check_sharing(self.granularity, self.tile_cols)

    @classmethod
    def uniform(cls, pattern: str | NmPattern, granularity: str = "free",
                tile_cols: int = 32) -> "Plan":
        """Return the plan that gives every layer the same pattern, such as ``"2:4"``."""
        if isinstance(pattern, str):
            pattern = NmPattern.parse(pattern)
        return cls(pattern, {}, granularity, tile_cols)

    @classmethod
    def load(cls, path: str | Path) -> "Plan":
        """Read a plan; unknown and repeated keys are errors.

        Raises
        ------
        DataError
            Unreadable file, not YAML, unknown key, or a value that is no pattern; names the file.
        """
        path = Path(path)
        node = read_yaml(path, "plan", DataError)
        try:
            return cls._build(node)
        except CimforgeError as error:
            raise DataError(f"{path}: {error}") from error

    @classmethod
    def _build(cls, node: yaml.Node | None) -> "Plan":
        raw = yaml_mapping(node, "a plan", DataError)
        unknown = sorted(raw.keys() - set(_KEYS))
        if unknown:
            raise DataError(f"unknown key(s): {', '.join(unknown)}; a plan has {', '.join(_KEYS)}")
        if "default" not in raw:
            raise DataError("no 'default': say which pattern other layers get, such as \"2:4\"")
        layers = yaml_mapping(raw["layers"], "layers", DataError) if "layers" in raw else {}
        granularity, columns = (
            yaml_scalar(raw[key], key, DataError) if key in raw else default
            for key, default in (("granularity", "free"), ("tile_cols", "32")))
        tile_cols = int(columns) if columns.isdecimal() else columns
        check_sharing(granularity, tile_cols)
        return cls(
            default=_pattern(raw["default"], "default"),
            layers={glob: _pattern(value, f"layers.{glob}") for glob, value in layers.items()},
            granularity=granularity, tile_cols=int(tile_cols),
        )

    def save(self, path: str | Path) -> None:
        """Write the plan so that `load` returns an equal one.

        Raises
        ------
        DataError
            If the file cannot be written; an old one is then still there.
        """
        raw: dict = {"default": str(self.default), "granularity": self.granularity}
        if self.granularity == "tile":
            raw["tile_cols"] = self.tile_cols
        raw["layers"] = {glob: str(pattern) for glob, pattern in self.layers.items()}
        write_atomic(Path(path), yaml.safe_dump(raw, sort_keys=False).encode())

    def resolve(self, names: Iterable[str]) -> dict[str, NmPattern]:
        """Return the pattern of every layer.

        Raises
        ------
        DataError
            A glob that matches no layer: the message names the nearest ones.
        """
        return resolve_globs(names, self.default, self.layers)


def _pattern(node: yaml.Node, where: str) -> NmPattern:
    try:
        return NmPattern.parse(yaml_scalar(node, where, DataError))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
