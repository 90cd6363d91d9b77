"""Buffer trees on every net of high fan-out: activation lines, selects, enables, write data.

Mapping leaves them bare: the bank select of a column's 352 bits, or a line that goes to 32 columns,
would be one wire, and timing would mean nothing.
"""

from dataclasses import replace

from cimforge.spec.errors import DataError
from cimforge.synth.liberty import Cell, Library
from cimforge.synth.netlist import Instance, Netlist

__all__ = ["FANOUT", "buffer_cell", "with_trees"]

#: Loads per driver. Eight would take 1 % more area and 1 % less time, as measured on a macro.
FANOUT = 12


def buffer_cell(library: Library) -> tuple[Cell, str, str]:
    """Return the library's buffer for trees, and the names of its input and output.

    It is the one with the least area times output transition when it drives `FANOUT` of its like.

    Raises
    ------
    DataError
        If the library has none.
    """
    found = []
    for cell in library.cells.values():
        inputs = [pin for pin in cell.pins.values() if pin.direction == "input"]
        outputs = [pin for pin in cell.pins.values() if pin.direction == "output"]
        if len(inputs) != 1 or len(outputs) != 1 or cell.flop or cell.other_state:
            continue
        output, = outputs
        if (output.function and output.function.text.strip("() ") == inputs[0].name
                and output.transitions):
            load = FANOUT * inputs[0].capacitance
            slew = max(table.at(load, 1e-10) for _, table in output.transitions)
            found.append((cell.area * slew, cell.name, cell, inputs[0].name, output.name))
    if not found:
        raise DataError(f"{library.path}: no buffer among its cells, high fan-out needs one")
    return min(found)[2:]


def with_trees(netlist: Netlist) -> Netlist:
    """Return a netlist where nothing drives more than `FANOUT` loads.

    The clock is left alone: its tree comes with the layout.
    """
    cell, input_name, output_name = buffer_cell(netlist.library)
    clock = set(netlist.inputs.get("clk", ()))
    copies = {id(i): replace(i, pins={name: list(bits) for name, bits in i.pins.items()})
              for i in (*netlist.cells, *netlist.others)}
    sinks: dict[int, list[tuple[list, int]]] = {}
    for original in (*netlist.cells, *netlist.others):
        for name, bits in copies[id(original)].pins.items():
            if _is_load(netlist, original, name):
                for i, bit in enumerate(bits):
                    if isinstance(bit, int) and bit not in clock:
                        sinks.setdefault(bit, []).append((bits, i))
    pins = [bits for instance in copies.values() for bits in instance.pins.values()]
    used = (bit for bits in (*netlist.inputs.values(), *netlist.outputs.values(), *pins)
            for bit in bits if isinstance(bit, int))
    fresh = 1 + max(used, default=0)
    buffers: list[Instance] = []
    for bit in sorted(sinks):
        places = sinks[bit]
        while len(places) > FANOUT:
            above = []
            for start in range(0, len(places), FANOUT):
                buffer = Instance(f"tree_{fresh}", cell.name,
                                  {input_name: [bit], output_name: [fresh]})
                for bits, i in places[start:start + FANOUT]:
                    bits[i] = fresh
                above.append((buffer.pins[input_name], 0))
                buffers.append(buffer)
                fresh += 1
            places = above
    return replace(netlist, cells=[copies[id(i)] for i in netlist.cells] + buffers,
                   others=[copies[id(i)] for i in netlist.others])


def _is_load(netlist: Netlist, instance: Instance, port: str) -> bool:
    """Whether a port reads its nets."""
    known = netlist.library.cells.get(instance.kind)
    if known:
        return known.pins[port].direction == "input"
    return port in netlist.reads_of(instance)
