"""Files that are either there and whole, or not there."""

import os
import tempfile
from pathlib import Path

from cimforge.spec.errors import DataError

__all__ = ["check_writable", "read_bytes", "shipped", "write_atomic"]


def shipped(folder: str) -> Path:
    """Return a folder of data that ships with the project, ``"configs"`` for instance.

    It lies in the installed package, or in the repository beside it.
    """
    package = Path(__file__).parents[1]
    installed = package / folder
    return installed if installed.is_dir() else package.parent / folder


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside it and rename it: nobody sees half of it.

    Raises
    ------
    DataError
        If the file system refuses; the old file is then still there.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.",
                                         delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be written: {reason}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Refuse an output folder that could not be written to, before the long work; nothing is left.

    Raises
    ------
    DataError
        If it, or the nearest folder above it that exists, is a file or takes no files.
    """
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not nearest.is_dir():
            raise DataError(f"{folder}: cannot be written: {nearest} is a file, expected a folder")
        with tempfile.TemporaryFile(dir=nearest):
            pass  # asking for permissions would say yes to root on a read-only disk
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}") from error


def read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
