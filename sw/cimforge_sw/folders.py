"""Output folders that are either there and whole, or not there."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cimforge.spec.errors import DataError

__all__ = ["check_absent", "check_new", "new_entries", "new_folder"]


def check_new(path: Path) -> None:
    """Refuse an output path where something is: nothing is ever overwritten or mixed.

    Raises
    ------
    DataError
        A file, or a folder that is not empty.
    """
    if path.is_dir():
        if any(path.iterdir()):
            raise DataError(f"{path}: already there and not empty; expected a new folder")
    elif path.exists():
        raise DataError(f"{path}: a file; expected a new folder")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` that takes its name when the block ends well.

    Raises
    ------
    DataError
        Something is at ``path`` already, or the file system refuses; nothing is left behind.
    """
    check_new(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        yield temporary
        temporary.chmod(0o755)
        for file in temporary.iterdir():
            file.chmod(0o644)  # safetensors writes for its owner only
        temporary.rename(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def check_absent(folder: Path, names: Sequence[str]) -> None:
    """Refuse names in a folder that something has already; an empty folder is nothing.

    Raises
    ------
    DataError
        Names the first one.
    """
    for path in (folder / name for name in names):
        if path.is_symlink() or path.exists():
            if not path.is_symlink() and path.is_dir() and not any(path.iterdir()):
                continue
            raise DataError(f"{path}: already there, and nothing is overwritten; expected another "
                            "folder, or none of " + ", ".join(names) + " in this one")


@contextmanager
def new_entries(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield a temporary folder in which the names are made; they move to ``folder`` at the end.

    Other entries of ``folder`` stay as they are.

    Raises
    ------
    DataError
        One of the names is taken, or the file system refuses; none of them is there then.
    """
    check_absent(folder, names)
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".unfinished."))
        yield temporary
        check_absent(folder, names)
        for name in names:
            (temporary / name).rename(folder / name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
