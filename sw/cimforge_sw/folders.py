"""Output folders that are either there and whole, or not there."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from cimforge.spec.errors import DataError

__all__ = ["check_absent", "check_new", "new_entries", "new_folder", "real_folder"]

_UNFINISHED = ".new"


def real_folder(path: Path) -> Path:
    """Return where a path leads: a folder can be renamed to that, but not to a link.

    Raises
    ------
    DataError
        Links that lead in a circle.
    """
    try:
        real = path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a circle, before Python 3.13
        raise DataError(f"{path}: cannot be written: {error}") from error
    if real.is_symlink():
        raise DataError(f"{path}: cannot be written: its links lead in a circle")
    return real


def check_new(path: Path) -> None:
    """Refuse an output path where something is: nothing is ever overwritten or mixed.

    Raises
    ------
    DataError
        A file, a folder that is not empty, or one that nothing can take the place of.
    """
    real = real_folder(path)
    if real.is_dir():
        if any(real.iterdir()):
            raise DataError(f"{path}: already there and not empty; expected a new folder")
        if os.path.ismount(real):
            raise DataError(f"{path}: a file system is mounted there; expected a folder below it")
    elif real.exists():
        raise DataError(f"{path}: a file; expected a new folder")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` that takes its name when the block ends well.

    Its files and folders can then be read by everyone. What a run that was killed left of a
    temporary folder for the same path goes away.

    Raises
    ------
    DataError
        Something is at ``path`` already, or the file system refuses; nothing is left behind, no
        folder above ``path`` either that was not there before.
    """
    check_new(path)
    real = real_folder(path)
    with _writing(path, real.parent), _temporary(real.parent, real.name) as temporary:
        yield temporary
        _open_to_all(temporary)
        temporary.rename(real)


def check_absent(folder: Path, names: Sequence[str]) -> None:
    """Refuse names in a folder that something has already; an empty folder is nothing.

    Raises
    ------
    DataError
        Names the first one; or links that lead in a circle.
    """
    real = real_folder(folder)
    for name in names:
        path = real / name
        if path.is_symlink() or path.exists():
            empty = not path.is_symlink() and path.is_dir() and not any(path.iterdir())
            if empty and not os.path.ismount(path):
                continue
            raise DataError(f"{folder / name}: already there, and nothing is overwritten; expected "
                            f"another folder, or none of {', '.join(names)} in this one")


@contextmanager
def new_entries(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield a temporary folder in which the names are made; they move to ``folder`` at the end.

    Everyone can then read them. Other entries of ``folder`` stay as they are, but for what a run
    that was killed left of such a temporary folder.

    Raises
    ------
    DataError
        One of the names is taken, or the file system refuses; none of them is there then, and no
        folder that was not there before.
    """
    check_absent(folder, names)
    real = real_folder(folder)
    with _writing(folder, real), _temporary(real, "unfinished") as temporary:
        yield temporary
        check_absent(folder, names)
        _open_to_all(temporary)
        _move(temporary, real, names)


def _move(source: Path, target: Path, names: Sequence[str]) -> None:
    """Move all of the names, or none."""
    moved = []
    try:
        for name in names:
            if (target / name).is_dir():
                (target / name).rmdir()  # empty; a file could not take its place
            moved.append(name)
            (source / name).rename(target / name)
    except BaseException:
        for name in moved:
            if not (source / name).exists():
                (target / name).rename(source / name)
        raise


@contextmanager
def _writing(path: Path, folder: Path) -> Iterator[None]:
    """Make ``folder``; if the block fails, remove what of it was not there before, if it is empty.

    What file systems refuse is an error about ``path``.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    done = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
        done = True
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be written: {reason}") from error
    finally:
        for one in () if done else missing:  # the deepest first
            with suppress(OSError):  # not there, or somebody else's by now
                one.rmdir()


@contextmanager
def _temporary(parent: Path, name: str) -> Iterator[Path]:
    """Yield a folder in ``parent``, locked while this process lives; remove what is left of others.

    The lock is how the next run for the same name knows whose folder is whose: the system drops
    those of processes that are gone.
    """
    prefix = f".{name}."
    for left in parent.iterdir():
        if left.name.startswith(prefix) and left.name.endswith(_UNFINISHED):
            with suppress(OSError), _locked(left):
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix, suffix=_UNFINISHED))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        with suppress(OSError):  # without locks on this file system nobody removes it either
            stack.enter_context(_locked(folder))
        yield folder


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; an OSError where another process does."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _open_to_all(folder: Path) -> None:
    """Let everyone read: safetensors, and `tempfile`, write for their owner only."""
    folder.chmod(0o755)
    for entry in folder.rglob("*"):
        if not entry.is_symlink():
            entry.chmod(0o755 if entry.is_dir() else 0o644)
