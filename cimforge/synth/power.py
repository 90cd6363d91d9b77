"""Energy of counted toggles: load capacitance and the library's internal-power tables."""

from collections.abc import Mapping
from dataclasses import dataclass

from cimforge.synth.activity import topological
from cimforge.synth.liberty import Cell
from cimforge.synth.netlist import Bit, Instance, Netlist

__all__ = ["Energy", "EnergyModel"]

#: Transition time of inputs and of the clock, in seconds.
INPUT_SLEW = 0.0


@dataclass(frozen=True)
class Energy:
    """Joules per cycle.

    Attributes
    ----------
    internal, switching : float
        Inside cells without their clock pins; in the load of the nets that cells drive.
    clock : float
        Inside cells at their clock pins.
    clock_load, input_load : float
        In the capacitance of clock pins, and of pins at input ports: what OpenSTA leaves to
        whoever drives them.
    """

    internal: float
    switching: float
    clock: float
    clock_load: float
    input_load: float

    @property
    def total(self) -> float:
        """All of it."""
        return (self.internal + self.switching + self.clock + self.clock_load + self.input_load)

    @property
    def as_opensta(self) -> float:
        """What OpenSTA counts of it."""
        return self.internal + self.switching + self.clock


class EnergyModel:
    """What a toggle of every net costs, at its load and the slews of the netlist.

    Which input made an output toggle is not counted, so the tables of a pin's inputs are
    averaged; so are those of rising and falling edges, which alternate. A table with a condition
    (``when``) counts with the share of states that satisfy it, all equally likely.

    Parameters
    ----------
    netlist : Netlist
        Cells of the library only.
    """

    def __init__(self, netlist: Netlist):
        self.netlist = netlist
        self._clock = {cell.pins[name][0] for cell in netlist.cells
                       if (flop := netlist.library.cells[cell.kind].flop)
                       for name in flop.clock.pins}
        self._loads: dict[Bit, float] = {}
        for cell in netlist.cells:
            for name, pin in netlist.library.cells[cell.kind].pins.items():
                for bit in cell.pins.get(name, ()):
                    if pin.direction == "input":
                        self._loads[bit] = self._loads.get(bit, 0.0) + pin.capacitance
        self._slews = self._propagate()
        self._internal, self._clock_internal = self._internal_energies()

    def _propagate(self) -> dict[Bit, float]:
        """Return the slew of every net that a cell drives, the worst over its inputs."""
        slews: dict[Bit, float] = {}
        flops = [c for c in self.netlist.cells if self.netlist.library.cells[c.kind].flop]
        for level in (flops, *topological(self.netlist)):
            for cell in level:
                known = self.netlist.library.cells[cell.kind]
                for name, pin in known.pins.items():
                    if pin.direction == "output" and cell.pins.get(name):
                        bit = cell.pins[name][0]
                        load = self._loads.get(bit, 0.0)
                        slews[bit] = max((table.at(load, self._slew(cell, related, slews))
                                          for related, table in pin.transitions), default=0.0)
        return slews

    def _slew(self, cell: Instance, pin: str, slews: Mapping[Bit, float]) -> float:
        bits = cell.pins.get(pin, ())
        return slews.get(bits[0], INPUT_SLEW) if bits else INPUT_SLEW

    def _internal_energies(self) -> tuple[dict[Bit, float], float]:
        """Return joules inside cells per toggle of each net, and those of all clock pins."""
        found: dict[Bit, float] = {}
        clock = 0.0
        for cell in self.netlist.cells:
            known = self.netlist.library.cells[cell.kind]
            for name in known.pins:
                if cell.pins.get(name):
                    bit = cell.pins[name][0]
                    energy = self._pin_energy(cell, known, name)
                    if bit in self._clock:
                        clock += energy
                    else:
                        found[bit] = found.get(bit, 0.0) + energy
        return found, clock

    def _pin_energy(self, cell: Instance, known: Cell, name: str) -> float:
        pin = known.pins[name]
        load = self._loads.get(cell.pins[name][0], 0.0) if pin.direction == "output" else 0.0
        by_input: dict[str, float] = {}
        for energy in pin.energies:
            related = energy.related or name
            joules = energy.at(load, self._slew(cell, related, self._slews))
            share = _likelihood(energy.when) if energy.when else 1.0
            by_input[related] = by_input.get(related, 0.0) + share * joules
        return sum(by_input.values()) / max(len(by_input), 1)

    def energy(self, densities: Mapping[Bit, float]) -> Energy:
        """Return the energy of a cycle, given toggles per cycle of every net but the clock's."""
        half = self.netlist.library.voltage ** 2 / 2
        ports = {bit for bits in self.netlist.inputs.values() for bit in bits}
        nets = {bit: density for bit, density in densities.items()
                if isinstance(bit, int) and bit not in self._clock}
        loads = {bit: half * density * self._loads.get(bit, 0.0) for bit, density in nets.items()}
        return Energy(
            sum(density * self._internal.get(bit, 0.0) for bit, density in nets.items()),
            sum(load for bit, load in loads.items() if bit not in ports),
            2 * self._clock_internal,
            2 * half * sum(self._loads.get(bit, 0.0) for bit in self._clock),
            sum(load for bit, load in loads.items() if bit in ports))

    def uniform(self, activity: float) -> Energy:
        """Return the energy of a cycle if every net toggles ``activity`` times."""
        nets = dict.fromkeys((*self._loads, *self._internal), activity)
        return self.energy(nets)


def _likelihood(when) -> float:
    """Return the share of the states of its pins that satisfy a condition."""
    import numpy as np

    count = len(when.pins)
    states = np.arange(1 << count, dtype=np.uint64)
    words = {name: (states >> np.uint64(i)) & np.uint64(1) for i, name in enumerate(when.pins)}
    return float((when.evaluate(words) & np.uint64(1)).mean())
