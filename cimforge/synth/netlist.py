"""A mapped module: cells of the library, memories, instances of other modules, and nets."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from cimforge.spec.errors import DataError
from cimforge.synth.liberty import Library

__all__ = ["SRAM", "Instance", "Netlist"]

#: The cell that a memory becomes.
SRAM = "cimforge_sram"
_SRAM_READS = frozenset({"RD_EN", "RD_ADDR", "WR_EN", "WR_ADDR", "WR_DATA"})

Bit = int | str  # a net, or "0", "1", "x"


@dataclass
class Instance:
    """An instance: ``pins`` are the bits of every port, the lowest first."""

    name: str
    kind: str
    pins: dict[str, list[Bit]]
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass
class Netlist:
    """A module of cells.

    Attributes
    ----------
    top : str
    library : Library
    inputs, outputs : dict of str to list of Bit
        Nets of every port, the lowest bit first.
    cells : list of Instance
        Of the library.
    others : list of Instance
        Memories and instances of modules.
    names : dict of int to str
        A name from the source for some nets.
    reads : dict of str to frozenset of str
        Input ports of every module that is instantiated.
    """

    top: str
    library: Library
    inputs: dict[str, list[Bit]]
    outputs: dict[str, list[Bit]]
    cells: list[Instance]
    others: list[Instance]
    names: dict[int, str]
    reads: dict[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, top: str, library: Library) -> "Netlist":
        """Read what yosys's ``write_json`` wrote.

        Raises
        ------
        DataError
            A net is read and nothing drives it, or two cells drive one: a cell got lost.
        """
        design = json.loads(path.read_text(encoding="utf-8"))["modules"]
        module = design[top]
        ports: dict[str, dict[str, list[Bit]]] = {"input": {}, "output": {}}
        for name, port in module["ports"].items():
            ports[port["direction"]][name] = port["bits"]
        instances = [Instance(name, cell["type"], cell["connections"], cell.get("parameters", {}))
                     for name, cell in module["cells"].items()]
        names: dict[int, str] = {}
        for name, net in module["netnames"].items():
            if not net.get("hide_name"):
                for i, bit in enumerate(net["bits"]):
                    if isinstance(bit, int):
                        names.setdefault(bit, f"{name}[{i}]")
        known = library.cells
        result = cls(top, library, ports["input"], ports["output"],
                     [i for i in instances if i.kind in known],
                     [i for i in instances if i.kind not in known], names,
                     {name: frozenset(port for port, its in other["ports"].items()
                                      if its["direction"] == "input")
                      for name, other in design.items()})
        result.check()
        return result

    def drivers(self) -> dict[int, Instance]:
        """Return the cell that drives each net that a cell drives."""
        found: dict[int, Instance] = {}
        for cell in self.cells:
            for name, pin in self.library.cells[cell.kind].pins.items():
                for bit in cell.pins.get(name, ()):
                    if pin.direction == "output" and isinstance(bit, int):
                        if bit in found:
                            raise DataError(f"{self.top}: {found[bit].name} and {cell.name} both "
                                            f"drive net {self.names.get(bit, bit)}")
                        found[bit] = cell
        return found

    def reads_of(self, other: Instance) -> frozenset[str]:
        """Return the input ports of a memory or of an instance of a module."""
        return _SRAM_READS if other.kind == SRAM else self.reads[other.kind]

    def check(self) -> None:
        """Raise DataError where a cell or an output reads a net that nothing drives."""
        driven = set(self.drivers())
        driven.update(b for bits in self.inputs.values() for b in bits if isinstance(b, int))
        readers = [(cell.name, bits) for cell in self.cells for bits in cell.pins.values()]
        for other in self.others:
            for port, bits in other.pins.items():
                if port in self.reads_of(other):
                    readers.append((other.name, bits))
                else:
                    driven.update(b for b in bits if isinstance(b, int))
        readers += [(f"output {name}", bits) for name, bits in self.outputs.items()]
        for reader, bits in readers:
            for bit in bits:
                if isinstance(bit, int) and bit not in driven:
                    raise DataError(f"{self.top}: {reader} reads net {self.names.get(bit, bit)}, "
                                    "which nothing drives")

    @property
    def counts(self) -> dict[str, int]:
        """Cells by type."""
        return dict(sorted(Counter(cell.kind for cell in self.cells).items()))

    @property
    def area(self) -> float:
        """Area of the cells in the library's unit; memories and instances not counted."""
        return sum(self.library.cells[cell.kind].area for cell in self.cells)

    @property
    def flops(self) -> int:
        """Flip-flops."""
        return sum(self.library.cells[cell.kind].flop is not None for cell in self.cells)

    @property
    def leakage(self) -> float:
        """Watts of the cells."""
        return sum(self.library.cells[cell.kind].leakage for cell in self.cells)

    @property
    def sram_bits(self) -> int:
        """Bits of the memories that stay memories."""
        return sum(int(o.parameters["SIZE"], 2) * int(o.parameters["WIDTH"], 2)
                   for o in self.others if o.kind == SRAM)

    @property
    def children(self) -> dict[str, int]:
        """Instances of other modules."""
        return dict(sorted(Counter(o.kind for o in self.others if o.kind != SRAM).items()))

    def storage(self, pattern: str) -> list[Instance]:
        """Return the flip-flops whose name in the source matches, and the gates only they need.

        A gate counts if everything it drives is already counted: the hold multiplexers and the
        write decoder of weight cells, not the select that reads them.
        """
        flops = [cell for cell in self.cells if self.library.cells[cell.kind].flop
                 and any(re.match(pattern, self.names.get(bit, ""))
                         for bit in self._outputs_of(cell))]
        chosen = {id(cell) for cell in flops}
        sinks: dict[int, list[int]] = {}
        for cell in [*self.cells, *self.others]:
            drives = set(self._outputs_of(cell)) if cell.kind in self.library.cells else set()
            for bits in cell.pins.values():
                for bit in bits:
                    if isinstance(bit, int) and bit not in drives:
                        sinks.setdefault(bit, []).append(id(cell))
        for bits in self.outputs.values():
            for bit in bits:
                if isinstance(bit, int):
                    sinks.setdefault(bit, []).append(0)  # nobody's: never chosen
        drivers = self.drivers()
        todo, result = list(flops), list(flops)
        while todo:
            cell = todo.pop()
            for bits in cell.pins.values():
                for bit in bits:
                    source = drivers.get(bit) if isinstance(bit, int) else None
                    if source is None or id(source) in chosen:
                        continue
                    loads = [s for out in self._outputs_of(source) for s in sinks.get(out, ())]
                    if all(load in chosen for load in loads):
                        chosen.add(id(source))
                        result.append(source)
                        todo.append(source)
        return result

    def _outputs_of(self, cell: Instance) -> list[int]:
        return [bit for name, pin in self.library.cells[cell.kind].pins.items()
                if pin.direction == "output" for bit in cell.pins.get(name, ())
                if isinstance(bit, int)]
