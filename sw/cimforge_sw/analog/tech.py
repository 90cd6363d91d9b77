"""Technology tables: what an event costs, each number with its unit and source."""

from dataclasses import dataclass, fields
from pathlib import Path

from cimforge.spec.errors import ConfigError
from cimforge.spec.files import shipped
from cimforge.spec.yaml_text import yaml_names, yaml_path, yaml_values

__all__ = ["Quantity", "Technology", "load_technology", "technology_names"]

_UNITS = {"fJ": 1.0, "pJ": 1e3, "bit": 1.0}
_PARTS = {"value", "unit", "source"}


@dataclass(frozen=True)
class Quantity:
    """A number in fJ (or bits), and where it is from."""

    value: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Technology:
    """Energy of every event of an analog tile.

    Parameters
    ----------
    title : str
    adc_linear, adc_square, adc_power4 : Quantity
        A conversion of A bits takes ``linear A + square A^2 + power4 4^A`` fJ.
    adc_from, adc_to : Quantity
        Bits that the law is given for; elsewhere it is extrapolated.
    word_line : Quantity
        A driven row with its bit set, of one plane.
    cell : Quantity
        A programmed cell on such a row.
    sample_hold, shift_add : Quantity
        Per conversion.
    read, write : Quantity
        A byte of the activation or accumulation memory.
    add, requantize : Quantity
        A digital addition, and the multiplication of the requantizer between two stages.
    """

    title: str
    adc_linear: Quantity
    adc_square: Quantity
    adc_power4: Quantity
    adc_from: Quantity
    adc_to: Quantity
    word_line: Quantity
    cell: Quantity
    sample_hold: Quantity
    shift_add: Quantity
    read: Quantity
    write: Quantity
    add: Quantity
    requantize: Quantity

    def conversion(self, bits: int) -> float:
        """Return the energy of one conversion in fJ.

        >>> round(load_technology("isaac").conversion(8), 1)
        1562.5
        """
        return (self.adc_linear.value * bits + self.adc_square.value * bits ** 2
                + self.adc_power4.value * 4.0 ** bits)

    def extrapolated(self, bits: int) -> bool:
        """Return whether the converters' law is not given for these bits."""
        return not self.adc_from.value <= bits <= self.adc_to.value


_KEYS = tuple(field.name for field in fields(Technology) if field.name != "title")


def technology_names() -> list[str]:
    """Return the names of the shipped tables.

    >>> technology_names()
    ['isaac', 'zigzag']
    """
    return yaml_names(shipped("cost/tech"))


def load_technology(source: str | Path) -> Technology:
    """Load a table by name, or a YAML file by path; a file may differ from a ``base`` by name.

    Raises
    ------
    ConfigError
        No such table; or a key that is unknown, missing or repeated, a value, unit or source that
        is not one: with file and key.
    """
    path = yaml_path(source, shipped("cost/tech"), "technology")
    raw = yaml_values(path, "technology table", ConfigError)
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected quantities by name, not {raw!r}")
    base = raw.pop("base", None)
    if base is not None and base not in technology_names():
        raise ConfigError(f"{path}: base must be one of {', '.join(technology_names())}, not "
                          f"{base!r}")
    known = {} if base is None else vars(load_technology(base)).copy()
    for key, value in raw.items():
        known[key] = _title(path, value) if key == "title" else _quantity(path, key, value)
    missing = [key for key in ("title", *_KEYS) if key not in known]
    if missing:
        raise ConfigError(f"{path}: {missing[0]} is missing")
    return Technology(**known)


def _title(path: Path, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{path}: title must be text, not {value!r}")
    return value


def _quantity(path: Path, key: str, raw: object) -> Quantity:
    if key not in _KEYS:
        raise ConfigError(f"{path}: unknown quantity {key!r}; there are {', '.join(_KEYS)}")
    if not isinstance(raw, dict) or set(raw) != _PARTS:
        raise ConfigError(f"{path}: {key} must have value, unit and source, not {raw!r}")
    value, unit, origin = raw["value"], raw["unit"], raw["source"]
    units = ("bit",) if key in ("adc_from", "adc_to") else ("fJ", "pJ")
    if unit not in units:
        raise ConfigError(f"{path}: {key}: unit must be {' or '.join(units)}, not {unit!r}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ConfigError(f"{path}: {key}: value must be a number of at least 0, not {value!r}")
    if not isinstance(origin, str) or not origin.strip():
        raise ConfigError(f"{path}: {key}: source must say where the value is from, not {origin!r}")
    return Quantity(value * _UNITS[unit], origin.strip())
