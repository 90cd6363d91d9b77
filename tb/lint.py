"""Gates that read emitted Verilog without simulating it; each returns what it complained about."""

import re
import subprocess
import tempfile
from pathlib import Path

from cimforge_verif.sim.toolchain import toolchain

__all__ = ["iverilog_errors", "slang_errors", "verilator_warnings", "yosys_errors"]

# What Amaranth and Yosys write by design (04-toolchain.md); anything else is a defect.
_WAIVED = ("CASEINCOMPLETE", "WIDTHEXPAND", "WIDTHTRUNC", "PROCASSINIT", "DECLFILENAME")
_GENERATED = re.compile(r"%Warning-UNUSEDSIGNAL:.*'(?:\\*\$|[^']*\$)[^']*'")


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
             and not _GENERATED.match(line)]
    return found or ([output] if status else [])


def slang_errors(text: str, top: str) -> list[str]:
    """Return every error of parsing and elaborating with slang."""
    import pyslang

    tree = pyslang.SyntaxTree.fromText(text, "design.v", "design.v")
    options = pyslang.CompilationOptions()
    options.topModules = {top}
    compilation = pyslang.Compilation(pyslang.Bag([options]))
    compilation.addSyntaxTree(tree)
    engine = pyslang.DiagnosticEngine(tree.sourceManager)
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
