"""The zoo's text: the Python standard library's own sources, split by file into three parts."""

import gzip
import hashlib
import lzma
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cimforge.spec.errors import DataError
from cimforge_sw.zoo.duplicates import repeated

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
    test_names : tuple of str
        Of the test files, relative to the library's folder.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    digest: str
    python: str
    test_names: tuple[str, ...]

    @cached_property
    def repeated(self) -> tuple[str, ...]:
        """Names of test files that repeat training files, see `repeated`."""
        return tuple(repeated(dict(zip(self.test_names, self.test, strict=True)), self.train))

    @property
    def unseen(self) -> dict[str, str]:
        """The other test files by name, whole: what scores are quoted on.

        Raises
        ------
        DataError
            There are none.
        """
        found = {name: text for name, text in zip(self.test_names, self.test, strict=True)
                 if name not in self.repeated}
        if not found:
            raise DataError(f"each of {len(self.test)} held-out files repeats training files; "
                            "expected at least one to score a model on")
        return found


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
    parts: dict[str, dict[str, str]] = {"train": {}, "validation": {}, "test": {}}
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        name = path.relative_to(root).as_posix()
        if _LEFT_OUT & set(name.split("/")) or path.name.startswith("_sysconfigdata"):
            continue
        content = path.read_bytes()
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
        text = content.decode("utf-8", errors="replace")
        if text.strip():
            parts[_part(name)][name] = text
    empty = [name for name, texts in parts.items() if not texts]
    if empty:
        raise DataError(f"{root}: expected the sources of a Python standard library, found no "
                        f"file for {' and '.join(empty)}")
    train, validation, test = (tuple(parts[name].values()) for name in parts)
    return Corpus(train, validation, test, digest.hexdigest(), sysconfig.get_python_version(),
                  tuple(parts["test"]))


def compressed_bits_per_byte(texts: Sequence[str]) -> dict[str, float]:
    """Return what gzip -9 and xz -9e need per byte of all texts in one: what a model must beat."""
    data = "".join(texts).encode()
    sizes = {"gzip": gzip.compress(data, 9),
             "xz": lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)}
    return {name: 8 * len(packed) / len(data) for name, packed in sizes.items()}
