"""The zoo's text: the Python standard library's own sources, split by file into three parts."""

import gzip
import hashlib
import lzma
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from cimforge.spec.errors import DataError

__all__ = ["Corpus", "compressed_bits_per_byte", "load_corpus"]

# Debian puts these into packages of their own, so that not every machine has them; the documents
# of pydoc are no source code.
_LEFT_OUT = {"test", "tests", "site-packages", "dist-packages", "__pycache__", "idlelib", "lib2to3",
             "distutils", "tkinter", "turtledemo", "ensurepip", "pydoc_data"}


@dataclass(frozen=True)
class Corpus:
    """Source files by part; every file is in one part only.

    Parameters
    ----------
    train, validation, test : tuple of str
        Texts of whole files, in the order of their names. About 88, 4 and 8 % of the bytes.
    digest : str
        SHA-256 over names and contents, 64 hex digits: scores are comparable where it is equal.
    python : str
        Version the sources belong to.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    digest: str
    python: str


def _part(name: str) -> str:
    """Assign a file by its name alone: other Python versions agree on files they share."""
    bucket = hashlib.sha256(name.encode()).digest()[0]
    return "test" if bucket < 20 else "validation" if bucket < 30 else "train"


def load_corpus(folder: Path | None = None) -> Corpus:
    """Read the standard library of the running Python, tests and GUI toolkits left out.

    Raises
    ------
    DataError
        A folder in which one of the three parts would be empty.
    """
    root = folder or Path(sysconfig.get_paths()["stdlib"])
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        name = path.relative_to(root).as_posix()
        if _LEFT_OUT & set(name.split("/")) or path.name.startswith("_sysconfigdata"):
            continue
        content = path.read_bytes()
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
        text = content.decode("utf-8", errors="replace")
        if text.strip():
            parts[_part(name)].append(text)
    empty = [name for name, texts in parts.items() if not texts]
    if empty:
        raise DataError(f"{root}: expected the sources of a Python standard library, found no "
                        f"file for {' and '.join(empty)}")
    return Corpus(tuple(parts["train"]), tuple(parts["validation"]), tuple(parts["test"]),
                  digest.hexdigest(), sysconfig.get_python_version())


def compressed_bits_per_byte(texts: tuple[str, ...]) -> dict[str, float]:
    """Return what gzip -9 and xz -9e need per byte of all texts in one: what a model must beat."""
    data = "".join(texts).encode()
    sizes = {"gzip": gzip.compress(data, 9),
             "xz": lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)}
    return {name: 8 * len(packed) / len(data) for name, packed in sizes.items()}
