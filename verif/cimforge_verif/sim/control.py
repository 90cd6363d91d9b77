"""Which signals of a design Verilator keeps visible: the ports of the top, and little else.

cocotb's runner makes every signal public, which forbids most optimizations. Ports of the top are
enough to drive it. Ports of the modules with many instances are listed as well: they stop Verilator
from specializing each instance by what its ports are connected to, which would give every column
its own copy of the same function.
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from cimforge.spec.errors import DataError

__all__ = ["control_file", "module_ports"]

_MODULE = re.compile(r"^\s*module\s+(\\\S+|[\w$]+)(.*?)^\s*endmodule\b", re.DOTALL | re.MULTILINE)
# A direction, up to the end of its declaration or the next direction of a port list.
_PORTS = re.compile(r"\b(?:input|output|inout)\b(.*?)(?=;|\)|\b(?:input|output|inout)\b)",
                    re.DOTALL)
_TYPES = re.compile(r"\b(?:wire|reg|logic|signed|unsigned)\b|\[[^\]]*\]|=[^,]*")


def module_ports(verilog: str) -> dict[str, list[str]]:
    """Return the port names of every module of a Verilog text, in order of declaration."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/|\(\*.*?\*\)", "", verilog, flags=re.DOTALL)
    return {name.lstrip("\\"): [port for declaration in _PORTS.findall(body)
                               for port in _names(declaration)]
            for name, body in _MODULE.findall(text)}


def _names(declaration: str) -> list[str]:
    names = (name.strip().lstrip("\\") for name in _TYPES.sub(" ", declaration).split(","))
    return [name for name in names if name]


def control_file(texts: Iterable[str], top: str, public_modules: Iterable[str] = ()) -> str:
    """Return the text of a Verilator control file (``.vlt``).

    Parameters
    ----------
    texts : iterable of str
        The design's Verilog.
    top : str
        Module whose ports the bench reads and writes.
    public_modules : iterable of str
        Patterns (``column*``) of modules whose ports stay visible as well.

    Raises
    ------
    DataError
        If the design has no module ``top``, or one without ports.
    """
    ports: dict[str, list[str]] = {}
    for text in texts:
        ports |= module_ports(text)
    if not ports.get(top):
        raise DataError(f"the Verilog has no module {top!r} with ports; its modules are "
                        f"{', '.join(sorted(ports)) or 'none'}")
    patterns = tuple(public_modules)
    chosen = [name for name in ports
              if name == top or any(fnmatchcase(name, pattern) for pattern in patterns)]
    lines = [f'public_flat_rw -module "{module}" -var "{port}"'
             for module in chosen for port in ports[module]]
    return "\n".join(["`verilator_config", *lines, ""])
