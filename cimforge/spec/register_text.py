"""The register map as a C header for firmware and as a page for readers."""

from cimforge.spec.analog.commands import AnalogError
from cimforge.spec.commands import ErrorCode
from cimforge.spec.registers import (
    ADDRESS_BITS,
    COUNTERS,
    IDENTITY,
    MAP_VERSION,
    Register,
    TileKind,
    register_map,
)

__all__ = ["HEADER_NAME", "c_header", "markdown"]

#: Name of the C header, the same for every tile.
HEADER_NAME = "cimforge_regs.h"

_ERRORS: dict[TileKind, type[ErrorCode] | type[AnalogError]] = {
    TileKind.DIGITAL: ErrorCode, TileKind.ANALOG: AnalogError}
_PAGE = """# Registers

What `cimforge verilog CONFIG --soc` puts on AXI4-Lite: version {version}, {size} bytes of
addresses, words of 32 bits. Written from `cimforge/spec/registers.py` by
`python -m cimforge.spec.register_text docs/registers.md`; how to use them: [soc.md](soc.md).

Reading or writing where there is no register gives DECERR; writing what is read-only, START without
STATUS.READY, or CLEAR in the middle of a program gives SLVERR and does nothing. Byte strobes count
for every write. The low two bits of an address are ignored.
"""


def c_header() -> str:
    """Return the header: offsets, and masks and shifts of all fields, of either tile.

    Registers that one kind of tile has are named after it; all others have no kind in their name.
    """
    lines = ["/* Registers of a cimforge tile on a bus; from cimforge/spec/registers.py. */",
             "#ifndef CIMFORGE_REGS_H", "#define CIMFORGE_REGS_H", "",
             _define("ID_VALUE", IDENTITY), _define("VERSION_MAJOR_VALUE", MAP_VERSION[0]),
             _define("VERSION_MINOR_VALUE", MAP_VERSION[1]), ""]
    for kind in TileKind:
        lines.append(_define(f"KIND_{kind.name}", kind))
    for kind, errors in _ERRORS.items():
        lines += ["", *(_define(f"{kind.name}_ERROR_{code.name}", code) for code in errors)]
    for register in _shared():
        lines += ["", *_register(register, "")]
    for kind in TileKind:
        lines.append("")
        for register in register_map(kind)[len(_shared()):]:
            lines += _register(register, f"{kind.name}_")
    return "\n".join([*lines, "", "#endif", ""])


def _shared() -> tuple[Register, ...]:
    """Return the registers that every kind of tile has."""
    every = register_map(TileKind.DIGITAL)
    return every[:len(every) - 2 * len(COUNTERS[TileKind.DIGITAL])]


def _define(name: str, value: int) -> str:
    return f"#define CIMFORGE_{name} {value:#x}u"


def _register(register: Register, kind: str) -> list[str]:
    name = f"{kind}{register.name}"
    lines = [f"/* {register.meaning} ({register.access.value}) */",
             _define(f"{name}_OFFSET", register.address)]
    for field in register.fields:
        lines += [_define(f"{name}_{field.name}_MASK", field.mask),
                  _define(f"{name}_{field.name}_SHIFT", field.low)]
    return lines


def markdown() -> str:
    """Return the page, with the tables of both tiles."""
    text = [_PAGE.format(version=".".join(map(str, MAP_VERSION)), size=1 << ADDRESS_BITS)]
    text += ["| address | register | access | meaning |", "|---|---|---|---|"]
    text += [_row(register) for register in _shared()]
    for kind in TileKind:
        text += ["", f"## Counters of the {kind.name.lower()} tile", "",
                 "| address | register | access | meaning |", "|---|---|---|---|"]
        text += [_row(register) for register in register_map(kind)[len(_shared()):]]
    for register in _shared():
        if register.fields:
            text += ["", f"## {register.name}", "", "| bits | field | meaning |", "|---|---|---|"]
            text += [f"| {_span(field.low, field.width)} | `{field.name}` | {field.meaning} |"
                     for field in register.fields]
    for kind, errors in _ERRORS.items():
        text += ["", f"ERROR_CODE of the {kind.name.lower()} tile: "
                 + ", ".join(f"{int(code)} {code.name}" for code in errors) + "."]
    return "\n".join([*text, ""])


def _row(register: Register) -> str:
    return (f"| `{register.address:#05x}` | `{register.name}` | {register.access.value} "
            f"| {register.meaning} |")


def _span(low: int, width: int) -> str:
    return str(low) if width == 1 else f"{low + width - 1}:{low}"


if __name__ == "__main__":
    import sys
    from pathlib import Path

    from cimforge.spec.files import write_atomic

    write_atomic(Path(sys.argv[1]), markdown().encode())
