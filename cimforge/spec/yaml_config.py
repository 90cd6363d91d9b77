"""Configurations as YAML: named presets, and files that differ from one of them."""

from pathlib import Path
from typing import TypeVar

import yaml

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.files import shipped, write_atomic
from cimforge.spec.yaml_text import yaml_names, yaml_path, yaml_values

__all__ = ["analog_preset_names", "load_analog_config", "load_config", "preset_names",
           "save_config"]

_Config = TypeVar("_Config", DcimConfig, AnalogConfig)


def _folder(kind: type) -> Path:
    root = shipped("configs")
    return root / "analog" if kind is AnalogConfig else root


def preset_names() -> list[str]:
    """Return the names of the shipped configurations of the digital tile.

    >>> "default" in preset_names()
    True
    """
    return yaml_names(_folder(DcimConfig))


def analog_preset_names() -> list[str]:
    """Return the names of the shipped configurations of the analog tile."""
    return yaml_names(_folder(AnalogConfig))


def load_config(source: str | Path) -> DcimConfig:
    """Load a preset by name, or a YAML file by path.

    A file may name a preset as its ``base`` and then lists only what differs.

    >>> load_config("default").sub_macros
    4

    Raises
    ------
    ConfigError
        Unknown preset, unreadable file, unknown or repeated key, or a value no hardware can have.
    """
    return _load(source, DcimConfig)


def load_analog_config(source: str | Path) -> AnalogConfig:
    """Load a configuration of the analog tile, as `load_config` does for the digital one.

    >>> load_analog_config("default").array
    64
    """
    return _load(source, AnalogConfig)


def _load(source: str | Path, kind: type[_Config]) -> _Config:
    path = yaml_path(source, _folder(kind), "preset")
    return _build(path, yaml_values(path, "configuration", ConfigError), kind)


def _build(path: Path, raw: object, kind: type[_Config]) -> _Config:
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected parameters as 'name: value', not {raw!r}")
    base = raw.pop("base", None)
    if base is not None and base not in (names := yaml_names(_folder(kind))):
        raise ConfigError(f"{path}: base must be one of {', '.join(names)}, not {base!r}")
    parent = kind() if base is None else _load(base, kind)
    unknown = sorted(str(key) for key in raw if key not in parent.to_dict())
    if unknown:
        raise ConfigError(f"{path}: unknown parameter(s): {', '.join(unknown)}")
    try:
        return parent.replace(**raw)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def save_config(config: DcimConfig | AnalogConfig, path: str | Path) -> None:
    """Write every parameter, so that the file stays valid when defaults change.

    Raises
    ------
    ConfigError
        If the file cannot be written; an old one is then still there.
    """
    text = yaml.safe_dump(config.to_dict(), sort_keys=False)
    try:
        write_atomic(Path(path), text.encode())
    except DataError as error:
        raise ConfigError(str(error)) from error
