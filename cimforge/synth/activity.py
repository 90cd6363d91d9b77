"""Toggles of every net of a netlist: thousands of workloads at once, cycle by cycle, no delays.

A net holds a row of words, and every bit of them is a workload of its own. All cells of one kind
at one depth are evaluated by a handful of NumPy operations. Without delays there are no glitches:
a net toggles at most once a cycle.
"""

from collections.abc import Mapping

import numpy as np

from cimforge.spec.errors import DataError
from cimforge.synth.netlist import Bit, Instance, Netlist

__all__ = ["Simulator", "topological"]

_ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


def topological(netlist: Netlist) -> list[list[Instance]]:
    """Return the combinational cells by depth, those that read only inputs and states first.

    Raises
    ------
    DataError
        If they form a loop.
    """
    cells = netlist.library.cells
    drivers = {bit: cell for bit, cell in netlist.drivers().items()
               if cells[cell.kind].flop is None}
    depth: dict[int, int] = {}
    for first in drivers.values():
        todo = [first]
        while todo:
            cell = todo[-1]
            below = [source for name, pin in cells[cell.kind].pins.items()
                     if pin.direction == "input" for bit in cell.pins.get(name, ())
                     if isinstance(bit, int) and (source := drivers.get(bit))]
            missing = [source for source in below if depth.get(id(source), -1) < 0]
            if id(cell) not in depth and missing:
                depth[id(cell)] = -1  # being visited
                todo += missing
            elif missing:
                raise DataError(f"{netlist.top}: {cell.name} is in a combinational loop")
            else:
                depth[id(cell)] = 1 + max((depth[id(source)] for source in below), default=-1)
                todo.pop()
    levels: list[list[Instance]] = [[] for _ in range(1 + max(depth.values(), default=-1))]
    seen: set[int] = set()
    for cell in drivers.values():
        if id(cell) not in seen:
            seen.add(id(cell))
            levels[depth[id(cell)]].append(cell)
    return levels


class Simulator:
    """Runs a netlist of cells and counts toggles.

    Parameters
    ----------
    netlist : Netlist
        Cells only: no memories, no instances of modules.
    lanes : int
        Workloads, a multiple of 64.

    Attributes
    ----------
    toggles : array of int64 [nets]
        Since the last `forget`, over all lanes; by `place`.
    cycles : int
        Since then.

    Raises
    ------
    DataError
        The netlist holds anything but gates and flip-flops without clear and preset.
    """

    def __init__(self, netlist: Netlist, lanes: int = 64):
        if netlist.others:
            raise DataError(f"{netlist.top}: {netlist.others[0].kind} is no cell of the library; "
                            "toggles are counted in flat netlists without memories")
        if lanes < 64 or lanes % 64:
            raise DataError(f"lanes must be a multiple of 64, not {lanes!r}")
        self.netlist, self.lanes = netlist, lanes
        self.place: dict[Bit, int] = {"0": 0, "x": 0, "1": 1}
        for bits in (*netlist.inputs.values(),
                     *(bits for cell in netlist.cells for bits in cell.pins.values())):
            for bit in bits:
                self.place.setdefault(bit, len(self.place) - 1)  # "0" and "x" share a place
        self.values = np.zeros((len(self.place) - 1, lanes // 64), np.uint64)
        self.values[1] = _ONES
        self.toggles = np.zeros(len(self.values), np.int64)
        self.cycles = 0
        self._before = self.values.copy()
        self._gates = [step for level in topological(netlist) for step in self._by_kind(level)]
        self._flops = self._states()

    def _at(self, cells: list[Instance], port: str) -> np.ndarray:
        return np.array([self.place[cell.pins[port][0]] for cell in cells])

    def _by_kind(self, level: list[Instance]):
        """Yield (function, places of its inputs, places of the output) for the cells of a level."""
        kinds: dict[str, list[Instance]] = {}
        for cell in level:
            kinds.setdefault(cell.kind, []).append(cell)
        for kind, cells in kinds.items():
            for pin in self.netlist.library.cells[kind].pins.values():
                used = [cell for cell in cells if cell.pins.get(pin.name)]
                if pin.direction != "output" or not used:
                    continue
                if pin.function is None:
                    raise DataError(f"cell {kind}, pin {pin.name} has no function")
                yield (pin.function.evaluate,
                       {name: self._at(used, name) for name in pin.function.pins},
                       self._at(used, pin.name))

    def _states(self):
        """Return (next state, places of its inputs, places of the outputs, inverted) by kind."""
        kinds: dict[str, list[Instance]] = {}
        for cell in self.netlist.cells:
            if self.netlist.library.cells[cell.kind].flop:
                kinds.setdefault(cell.kind, []).append(cell)
        found = []
        for kind, cells in kinds.items():
            known = self.netlist.library.cells[kind]
            flop = known.flop
            if flop is None or flop.asynchronous or flop.state in flop.next_state.pins:
                raise DataError(f"cell {kind} is no plain flip-flop")
            sources = {name: self._at(cells, name) for name in flop.next_state.pins}
            for pin in known.pins.values():
                used = [i for i, cell in enumerate(cells) if cell.pins.get(pin.name)]
                if pin.direction == "output" and pin.function and used:
                    found.append((flop.next_state.evaluate,
                                  {name: at[used] for name, at in sources.items()},
                                  self._at([cells[i] for i in used], pin.name),
                                  pin.function.text.strip("() ") != flop.state))
        return found

    def set(self, port: str, numbers: np.ndarray | int) -> None:
        """Drive an input: a number for all lanes, or one per lane [lanes], any width up to 64."""
        bits = self.netlist.inputs[port]
        numbers = np.broadcast_to(np.asarray(numbers, np.int64), self.lanes)
        planes = (numbers[None, :] >> np.arange(len(bits))[:, None]) & 1
        packed = np.packbits(planes.astype(np.uint8), axis=1, bitorder="little").view(np.uint64)
        self.values[[self.place[bit] for bit in bits]] = packed

    def set_lanes(self, port: str, bits: np.ndarray) -> None:
        """Drive an input of any width with bits [width, lanes]."""
        at = [self.place[bit] for bit in self.netlist.inputs[port]]
        packed = np.packbits(np.ascontiguousarray(bits, np.uint8), axis=1, bitorder="little")
        self.values[at] = np.ascontiguousarray(packed).view(np.uint64)

    def get(self, port: str) -> np.ndarray:
        """Return an output as a two's-complement number per lane, int64 [lanes]."""
        rows = self.values[[self.place[bit] for bit in self.netlist.outputs[port]]]
        planes = np.unpackbits(rows.view(np.uint8), axis=1, bitorder="little").astype(np.int64)
        weights = 1 << np.arange(len(planes), dtype=np.int64)
        weights[-1] = -weights[-1]
        return weights @ planes

    def settle(self) -> None:
        """Let the gates follow inputs and states."""
        for evaluate, sources, target in self._gates:
            self.values[target] = evaluate(
                {name: self.values[at] for name, at in sources.items()})

    def clock(self) -> None:
        """Settle, count what differs from the cycle before, and take the edge."""
        self.settle()
        self.toggles += np.bitwise_count(self.values ^ self._before).sum(axis=1, dtype=np.int64)
        self.cycles += 1
        self._before[:] = self.values
        after = [np.bitwise_not(state) if inverted else state
                 for evaluate, sources, _, inverted in self._flops
                 for state in [evaluate({n: self.values[at] for n, at in sources.items()})]]
        for (_, _, target, _), state in zip(self._flops, after, strict=True):
            self.values[target] = state

    def forget(self) -> None:
        """Count from here."""
        self.toggles[:] = 0
        self.cycles = 0

    def densities(self) -> Mapping[Bit, float]:
        """Return toggles per cycle and lane of every net."""
        scale = 1 / max(self.cycles * self.lanes, 1)
        return {bit: float(self.toggles[at]) * scale for bit, at in self.place.items()}
