"""A standard-cell library as synthesis and power need it, everything in SI units but area."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from cimforge.spec.errors import DataError
from cimforge.synth.functions import Function, parse_function
from cimforge.synth.liberty_syntax import Group, parse_liberty
from cimforge.synth.tables import Table, TableReader

__all__ = ["Cell", "Flop", "InternalEnergy", "Library", "Pin", "read_library"]

_PREFIX = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15, "a": 1e-18}


@dataclass(frozen=True)
class InternalEnergy:
    """Energy inside a cell per toggle of a pin.

    Attributes
    ----------
    related : str
        The input that made an output toggle; empty for an input's own energy.
    when : Function or None
        State of the other pins that this holds in.
    tables : tuple of Table
        In joules: of the rising and of the falling edge, or of one of them.
    """

    related: str
    when: Function | None
    tables: tuple[Table, ...]

    def at(self, load: float, slew: float) -> float:
        """Return joules of a mean edge."""
        return sum(table.at(load, slew) for table in self.tables) / max(len(self.tables), 1)


@dataclass(frozen=True)
class Pin:
    """A pin: ``direction`` as in the file, ``capacitance`` in farads."""

    name: str
    direction: str
    capacitance: float
    function: Function | None = None
    energies: tuple[InternalEnergy, ...] = ()
    transitions: tuple[tuple[str, Table], ...] = ()  # (related pin, seconds)


@dataclass(frozen=True)
class Flop:
    """An edge-triggered cell: state after the edge of ``clock`` is ``next_state``."""

    state: str
    inverse: str
    next_state: Function
    clock: Function
    asynchronous: bool


@dataclass(frozen=True)
class Cell:
    """A cell: ``area`` in the library's own unit, ``leakage`` in watts."""

    name: str
    area: float
    leakage: float
    pins: dict[str, Pin]
    flop: Flop | None
    other_state: bool  # a latch or something stranger


@dataclass(frozen=True)
class Library:
    """A library.

    Attributes
    ----------
    name, path : str, Path
    voltage : float
        Volts.
    second, farad, joule, watt : float
        What one unit of the file's times, capacitances, energies and leakages is.
    cells : dict of str to Cell
    """

    name: str
    path: Path
    voltage: float
    second: float
    farad: float
    joule: float
    watt: float
    cells: dict[str, Cell] = field(repr=False)


def _scaled(path: Path, attribute: str, text: str, symbol: str) -> float:
    """Return what "10ps" is in seconds, "1nW" in watts and the like."""
    match = re.fullmatch(rf"\s*([0-9.eE+-]+)\s*([munpfa]?){symbol}\s*", text, re.IGNORECASE)
    try:
        value = float(match[1]) * _PREFIX[match[2].lower()] if match else math.nan
    except ValueError:
        value = math.nan
    if not value > 0 or math.isinf(value):
        raise DataError(f"{path}: {attribute} must be a number and a unit such as 1n{symbol}, "
                        f"not {text!r}")
    return value


def _number(path: Path, where: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise DataError(f"{path}: {where} must be a number, not {text!r}")
    return value


class _Builder:
    """Turns groups into cells."""

    def __init__(self, path: Path, top: Group):
        self._path, self._top = path, top
        load = top.attributes.get("capacitive_load_unit", ("", ""))
        self.second = _scaled(path, "time_unit", top.text("time_unit"), "s")
        self.farad = _scaled(path, "capacitive_load_unit", "".join(load), "f")
        self.volt = _scaled(path, "voltage_unit", top.text("voltage_unit"), "V")
        self.watt = _scaled(path, "leakage_power_unit", top.text("leakage_power_unit"), "W")
        # Liberty has no unit of energy: it is that of capacitance times voltage squared.
        self.joule = self.farad * self.volt ** 2
        self._tables = TableReader(top, self.farad, self.second)

    def voltage(self) -> float:
        """Return volts of the default operating conditions, else the nominal ones."""
        wanted = self._top.text("default_operating_conditions")
        for group in self._top.of("operating_conditions"):
            if group.name == wanted and group.text("voltage"):
                return self.volt * _number(self._path, "voltage", group.text("voltage"))
        return self.volt * _number(self._path, "nom_voltage", self._top.text("nom_voltage"))

    def cell(self, group: Group) -> Cell:
        where = f"cell {group.name}: "
        leakage = group.text("cell_leakage_power") or self._top.text(
            "default_cell_leakage_power", "0")
        pins = {pin.name: self._pin(group, pin) for pin in group.of("pin")}
        flops = list(group.of("ff"))
        return Cell(group.name,
                    _number(self._path, where + "area", group.text("area", "0")),
                    _number(self._path, where + "leakage", leakage) * self.watt,
                    pins, self._flop(flops[0]) if flops else None,
                    next(group.of("latch", "statetable", "ff_bank", "latch_bank"), None)
                    is not None)

    def _pin(self, cell: Group, group: Group) -> Pin:
        where = f"cell {cell.name}, pin {group.name}: "
        direction, function = group.text("direction"), group.text("function")
        capacitance = group.text("capacitance") or self._top.text(
            f"default_{direction}_pin_cap", "0")
        return Pin(
            group.name, direction,
            _number(self._path, where + "capacitance", capacitance) * self.farad,
            parse_function(function) if function else None,
            tuple(self._energy(energy) for energy in group.of("internal_power")),
            tuple((timing.text("related_pin"), self._tables.read(table, self.second))
                  for timing in group.of("timing")
                  for table in timing.of("rise_transition", "fall_transition")))

    def _energy(self, group: Group) -> InternalEnergy:
        when = group.text("when")
        return InternalEnergy(
            group.text("related_pin"), parse_function(when) if when else None,
            tuple(self._tables.read(table, self.joule)
                  for table in group.of("rise_power", "fall_power", "power")))

    def _flop(self, group: Group) -> Flop:
        state, inverse = (*group.arguments, "", "")[:2]
        return Flop(state, inverse, parse_function(group.text("next_state")),
                    parse_function(group.text("clocked_on")),
                    any(group.text(name) for name in ("clear", "preset")))


def read_library(path: Path) -> Library:
    """Read a Liberty file.

    Raises
    ------
    DataError
        The file cannot be read or is no Liberty, its units are none, or it has no flip-flop
        without asynchronous inputs, which is what the hardware is made of.
    """
    top = parse_liberty(path)
    builder = _Builder(path, top)
    cells = {group.name: builder.cell(group) for group in top.of("cell")}
    if not any(cell.flop and not cell.flop.asynchronous for cell in cells.values()):
        raise DataError(f"{path}: none of its {len(cells)} cells is a flip-flop (ff) without clear "
                        "and preset; synthesis needs one")
    return Library(top.name, path, builder.voltage(), builder.second, builder.farad, builder.joule,
                   builder.watt, cells)
