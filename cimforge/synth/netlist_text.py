"""Netlists as structural Verilog, for tools that read nothing else."""

import re
from collections.abc import Collection

from cimforge.synth.netlist import Bit, Netlist

__all__ = ["STUB", "netlist_verilog"]

#: What the name of a module ends with that is not spelled out.
STUB = "__stub"


def netlist_verilog(netlist: Netlist, once: Collection[str] = ()) -> str:
    """Return one module.

    Parameters
    ----------
    netlist : Netlist
    once : collection of str
        Modules of which only the first instance is itself; the others get the suffix `STUB`.
        Equal blocks have equal timing, and one of them is enough to see it.
    """
    ports = [(direction, name, bits) for direction, group in
             (("input", netlist.inputs), ("output", netlist.outputs))
             for name, bits in group.items()]
    names, assigns = _port_names(ports)
    lines = [f"module {netlist.top}({', '.join(name for _, name, _ in ports)});"]
    for direction, name, bits in ports:
        width = f"[{len(bits) - 1}:0] " if len(bits) > 1 else ""
        lines.append(f"  {direction} {width}{name};")
    inner: dict[int, None] = {}
    body = []
    seen: set[str] = set()
    for i, instance in enumerate((*netlist.cells, *netlist.others)):
        kind = instance.kind
        if kind in once and kind in seen:
            kind += STUB
        seen.add(kind)
        pins = []
        for port, bits in instance.pins.items():
            for bit in bits:
                if isinstance(bit, int) and bit not in names:
                    inner[bit] = None
            pins.append(f".{port}({_joined(bits, names)})")
        body.append(f"  {kind} {_readable(netlist, instance, i)} ({', '.join(pins)});")
    lines += [f"  wire n{bit};" for bit in inner]
    lines += body
    lines += [f"  assign {target} = {_name(bit, names)};" for target, bit in assigns]
    return "\n".join([*lines, "endmodule", ""])


def _port_names(ports) -> tuple[dict[int, str], list[tuple[str, Bit]]]:
    """Name nets after ports; return what further outputs must be assigned, too."""
    names: dict[int, str] = {}
    assigns = []
    for direction, name, bits in ports:
        for i, bit in enumerate(bits):
            text = f"{name}[{i}]" if len(bits) > 1 else name
            if isinstance(bit, int) and bit not in names:
                names[bit] = text
            elif direction == "output":
                assigns.append((text, bit))
    return names, assigns


def _name(bit: Bit, names: dict[int, str]) -> str:
    if isinstance(bit, int):
        return names.get(bit, f"n{bit}")
    return "1'b1" if bit == "1" else "1'b0"


def _joined(bits: list[Bit], names: dict[int, str]) -> str:
    texts = [_name(bit, names) for bit in reversed(bits)]
    return texts[0] if len(texts) == 1 else "{" + ", ".join(texts) + "}"


def _readable(netlist: Netlist, instance, i: int) -> str:
    """Name flip-flops after what they hold and instances as they were; others by number."""
    cell = netlist.library.cells.get(instance.kind)
    if cell is None:
        return re.sub(r"\W", "_", instance.name)
    if cell.flop:
        for port, bits in instance.pins.items():
            if cell.pins[port].direction == "output" and bits and bits[0] in netlist.names:
                return re.sub(r"\W+", "_", netlist.names[bits[0]]).strip("_") + f"_r{i}"
    return f"g{i}"
