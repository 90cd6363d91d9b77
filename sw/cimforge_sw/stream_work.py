"""What a streamed run leaves on disk while it runs, so that an interrupted one can go on."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cimforge.spec.errors import DataError
from cimforge.spec.files import write_atomic

__all__ = ["DoneBlock", "Progress", "StateFiles", "file_digest"]

_PROGRESS = "progress.json"
_VERSION = 1


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class StateFiles:
    """Hidden states between two blocks, on disk, batch after batch.

    They are written once and read once, in order; small ones never leave the page cache.

    Parameters
    ----------
    folder : Path
    shapes : sequence of (int, int)
        [B, T] of every batch.
    """

    def __init__(self, folder: Path, shapes: Sequence[tuple[int, int]]):
        self._folder = folder
        self._shapes = list(shapes)

    def path(self, index: int) -> Path:
        """Return the file of what block ``index`` is given."""
        return self._folder / f"states-{index:05d}.bin"

    def read(self, index: int) -> Iterator[Tensor]:
        """Yield float32 states [B, T, H] of every batch."""
        path = self.path(index)
        width = path.stat().st_size // (4 * sum(b * t for b, t in self._shapes))
        with path.open("rb") as file:
            for rows, length in self._shapes:
                flat = np.fromfile(file, dtype="<f4", count=rows * length * width)
                yield torch.from_numpy(flat).reshape(rows, length, width)

    def write(self, index: int, states: Iterator[Tensor]) -> None:
        """Write states of every batch; the file has its name only when it is whole.

        Raises
        ------
        DataError
            States of another shape: XLNet has its tokens first, [T, B, H].
        """
        path = self.path(index)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            for shape, batch in zip(self._shapes, states, strict=True):
                if batch.ndim != 3 or tuple(batch.shape[:2]) != shape:
                    raise DataError(f"block {index} is given states {list(batch.shape)}, but "
                                    f"streaming wants [{shape[0]}, {shape[1]}, H]; load the model "
                                    "whole instead")
                batch.to(torch.float32).contiguous().numpy().tofile(file)
        part.replace(path)

    def remove(self, index: int) -> None:
        """Remove a file that is no longer needed."""
        self.path(index).unlink(missing_ok=True)


@dataclass(frozen=True)
class DoneBlock:
    """A block that is written.

    Parameters
    ----------
    file : str
        Name of its shard.
    sha256 : str
    zeros, weights : int
        Of its linear layers.
    """

    file: str
    sha256: str
    zeros: int
    weights: int


class Progress:
    """The record of a run in its work folder: what was asked for, and which blocks are done.

    A context: where it ends without a block done, the folder goes too.

    Parameters
    ----------
    folder : Path
        Created if missing.
    job : dict
        Everything that the result depends on, as JSON knows it.

    Attributes
    ----------
    blocks : list of DoneBlock
        Found whole on disk, with the hidden states that the next block needs; else empty.

    Raises
    ------
    DataError
        The folder belongs to another job, or cannot be written.
    """

    def __init__(self, folder: Path, job: dict[str, Any]):
        self.folder = folder
        self._job = hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()
        self.blocks: list[DoneBlock] = []
        path = folder / _PROGRESS
        if path.is_file():
            self._resume(path)
        elif folder.exists():
            raise DataError(f"{folder}: expected the work folder of an interrupted run, but it has "
                            f"no {_PROGRESS}; remove it")
        else:
            self._write({})

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if not self.blocks:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _resume(self, path: Path) -> None:
        try:
            raw = json.loads(path.read_text())
            job, files = raw["job"], dict(raw["states"])
            blocks = [DoneBlock(**entry) for entry in raw["blocks"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: damaged; remove {self.folder}, which starts anew") from error
        if not blocks:  # the run ended at once, with a power cut for example
            self._write({})
            return
        if raw.get("version") != _VERSION or job != self._job:
            raise DataError(f"{self.folder}: an interrupted run of another job (model, plan, texts "
                            "or options differ); finish that one, or remove the folder")
        files |= {block.file: block.sha256 for block in blocks}
        for name, digest in files.items():
            file = self.folder / name
            if not file.is_file() or file_digest(file) != digest:
                return  # what comes after cannot be trusted: all blocks are done again
        self.blocks = blocks

    def add(self, block: DoneBlock, states: Path | None) -> None:
        """Record a block as done; ``states`` is the file that the next one needs."""
        self.blocks.append(block)
        self._write({} if states is None else {states.name: file_digest(states)})

    def _write(self, states: dict[str, str]) -> None:
        record = {"version": _VERSION, "job": self._job, "states": states,
                  "blocks": [asdict(block) for block in self.blocks]}
        write_atomic(self.folder / _PROGRESS, json.dumps(record, indent=1).encode())

    def finish(self, out: Path) -> None:
        """Give the work folder its final name, and remove the states and the record."""
        for stray in ("states-*", f".{_PROGRESS}.*"):
            for path in self.folder.glob(stray):
                path.unlink()
        try:
            self.folder.rename(out)
        except OSError as error:
            raise DataError(f"{out}: cannot be written: {error.strerror}") from error
        with suppress(OSError):
            (out / _PROGRESS).unlink()
