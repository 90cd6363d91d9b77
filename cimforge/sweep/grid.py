"""Designs of a sweep: every combination of its axes that hardware can be built from."""

from dataclasses import dataclass
from itertools import product

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError
from cimforge.sweep.request import Sweep, Value

__all__ = ["Design", "designs", "label"]


@dataclass(frozen=True)
class Design:
    """One combination.

    Attributes
    ----------
    values : dict
        Of the axes.
    config : DcimConfig
    """

    values: dict[str, Value]
    config: DcimConfig


def label(values: dict[str, Value]) -> str:
    """Return what messages and records call a design.

    >>> label({"rows": 16, "select": "line"})
    'rows=16 select=line'
    """
    return " ".join(f"{name}={value}" for name, value in values.items())


def designs(sweep: Sweep) -> tuple[list[Design], list[dict[str, str]]]:
    """Return the designs in the order of the axes, the last one changing first, and the others.

    Returns
    -------
    designs : list of Design
    skipped : list of dict
        ``design`` and ``reason`` of every combination that is none.

    Raises
    ------
    ConfigError
        If no combination is a design.
    """
    found: list[Design] = []
    skipped: list[dict[str, str]] = []
    first: dict[str, str] = {}  # digest of a configuration -> the design that had it first
    for combination in product(*sweep.axes.values()):
        values = dict(zip(sweep.axes, combination, strict=True))
        name = label(values)
        try:
            config = sweep.base.replace(**values)
        except ConfigError as error:
            skipped.append({"design": name, "reason": str(error)})
            continue
        if config.digest in first:
            skipped.append({"design": name, "reason": f"the same as {first[config.digest]}"})
            continue
        first[config.digest] = name
        found.append(Design(values, config))
    if not found:
        raise ConfigError(f"{sweep.name}: none of {len(skipped)} combinations of the axes is a "
                          f"design; {skipped[0]['design']}: {skipped[0]['reason']}")
    return found, skipped
