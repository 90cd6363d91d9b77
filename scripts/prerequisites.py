"""What the host must provide before anything is installed, and which Debian package provides it.

Standard library only, and readable by Pythons older than the one asked for: its first duty is to
say so in a sentence.
"""

import ctypes
import ctypes.util
import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path

MINIMUM_PYTHON = (3, 11)


def has_python():
    """Return whether this interpreter is new enough."""
    return sys.version_info[:2] >= MINIMUM_PYTHON


def has_venv():
    """Return whether ``python -m venv`` can work; Debian ships ``ensurepip`` separately."""
    return all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))


def has_command(name):
    """Return whether a command of this name is on PATH."""
    return shutil.which(name) is not None


def libpython_names():
    """Return the shared library's possible file names, formed as ``find_libpython`` does."""
    configured = [sysconfig.get_config_var(key) for key in ("INSTSONAME", "LDLIBRARY")]
    names = [name for name in configured if name and ".so" in name]
    return [*names, "libpython{}.{}.so".format(*sys.version_info[:2])]


def has_libpython():
    """Return whether the simulator will find this interpreter's shared library.

    Follows ``find_libpython``, which cocotb asks: an explicit ``LIBPYTHON_LOC``, the loader, the
    configured folders, then the linker's cache.
    """
    if os.environ.get("LIBPYTHON_LOC"):
        return Path(os.environ["LIBPYTHON_LOC"]).is_file()
    names = libpython_names()
    folders = [sysconfig.get_config_var(key) for key in ("LIBPL", "LIBDIR")]
    folders.append(f"{sys.base_prefix}/lib")
    paths = (Path(folder) / name for folder in folders if folder for name in names)
    if any(path.is_file() for path in paths) or any(loads(name) for name in names):
        return True
    return ctypes.util.find_library("python{}.{}".format(*sys.version_info[:2])) is not None


def loads(name):
    """Return whether the dynamic loader finds a library."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


LIBPYTHON_PACKAGE = "libpython{}.{}".format(*sys.version_info[:2])

# What is looked for -> (how it is called in the message, its Debian package, the probe).
PROBES = {
    "python": ("Python {}.{} or newer".format(*MINIMUM_PYTHON), "python3", has_python),
    "venv": ("the Python modules venv and ensurepip", "python3-venv", has_venv),
    "libpython": ("the shared Python library", LIBPYTHON_PACKAGE, has_libpython),
    "g++": ("g++", "g++", lambda: has_command("g++")),
    "make": ("make", "make", lambda: has_command("make")),
    "perl": ("perl", "perl", lambda: has_command("perl")),
}
ALWAYS = ("python", "venv")
SIMULATION = ("libpython", "g++", "make", "perl")


def missing(names, probes=None):
    """Return ``(description, package)`` of every prerequisite that is not there."""
    probes = PROBES if probes is None else probes
    return [probes[name][:2] for name in names if not probes[name][2]()]


def message(absent):
    """Return what a user reads: everything that is missing, and one command that installs it."""
    width = max(len(text) for text, _ in absent)
    lines = [f"  {text:<{width}}  Debian package {package}" for text, package in absent]
    packages = " ".join(package for _, package in absent)
    return "\n".join([
        "cimforge: these prerequisites are missing; nothing was built:",
        *lines,
        f"On Debian: apt-get install {packages}",
    ])
