"""Verilator's own C++, compiled once for all builds with the same tools and flags.

It is the same for every design, and takes longer to compile than a small block.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Runtime"]

_OBJECTS = ("verilated.o", "verilated_cov.o", "verilated_dpi.o", "verilated_threads.o",
            "verilated_vpi.o")
_SUMS = "sha256.json"
_DAY = 86400


class Runtime:
    """A folder of objects beside the builds.

    Parameters
    ----------
    root : Path
        Folder of the builds.
    shape : sequence of str
        Whatever decides what the objects contain: tools and flags.
    """

    def __init__(self, root: Path, shape: Sequence[str]):
        digest = hashlib.sha256(json.dumps(list(shape)).encode()).hexdigest()[:12]
        self._folder = root / f"runtime-{digest}"

    def lend(self, folder: Path) -> None:
        """Copy the objects into a build's empty folder, where make will find them up to date.

        They are dated a day ahead: Verilator's makefile wants them newer than itself, and is yet to
        be written. Damaged ones are thrown away.
        """
        if not self._whole():
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        with contextlib.suppress(OSError):  # gone by now: make compiles
            for path in self._folder.glob("*.o"):
                shutil.copyfile(path, folder / path.name)
                os.utime(folder / path.name, (time.time() + _DAY,) * 2)

    def _whole(self) -> bool:
        try:
            sums = json.loads((self._folder / _SUMS).read_text(encoding="utf-8"))
            return sums == {path.name: _digest(path) for path in self._folder.glob("*.o")} != {}
        except (OSError, ValueError):
            return False

    def keep(self, folder: Path) -> None:
        """Take the objects of a finished build, unless there are some."""
        if self._folder.exists():
            return
        made = [folder / name for name in _OBJECTS if (folder / name).is_file()]
        with contextlib.suppress(OSError), tempfile.TemporaryDirectory(
                prefix=".runtime-", dir=self._folder.parent) as scratch:
            whole = Path(scratch) / "whole"
            whole.mkdir()
            for path in made:
                shutil.copyfile(path, whole / path.name)
            (whole / _SUMS).write_text(json.dumps({path.name: _digest(path) for path in made}),
                                       encoding="utf-8")
            whole.rename(self._folder)  # fails if another build was faster, whose are as good


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
