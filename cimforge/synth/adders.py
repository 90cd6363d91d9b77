"""Full adders of a design become the library's, as no mapper finds cells of two outputs."""

from itertools import product

import numpy as np

from cimforge.synth.functions import Function
from cimforge.synth.liberty import Cell, Library

__all__ = ["adder_cell", "with_adders"]

_CASES = np.array(list(product((0, 1), repeat=3)), dtype=np.uint64)
_SUM = _CASES.sum(axis=1) & 1
_CARRY = _CASES.sum(axis=1) >> 1


def adder_cell(library: Library) -> tuple[Cell, tuple[str, ...], str, str] | None:
    """Return the smallest full adder: cell, inputs, outputs of sum and carry; or None."""
    found = []
    for cell in library.cells.values():
        inputs = tuple(pin.name for pin in cell.pins.values() if pin.direction == "input")
        outputs = {pin.name: pin.function for pin in cell.pins.values()
                   if pin.direction == "output" and pin.function}
        if len(inputs) != 3 or len(outputs) != 2 or cell.flop or cell.other_state:
            continue
        values = {name: _values(function, inputs) for name, function in outputs.items()}
        for name, other in (tuple(values), tuple(values)[::-1]):
            if np.array_equal(values[name], _SUM) and np.array_equal(values[other], _CARRY):
                found.append((cell.area, cell.name, cell, inputs, name, other))
    return min(found)[2:] if found else None


def _values(function: Function, inputs: tuple[str, ...]) -> np.ndarray:
    words = dict(zip(inputs, _CASES.T, strict=True))
    if not set(function.pins) <= set(inputs):  # of the state of a flip-flop
        return np.zeros(0)
    return np.broadcast_to(function.evaluate(words) & np.uint64(1), _SUM.shape)


def with_adders(texts: dict[str, str], name: str, library: Library) -> dict[str, str]:
    """Return the modules of a design, of which the one called ``name`` is the library's cell.

    Parameters
    ----------
    texts : dict of str to str
        Verilog of every module.
    name : str
        A full adder: inputs a, b, c, outputs sum, carry.
    library : Library
        Without a full adder, nothing changes and the mapper makes one of gates.
    """
    cell = adder_cell(library)
    if cell is None or name not in texts:
        return texts
    kind, inputs, total, carry = cell
    pins = ", ".join(f".{pin}({net})" for pin, net in zip((*inputs, total, carry),
                                                        ("a", "b", "c", "sum", "carry"),
                                                        strict=True))
    text = (f"module {name}(a, b, c, sum, carry);\n  input a, b, c;\n  output sum, carry;\n"
            f"  {kind.name} adder ({pins});\nendmodule")
    return {**texts, name: text}
