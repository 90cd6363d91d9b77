"""Gates that read emitted Verilog without simulating it; each returns what it complained about."""

import re
import subprocess
import tempfile
from pathlib import Path

from cimforge_verif.sim.toolchain import toolchain

__all__ = ["iverilog_errors", "slang_errors", "verilator_warnings", "yosys_errors"]

# What Amaranth and Yosys write by design (CONTRIBUTING.md); anything else is a defect.
_WAIVED = ("CASEINCOMPLETE", "WIDTHEXPAND", "WIDTHTRUNC", "PROCASSINIT", "DECLFILENAME")
# Yosys keeps a wire for every name that Amaranth gave a net, read or not. An unused *port* or
# register is a defect, unless it is here.
_UNUSED_PORTS = {
    "rst": "a module whose flip-flops need no reset",
    "vectors__steps": "only pair knows more than one step",
    "steps": "only pair knows more than one step",
    "first": "bit-parallel: every slice is the first",
    "last": "bit-parallel: every slice is the last",
    "bank": "one weight bank",
    "write_row": "rows are 16-bit fields of a command, checked before",
    "awprot": "registers are open to every kind of access",
    "arprot": "registers are open to every kind of access",
    "awaddr": "registers are words: the low two bits say nothing",
    "araddr": "registers are words: the low two bits say nothing",
    "read_row": "rows are 16-bit fields of a command, checked before",
}
_UNUSED = re.compile(r"%Warning-UNUSEDSIGNAL: \S+?:(\d+):\d+: .*'([^']+)'")

def _run(command: list[str], text: str, env=None) -> tuple[int, str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "design.v"
        path.write_text(text, encoding="utf-8")
        done = subprocess.run([str(path) if word == "FILE" else word for word in command],
                              capture_output=True, text=True, env=env, timeout=300, check=False)
        return done.returncode, (done.stdout + done.stderr).replace(folder, "")


def verilator_warnings(text: str, top: str) -> list[str]:
    """Return every warning and error of ``-Wall`` but the waived ones."""
    waivers = [f"-Wno-{name}" for name in _WAIVED]
    status, output = _run(["verilator", "--lint-only", "-Wall", "-Wno-fatal", *waivers,
                           "--top-module", top, "FILE"], text, toolchain().environment())
    found = [line for line in output.splitlines() if line.startswith(("%Warning", "%Error"))
             and not _by_design(line, text.splitlines())]
    return found or ([output] if status else [])


def _by_design(warning: str, lines: list[str]) -> bool:
    match = _UNUSED.match(warning)
    if not match:
        return False
    declaration = lines[int(match[1]) - 1].split()
    return declaration[0] == "wire" or (
        declaration[0] == "input" and match[2].strip() in _UNUSED_PORTS)


def slang_errors(text: str, top: str) -> list[str]:
    """Return every error of parsing and elaborating with slang."""
    from pyslang import Bag, DiagnosticEngine, SourceManager, ast, syntax

    tree = syntax.SyntaxTree.fromText(text, SourceManager(), "design.v", "design.v")
    options = ast.CompilationOptions()
    options.topModules = {top}
    compilation = ast.Compilation(Bag([options]))
    compilation.addSyntaxTree(tree)
    engine = DiagnosticEngine(tree.sourceManager)
    return [engine.formatMessage(found) for found in compilation.getAllDiagnostics()
            if found.isError()]


def iverilog_errors(text: str, top: str) -> list[str]:
    """Return what Icarus Verilog says about a text it should read in silence."""
    status, output = _run(["iverilog", "-g2012", "-tnull", "-s", top, "FILE"], text)
    return output.splitlines() or ([f"status {status}"] if status else [])


def yosys_errors(text: str, top: str) -> list[str]:
    """Return the problems that ``hierarchy -check`` and ``check -assert`` find."""
    script = f"read_verilog FILE; hierarchy -check -top {top}; proc; check -assert"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "design.v"
        path.write_text(text, encoding="utf-8")
        done = subprocess.run(["yosys", "-q", "-p", script.replace("FILE", str(path))],
                              capture_output=True, text=True, timeout=600, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    found = [line for line in lines if line.startswith(("ERROR", "Warning"))]
    return found or ([f"status {done.returncode}"] if done.returncode else [])
