"""Yosys: one module at a time into cells of a library, its children left as they are."""

import hashlib
import json
import re
import subprocess
from pathlib import Path

from cimforge.spec.errors import DataError, ToolError
from cimforge.synth.adders import with_adders
from cimforge.synth.liberty import Library
from cimforge.synth.netlist import Netlist

__all__ = ["BUILDS", "children", "modules", "synthesize", "yosys_version"]

#: Where netlists are kept, relative to the current folder.
BUILDS = Path("build") / "synth"

# Yosys's own script for abc does not finish on multiplier arrays; this one maps by area and depth.
# It does not buffer, as abc would take the buffers of the clock: :mod:`cimforge.synth.fanout` does.
_ABC = "+strash;&get,-n;&dch,-f;&nf;&put;topo;stime,-p"
_MODULE = re.compile(r"^module (\w+)\(.*?^endmodule", re.MULTILINE | re.DOTALL)
_INSTANCE = re.compile(r"^  (\w+) \w+ \($", re.MULTILINE)


def modules(verilog: str) -> dict[str, str]:
    """Return the text of every module of an emitted design, by name."""
    return {match[1]: match[0] for match in _MODULE.finditer(verilog)}


def children(text: str, known: dict[str, str]) -> dict[str, int]:
    """Return how often each known module is instantiated in the text of one."""
    counts: dict[str, int] = {}
    for match in _INSTANCE.finditer(text):
        if match[1] in known:
            counts[match[1]] = counts.get(match[1], 0) + 1
    return dict(sorted(counts.items()))


def _script(top: str, opaque: list[str], library: Library) -> str:
    quoted = f'"{library.path.resolve()}"'
    return "\n".join([
        f"read_liberty -lib -ignore_miss_func {quoted}",
        "read_verilog design.v",
        *(f"blackbox {name}" for name in opaque),
        f"hierarchy -top {top}",
        f"synth -flatten -noabc -top {top} -run :fine",
        "techmap -map memory_map.v",
        f"synth -noabc -top {top} -run fine:check",
        f"dfflibmap -liberty {quoted}",
        f"abc -liberty {quoted} -script {_ABC}",
        "opt_clean -purge",
        f"tee -q -o area.txt stat -liberty {quoted}",
        "write_json netlist.json", "",
    ])


def yosys_version() -> str:
    """Return the name and version of the installed yosys, or raise ToolError."""
    try:
        done = subprocess.run(["yosys", "-V"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ToolError("yosys is not installed, synthesis needs it: Debian package yosys "
                        "(make apt)") from error
    return done.stdout.strip()


def synthesize(verilog: str, top: str, library: Library, *, flat: bool = False,
               adder: str = "", root: Path = BUILDS) -> Netlist:
    """Map one module of an emitted design, or return what was mapped before.

    Parameters
    ----------
    verilog : str
        All modules, as :mod:`cimforge_hw.emit` writes them.
    top : str
        The module.
    library : Library
    flat : bool
        Its children, too, as one module; else they stay instances.
    adder : str
        The module that is a full adder, if there is one: the library's takes its place.
    root : Path
        Folder of the netlists; each has the digest of all that shapes it.

    Raises
    ------
    ToolError
        There is no yosys, or it fails; the message then has the end of its log.
    DataError
        The design has no such module.
    """
    from cimforge_verif.sim.build import build_once

    known = with_adders(modules(verilog), adder, library)
    if top not in known:
        raise DataError(f"the design has no module {top!r}, but {', '.join(known)}")
    below = list(known) if flat else list(children(known[top], known))
    opaque = [] if flat else [name for name in below if name != adder]
    text = "\n".join(known[name] for name in dict.fromkeys((top, *below)))
    script = _script(top, opaque, library)
    memories = (Path(__file__).parent / "memory_map.v").read_text(encoding="utf-8")
    state = [script, text, memories, yosys_version(), library.path.read_bytes().hex()]
    digest = hashlib.sha256("\0".join(state).encode()).hexdigest()[:12]
    folder = Path(root).resolve() / f"{top}{'-flat' if flat else ''}-{digest}"

    def compile() -> None:
        for name, content in (("design.v", text), ("memory_map.v", memories), ("run.ys", script)):
            (folder / name).write_text(content, encoding="utf-8")
        _run(folder, top)

    build_once(folder, {"top": top, "yosys": yosys_version()}, compile)
    return Netlist.load(folder / "netlist.json", top, library)


def _run(folder: Path, top: str) -> None:
    """Run the script of a folder."""
    done = subprocess.run(["yosys", "-q", "-l", "log.txt", "run.ys"], cwd=folder,
                          capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-8:]
        raise ToolError(f"yosys cannot map {top}: " + "\n".join(said) + f"\nlog: {folder}/log.txt")
    try:
        json.loads((folder / "netlist.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ToolError(f"yosys wrote no netlist of {top}: {error}") from error
