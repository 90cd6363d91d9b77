"""Verilog of a configuration: every distinct component once, and a JSON sidecar.

The text depends on nothing but the configuration and the versions in its first line, so equal bytes
mean equal hardware and caches can go by its digest.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

from amaranth._toolchain.yosys import find_yosys  # what amaranth.back.verilog uses itself
from amaranth.back import rtlil
from amaranth.hdl import Fragment
from amaranth.lib import wiring

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError
from cimforge.spec.files import write_atomic
from cimforge.spec.register_text import HEADER_NAME, c_header
from cimforge.spec.registers import kind_of
from cimforge_hw.analog.tile import AnalogTile
from cimforge_hw.dcim.carry_save_column import CarrySaveColumn
from cimforge_hw.dcim.column import Column
from cimforge_hw.dcim.tile import DcimTile
from cimforge_hw.sidecar import component_ports, describe
from cimforge_hw.soc.wrapper import Soc

__all__ = ["SYNTHESIS", "Emission", "emit_analog_tile", "emit_component", "emit_soc", "emit_tile",
           "write_if_changed"]

#: What stands in for components where Verilog is for synthesis.
SYNTHESIS: Mapping[type, type] = MappingProxyType({Column: CarrySaveColumn})

# The attributes that Amaranth leaves for debugging; they carry paths of this machine.
_ATTRIBUTES = ("generator", "top", "src", "amaranth.hierarchy", "amaranth.decoding")


@dataclass(frozen=True)
class Emission:
    """Verilog text of one design and its description.

    Attributes
    ----------
    top : str
        Name of the top module.
    verilog : str
        A line that says what this is, then all modules by name; the top comes first.
    sidecar : dict
        Ports, streams, modules, parameters and latency, ready for JSON.
    extra : dict of str to str
        Texts of further files, by name.
    """

    top: str
    verilog: str
    sidecar: dict
    extra: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> list[Path]:
        """Write ``TOP.v``, ``TOP.json`` and what is extra where they differ; return the paths.

        Raises
        ------
        DataError
            If the file system refuses.
        """
        texts = {f"{self.top}.v": self.verilog,
                 f"{self.top}.json": json.dumps(self.sidecar, indent=2) + "\n", **self.extra}
        for name, text in texts.items():
            write_if_changed(folder / name, text)
        return [folder / name for name in texts]


def write_if_changed(path: Path, text: str) -> bool:
    """Write a file atomically; leave it, and its time stamp, alone where nothing changes."""
    data = text.encode()
    try:
        if path.read_bytes() == data:
            return False
    except (OSError, ValueError):
        pass  # not there, or no file: writing says what is wrong
    write_atomic(path, data)
    return True


class _Library:
    """Collects the distinct components below a top; passed as Amaranth's platform."""

    def __init__(self, top: str, instead: Mapping[type, type]):
        self._top, self._instead = top, instead
        self.modules: dict[str, wiring.Component] = {}
        self.kinds: dict[str, str] = {}
        self.texts: dict[str, str] = {}

    def require(self, kind: type[wiring.Component], config):
        """Emit a component unless it is there; one design has one configuration, so one each.

        Names start with the top's: two tiles of one system on chip must not share modules.
        """
        name = f"{self._top}_" + re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
        if name not in self.modules:
            self.emit(name, self._instead.get(kind, kind)(config))
            self.kinds[name] = kind.__name__
        return name, self.modules[name].signature, self.clocked(name)

    def clocked(self, name: str) -> bool:
        """Whether a module has a clock, and a reset with it."""
        return re.search(r"^\s*wire width 1 input \d+\s+\\clk$", self.texts[name],
                         re.MULTILINE) is not None

    def emit(self, name: str, component: wiring.Component):
        """Convert one component to RTLIL; its children become instances."""
        fragment = Fragment.get(component, self)
        text, _ = rtlil.convert_fragment(fragment, _directed(component), name, emit_src=False)
        self.modules[name] = component
        self.texts[name] = text


def _directed(component: wiring.Component) -> dict:
    from amaranth.hdl._ir import PortDirection
    return {name: (value, PortDirection.Input if is_input else PortDirection.Output)
            for name, (value, is_input) in component_ports(component).items()}


def _verilog(texts: list[str]) -> str:
    """Let Yosys write RTLIL as Verilog, without initial contents of memories.

    Hardware memories wake up with anything in them, and spelling out zeros for every word of the
    activation buffer would take megabytes.
    """
    script = ["read_rtlil <<rtlil\n" + "\n".join(texts) + "\nrtlil",
              "delete t:$meminit t:$meminit_v2", "proc -nomux -norom", "memory_collect"]
    removal = " ".join(f"-remove {name}" for name in _ATTRIBUTES)
    script += [f"attrmap {removal}", f"attrmap -modattr {removal}", "write_verilog -norename"]
    yosys = find_yosys(lambda version: version >= (0, 40))
    text = yosys.run(["-q", "-"], "\n".join(script), ignore_warnings=True)
    text = re.sub(r"^/\* Generated by .*?\*/\n", "", text, count=1, flags=re.MULTILINE)
    # Yosys repeats every port as a wire, which a port is anyway.
    return re.sub(r"^(  (?:input|output) (.*;)\n)  wire \2\n", r"\1", text, flags=re.MULTILINE)


def emit_component(component: wiring.Component, top: str, *,
                   instead: Mapping[type, type] = MappingProxyType({})) -> Emission:
    """Emit any component with a ``config``.

    Parameters
    ----------
    component : Component
    top : str
        Name of the top module, and what the names of all others start with.
    instead : mapping of type to type
        Components in it that others stand in for.

    Raises
    ------
    ConfigError
        If ``top`` is no Verilog identifier.
    """
    _check_top(top)
    library = _Library(top, instead)
    library.emit(top, component)
    modules = dict(sorted({top: type(component).__name__, **library.kinds}.items()))
    digest = component.config.digest  # type: ignore[attr-defined]
    head = (f"// {top}: configuration {digest}, {_version('cimforge')}, "
            f"{_version('amaranth')}; parameters and ports: {top}.json\n")
    return Emission(top, head + _verilog([library.texts[name] for name in library.modules]),
                    describe(component, top, modules, library.clocked(top)))


def _check_top(top: str):
    if not re.fullmatch(r"[A-Za-z_]\w*", top, re.ASCII):
        raise ConfigError(f"top must be a Verilog identifier, not {top!r}")


def _version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:  # a source tree that is not installed
        return package


def emit_tile(config: DcimConfig, top: str = "dcim_tile", *, synthesis: bool = False) -> Emission:
    """Emit the digital tile; ``top`` as for :func:`emit_component`.

    Parameters
    ----------
    config : DcimConfig
    top : str
    synthesis : bool
        Columns of full adders: half the gates, and slow to simulate. All else is the same.
    """
    _check_top(top)  # before there is a tile that nobody emits
    return emit_component(DcimTile(config), top,
                          instead=SYNTHESIS if synthesis else {})


def emit_analog_tile(config: AnalogConfig, top: str = "analog_tile") -> Emission:
    """Emit the analog tile; ``top`` as for :func:`emit_component`."""
    _check_top(top)
    return emit_component(AnalogTile(config), top)


def emit_soc(config: DcimConfig | AnalogConfig, top: str = "") -> Emission:
    """Emit either tile on a bus, with the C header of its registers.

    Parameters
    ----------
    config : DcimConfig or AnalogConfig
        Says which tile.
    top : str
        As for :func:`emit_component`; default: ``dcim_soc`` or ``analog_soc``.
    """
    top = top or ("analog_soc" if isinstance(config, AnalogConfig) else "dcim_soc")
    _check_top(top)
    kind_of(config)  # refuses what is no configuration
    emission = emit_component(Soc(config), top)
    return replace(emission, extra={HEADER_NAME: c_header()})
