"""The import rules of the layers, checked on the source so that nobody has to remember them.

The contract is below everything, hw beside verif, sw on top of verif; only the front door
(``cimforge.api``, ``cli``, ``report``) sees all of them.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MODELS = {"torch", "transformers", "safetensors"}
LAYERS = {"cimforge_hw", "cimforge_sw", "cimforge_verif"}
HEAVY = ("torch", "transformers", "amaranth", "cocotb", "scipy", "dask", "distributed")

FORBIDDEN = {
    "hw/cimforge_hw": {"cimforge_sw", "cimforge_verif", "cocotb", *MODELS},
    "verif/cimforge_verif": {"cimforge_hw", "cimforge_sw", "amaranth", "cocotb", *MODELS},
    "sw/cimforge_sw": {"cimforge_hw", "amaranth", "cocotb"},
    "tb": {"cimforge_sw", "amaranth", *MODELS},
}
SPEC_MAY_IMPORT = set(sys.stdlib_module_names) | {"numpy", "yaml"}


def imported_modules(source):
    """Return the dotted name of every absolute import, ``from a import b`` as ``a.b``."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def inside(module, package):
    """Return whether a dotted name is a package or lies in it."""
    return f"{module}.".startswith(f"{package}.")


def violations(layer, source, name=""):
    """Return the imports of one file that its layer may not make."""
    modules = imported_modules(source)
    spec = {module for module in modules if inside(module, "cimforge.spec")}
    if layer == "cimforge/spec":
        return {m for m in modules - spec if m.partition(".")[0] not in SPEC_MAY_IMPORT}
    bad = {m for m in modules if m.partition(".")[0] in FORBIDDEN[layer]}
    bad |= {m for m in modules - spec if inside(m, "cimforge")}
    if layer == "tb" and not inside_simulator(name):
        bad -= {m for m in bad for package in ("compile", "analog")
                if inside(m, f"cimforge_sw.{package}")}
    elif layer == "tb":
        bad |= {m for m in modules if inside(m, "cimforge_hw")}
    if layer == "verif/cimforge_verif" and "/sim/" in name:
        bad -= {m for m in bad if inside(m, "cocotb")}
    return bad


def inside_simulator(name):
    """Return whether a file of ``tb`` is imported by the simulator: it sees Verilog only."""
    return Path(name).stem.endswith("_bench") or "/bfm/" in name


@pytest.mark.parametrize("layer", ["cimforge/spec", *FORBIDDEN])
def test_layer_imports(layer):
    for path in sorted((ROOT / layer).rglob("*.py")):
        bad = violations(layer, path.read_text(encoding="utf-8"), path.as_posix())
        assert not bad, f"{path.relative_to(ROOT)} imports {', '.join(sorted(bad))}"


@pytest.mark.parametrize(("layer", "source"), [
    ("cimforge/spec", "import torch"),
    ("cimforge/spec", "import rich.table"),
    ("cimforge/spec", "from cimforge import api"),
    ("cimforge/spec", "import cimforge_verif.golden"),
    ("hw/cimforge_hw", "def late():\n    import torch.nn"),
    ("hw/cimforge_hw", "from cimforge_verif import golden"),
    ("hw/cimforge_hw", "from cimforge_sw import nm"),
    ("hw/cimforge_hw", "from cimforge.api import prune"),
    ("verif/cimforge_verif", "import cimforge_hw"),
    ("verif/cimforge_verif", "from cimforge_sw.compile import plan"),
    ("verif/cimforge_verif", "from amaranth.hdl import Module"),
    ("verif/cimforge_verif", "import cocotb"),
    ("sw/cimforge_sw", "from cimforge_hw.emit import emit"),
    ("sw/cimforge_sw", "import amaranth"),
    ("sw/cimforge_sw", "from cocotb.triggers import Timer"),
    ("tb", "import cimforge_hw.emit"),
    ("tb", "import cimforge_sw"),
])
def test_a_forbidden_import_is_found(layer, source):
    assert violations(layer, source, "dot_bench.py")


@pytest.mark.parametrize(("layer", "source"), [
    ("cimforge/spec", "import json, numpy as np, yaml\nfrom cimforge.spec import nm"),
    ("cimforge/spec", "from . import nm"),
    ("hw/cimforge_hw", "from amaranth.hdl import Module\nfrom cimforge import spec"),
    ("verif/cimforge_verif", "import numpy\nfrom cimforge.spec.nm import Pattern"),
    ("sw/cimforge_sw", "import torch\nfrom cimforge_verif.golden import column"),
    ("tb", "from cimforge_hw.emit import emit"),
    ("tb", "from cimforge_sw.compile import compile_layer"),
])
def test_an_allowed_import_passes(layer, source):
    assert not violations(layer, source, "test_dot.py")


@pytest.mark.parametrize("module", ["cimforge", "cimforge.cli", "cimforge.api"])
def test_front_door_imports_nothing_heavy(module):
    code = f"import sys, {module}; print(*(n for n in {HEAVY!r} if n in sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env={"PYTHONPATH": ".:hw:sw:verif"}, capture_output=True, text=True, check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "", f"{module} imports {run.stdout.strip()} before it is needed"
