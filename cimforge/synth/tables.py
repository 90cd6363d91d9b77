"""Lookup tables of Liberty, in SI units."""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cimforge.spec.errors import DataError
from cimforge.synth.liberty_syntax import Group

__all__ = ["Table", "TableReader"]

_LOAD = "total_output_net_capacitance"
_SLEWS = ("input_net_transition", "input_transition_time", "related_pin_transition")


@dataclass(frozen=True)
class Table:
    """A function of load and input slew, linear between its points and beyond its ends.

    Attributes
    ----------
    load : array [L]
        Farads; one zero if the function does not depend on it.
    slew : array [S]
        Seconds; likewise.
    values : array [L, S]
        Joules or seconds.
    """

    load: np.ndarray
    slew: np.ndarray
    values: np.ndarray

    @cached_property
    def _plain(self) -> tuple[list[float], list[float], list[list[float]]]:
        """Axes and values as numbers of Python, which are faster one at a time."""
        return self.load.tolist(), self.slew.tolist(), self.values.tolist()

    def at(self, load: float, slew: float) -> float:
        """Return the value at a load in farads and a slew in seconds."""
        loads, slews, values = self._plain
        row, along_load = _bracket(loads, load)
        column, along_slew = _bracket(slews, slew)
        total = 0.0
        for i, weight_i in ((row, 1 - along_load), (row + 1, along_load)):
            for j, weight_j in ((column, 1 - along_slew), (column + 1, along_slew)):
                if weight_i * weight_j:
                    total += weight_i * weight_j * values[i][j]
        return total


def _bracket(axis: list[float], value: float) -> tuple[int, float]:
    """Return the interval of an axis that a value is in, and how far along."""
    if len(axis) == 1:
        return 0, 0.0
    i = min(max(bisect_left(axis, value) - 1, 0), len(axis) - 2)
    return i, (value - axis[i]) / (axis[i + 1] - axis[i])


class TableReader:
    """Reads tables of one library, whose templates say what the axes are.

    Parameters
    ----------
    library : Group
    farad, second : float
        The library's units of capacitance and time.
    """

    def __init__(self, library: Group, farad: float, second: float):
        self._farad, self._second = farad, second
        self._templates = {group.name: group for group in
                           library.of("lu_table_template", "power_lut_template")}

    def read(self, group: Group, unit: float) -> Table:
        """Return a table whose values are in ``unit``.

        Raises
        ------
        DataError
            The table does not have the shape that its axes say, or unknown axes.
        """
        axes: dict[str, np.ndarray] = {}
        values = _numbers(group.attributes.get("values", ()))
        template = self._templates.get(group.name)
        order = []
        for i in (1, 2):
            variable = template.text(f"variable_{i}") if template else ""
            if not variable:
                break
            given = next((at.attributes[f"index_{i}"] for at in (group, template)
                          if at and f"index_{i}" in at.attributes), ())
            kind = "load" if variable == _LOAD else "slew" if variable in _SLEWS else variable
            axes[kind] = _numbers(given) * (self._farad if kind == "load" else self._second)
            order.append(kind)
        if not set(order) <= {"load", "slew"} or (
                values.size != np.prod([len(axes[kind]) for kind in order])):
            raise DataError(f"table {group.kind} ({group.name}) has {values.size} values over "
                            f"{', '.join(order) or 'no axes'}; wanted a number for every point "
                            "of load and slew")
        shaped = values.reshape([len(axes[kind]) for kind in order] or [1, 1]) * unit
        if order[:1] == ["slew"]:
            shaped = shaped.T if len(order) == 2 else shaped[None, :]
        elif order == ["load"]:
            shaped = shaped[:, None]
        zero = np.zeros(1)
        return Table(axes.get("load", zero), axes.get("slew", zero), shaped)


def _numbers(texts: tuple[str, ...]) -> np.ndarray:
    """Return the numbers of quoted lists."""
    joined = " ".join(texts).replace(",", " ").replace("\\", " ")
    try:
        return np.array([float(word) for word in joined.split()])
    except ValueError as error:
        raise DataError(f"a Liberty table holds {error.args[0]!r}") from error
