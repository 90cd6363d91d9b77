"""Configurations as YAML: named presets, and files that differ from one of them."""

from pathlib import Path

import yaml

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.files import shipped, write_atomic
from cimforge.spec.yaml_text import yaml_values

__all__ = ["load_config", "preset_names", "save_config"]


def preset_names() -> list[str]:
    """Return the names of the shipped configurations.

    >>> "default" in preset_names()
    True
    """
    return sorted(path.stem for path in shipped("configs").glob("*.yaml"))


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
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        if str(source) not in preset_names():
            raise ConfigError(f"no preset named {str(source)!r}; there are "
                              f"{', '.join(preset_names())}, or give the path of a .yaml file")
        path = shipped("configs") / f"{source}.yaml"
    return _build(path, yaml_values(path, "configuration", ConfigError))


def _build(path: Path, raw: object) -> DcimConfig:
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected parameters as 'name: value', not {raw!r}")
    base = raw.pop("base", None)
    if base is not None and base not in preset_names():
        raise ConfigError(f"{path}: base must be one of {', '.join(preset_names())}, not {base!r}")
    parent = DcimConfig() if base is None else load_config(base)
    unknown = sorted(str(key) for key in raw if key not in parent.to_dict())
    if unknown:
        raise ConfigError(f"{path}: unknown parameter(s): {', '.join(unknown)}")
    try:
        return parent.replace(**raw)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def save_config(config: DcimConfig, path: str | Path) -> None:
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
