"""What one of everything in a macro costs in cells of a library: the terms of the closed forms."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.files import shipped
from cimforge.spec.yaml_text import yaml_path, yaml_values
from cimforge_sw.cost.features import BLOCKS, features

__all__ = ["ACTIVITY", "DELAY", "ENERGY", "KINDS", "LEAST_ROWS", "Technology", "load_technology"]

#: Terms of the energy, see :func:`~cimforge_sw.cost.energy.energy_counts`.
ENERGY = ("flip-flop clocked", "bit of a line", "slot", "line select of a bit",
          "product of two bits", "bit written", "product written")
#: What is left of the toggles, see :func:`~cimforge_sw.cost.energy.activity`.
ACTIVITY = ("4-bit activations", "4-bit weights")
#: Terms of the clock period, see :func:`~cimforge_sw.cost.delay.delay_counts`.
DELAY = ("bank select", "level of a line select", "level of a shared index", "level of the rows",
         "level of a weight", "level of a slice", "sign of a serial slice", "level of the last sum")
#: Rows of the smallest macros that were fitted.
LEAST_ROWS = 16
#: What there is a closed form of.
KINDS = ("area", "energy", "delay")
#: The technology that ships: netlists of OSU's 180 nm cells.
DEFAULT = "osu018"


@dataclass(frozen=True)
class Technology:
    """What one of everything costs in cells of a library.

    Attributes
    ----------
    name : str
    node_nm : float
    area : dict of str to dict of str to float
        Square micrometres of every term of `features`, by block.
    energy : dict of str to float
        Picojoules of every term of `ENERGY`.
    activity : dict of str to float
        Shares of `ACTIVITY`.
    delay : dict of str to float
        Nanoseconds of every term of `DELAY`.
    sram_bit : float
        Square micrometres of a bit of SRAM.
    uncertainty : dict of str to float
        By `KINDS`: largest relative error on netlists that calibration did not see.
    """

    name: str
    node_nm: float
    area: Mapping[str, Mapping[str, float]]
    energy: Mapping[str, float]
    activity: Mapping[str, float]
    delay: Mapping[str, float]
    sram_bit: float
    uncertainty: Mapping[str, float]


@lru_cache(maxsize=8)
def load_technology(source: str | Path = DEFAULT) -> Technology:
    """Return a technology that ships by its name, or one from a YAML file by its path.

    Raises
    ------
    DataError
        No such technology; or a file that is not there, is none, or lacks a term.
    """
    path = yaml_path(source, shipped("cost/silicon"), "technology", DataError)
    data: Any = yaml_values(path, "technology", DataError)
    try:
        area = {block: _values(data["area"][block], "um2") for block in BLOCKS}
        found = Technology(
            str(data["name"]), _amount(data["node_nm"]), area, _values(data["energy"], "pJ"),
            _values(data["activity"], "relative"), _values(data["delay"], "ns"),
            _value(data["sram_bit"], "um2/bit"),
            _values({kind: data["uncertainty"][kind] for kind in KINDS}, "relative"))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: no technology: wanted name, node_nm, sram_bit, energy, "
                        f"activity, delay, uncertainty, and area of {', '.join(BLOCKS)} (see "
                        f"cost/silicon/{DEFAULT}.yaml); {type(error).__name__}: {error}"
                        ) from error
    for part, terms, wanted in (
            *((block, area[block], terms) for block, terms in features(DcimConfig()).items()),
            ("energy", found.energy, ENERGY), ("activity", found.activity, ACTIVITY),
            ("delay", found.delay, DELAY)):
        if missing := set(wanted) - set(terms):
            raise DataError(f"{path}: {part} lacks {', '.join(sorted(missing))}")
    return found


def _values(entries: Mapping[str, Mapping[str, Any]], unit: str) -> dict[str, float]:
    return {term: _value(entry, unit) for term, entry in entries.items()}


def _value(entry: Mapping[str, Any], unit: str) -> float:
    if entry["unit"] != unit:
        raise ValueError(f"wanted the unit {unit}, not {entry['unit']!r}")
    return _amount(entry["value"])


def _amount(value: Any) -> float:
    number = float(value)
    if not 0 <= number < math.inf:
        raise ValueError(f"wanted a number of at least 0, not {value!r}")
    return number
