"""From one technology node to another, by a published rule."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from cimforge.spec.errors import DataError
from cimforge.spec.files import read_bytes, shipped

__all__ = ["Scaling", "nodes", "scaling"]


@dataclass(frozen=True)
class Scaling:
    """What areas, delays and energies at one node are multiplied with to be those at another."""

    area: float
    delay: float
    energy: float


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    return yaml.safe_load(read_bytes(shipped("cost") / "nodes.yaml"))


def nodes() -> dict[int, float]:
    """Return the nodes there are, in nanometres, with their nominal volts."""
    return {int(node): entry["volts"] for node, entry in _table()["nodes"].items()}


def scaling(source_nm: int, target_nm: int, source_volts: float | None = None,
            target_volts: float | None = None) -> Scaling:
    """Return the factors from one node to another (Stillmaker and Baas, see ``cost/nodes.yaml``).

    Parameters
    ----------
    source_nm, target_nm : int
        Two of `nodes`.
    source_volts, target_volts : float, optional
        Supplies; nominal ones unless given. Polynomials mean nothing far from where they were
        fitted: less than 0.7 and more than 1.2 of nominal is refused.

    Raises
    ------
    DataError
        An unknown node, or a supply that the rule does not cover.
    """
    area, delay, energy = [], [], []
    for node, volts in ((source_nm, source_volts), (target_nm, target_volts)):
        if node not in nodes():
            raise DataError(f"no scaling rule for {node} nm, but for "
                            f"{', '.join(map(str, nodes()))}")
        entry = _table()["nodes"][node]
        supply = entry["volts"] if volts is None else volts
        if not 0.7 * entry["volts"] <= supply <= 1.2 * entry["volts"]:
            raise DataError(f"no scaling rule for {supply} V at {node} nm; wanted about "
                            f"{0.7 * entry['volts']:.2f}..{1.2 * entry['volts']:.2f} V")
        area.append(entry["area"])
        delay.append(_polynomial(entry["delay"], supply))
        energy.append(_polynomial(entry["energy"], supply))
    return Scaling(area[1] / area[0], delay[1] / delay[0], energy[1] / energy[0])


def _polynomial(coefficients: list[float], x: float) -> float:
    value = 0.0
    for coefficient in coefficients:
        value = value * x + coefficient
    return value
