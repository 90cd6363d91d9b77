"""Builds a tile's Verilog as a shared library, once per digest of everything that shapes it."""

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cimforge.spec.errors import ToolError
from cimforge_verif.sim.build import (
    BUILDS,
    WAIVERS,
    BuildPlan,
    build_once,
    first_errors,
    read_rtl,
    write_sources,
)
from cimforge_verif.sim.control import control_file, module_ports
from cimforge_verif.sim.toolchain import Toolchain, toolchain

__all__ = ["BUS", "LIBRARY", "PROGRAM", "build_library"]

BUS, LIBRARY, PROGRAM = "bus.so", "tile.so", "tile"
_INPUTS = ("commands", "weights", "acts")
_FLAGS = ("-O3", "-fno-inline", "--x-assign", "fast", "--x-initial", "fast", "--cc", "--exe",
          "-CFLAGS", "-fPIC -march=native")
#: Main file, and how what it becomes is linked.
_SHARED = ("-LDFLAGS", "-shared -fPIC")
_KINDS = {LIBRARY: ("harness.cpp", _SHARED), BUS: ("bus.cpp", _SHARED),
          PROGRAM: ("reference.cpp", ())}
# Optimized once more than cocotb's builds: here nothing but the model takes time.
_MAKE = {"OPT_FAST": "-O2"}


def build_library(rtl: Sequence[Path] | Mapping[str, str], top: str, *,
                  public_modules: Sequence[str] = ("*_column",), root: Path = BUILDS,
                  kind: str = LIBRARY) -> Path:
    """Build a library of a tile, with plain streams or on a bus, or return the one built before.

    Two processes may ask for the same library at once; one of them waits. A library that is not
    what was built, by its SHA-256, is built again.

    Parameters
    ----------
    rtl, top, public_modules, root
        As for :func:`cimforge_verif.sim.build.build`.
    kind : str
        :data:`BUS`: of a tile on a bus, for :class:`.bus.BatchTransport`. :data:`PROGRAM`: the
        harness written by hand that the library is measured against.

    Returns
    -------
    Path
        Of the library or program.

    Raises
    ------
    ToolError
        If a tool is missing, ``root`` cannot be written, or the build fails; the message then has
        what the tools complained about.
    DataError
        If the Verilog has no such module.
    """
    tools = toolchain()
    sources = read_rtl(rtl)
    main, link = _KINDS[kind]
    harness = Path(__file__).with_name(main).read_text(encoding="utf-8")
    plan = BuildPlan(top, (*sorted(sources.items()), (main, harness)),
                     (*WAIVERS, *_FLAGS, *link, "-o", kind),
                     control_file(sources.values(), top, public_modules),
                     tuple(sorted(_MAKE.items())), tools.version)
    folder = Path(root).resolve() / f"lib-{plan.name}"
    record = {"top": top, "arguments": plan.arguments, "tools": tools.version}

    def compile() -> None:
        _compile(plan, folder, tools)
        record["sha256"] = _digest(folder / kind)

    build_once(folder, record, compile, lambda stamp: stamp["sha256"] == _digest(folder / kind))
    return folder / kind


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _compile(plan: BuildPlan, folder: Path, tools: Toolchain) -> None:
    files = write_sources(plan, folder)
    rtl = folder / "rtl"
    ports = [port for name, text in plan.sources if not name.endswith(".cpp")
             for port in module_ports(text).get(plan.top, ())]
    plain = [port for port in ports if port not in ("clk", "rst", "clear")
             and port.rpartition("__")[0] not in (*_INPUTS, "results")]
    (rtl / "ports.inc").write_text("".join(
        f'PORT("{port}", {port.replace("__", "___05F")})\n' for port in plain), encoding="utf-8")
    (rtl / "top.h").write_text(f'#include "V{plan.top}.h"\nusing Top = V{plan.top};\n',
                               encoding="utf-8")
    runtime = plan.runtime(folder.parent)
    runtime.lend(folder)
    log = folder / "build.log"
    environment = tools.environment(make=dict(plan.make))
    commands = (
        ["verilator", *plan.arguments, "-CFLAGS", f"-I{rtl}", "--Mdir", str(folder), "--top-module",
         plan.top, "--timescale", "1ns/1ps", *map(str, files)],
        ["make", "-C", str(folder), "-f", f"V{plan.top}.mk", "-j2"])
    with log.open("wb") as output:
        for command in commands:
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT,
                                  env=environment, check=False)
            if done.returncode:
                raise ToolError(f"building {plan.top} failed: {first_errors(log)}\nlog: {log}")
    runtime.keep(folder)
