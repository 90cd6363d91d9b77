"""What a search has measured so far, on disk: an interrupted one goes on where it stopped."""

import hashlib
import json
from pathlib import Path

from cimforge.spec.errors import DataError
from cimforge.spec.files import write_atomic

__all__ = ["Journal"]


class Journal:
    """Losses by plan; with a file, every new one is appended at once.

    Parameters
    ----------
    path : Path, optional
        JSON lines: a header with the digest of what the losses depend on, then one per loss. A line
        that an interruption cut short is dropped.
    about : str
        What the losses depend on besides the plan: model, text, patterns.

    Raises
    ------
    DataError
        A file that belongs to another search, or cannot be read or written.
    """

    def __init__(self, path: Path | None = None, about: str = ""):
        self.path, self.losses = path, dict[str, float]()
        if path is None:
            return
        digest = hashlib.sha256(about.encode()).hexdigest()
        try:
            if path.exists() and "\n" in path.read_text(encoding="utf-8", errors="replace"):
                self._load(path, digest)
            else:  # none, or one that was cut short before its header was whole
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"search": digest}) + "\n", encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path}: cannot keep the search's journal: {error.strerror}"
                            ) from error

    def _load(self, path: Path, digest: str) -> None:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        try:
            header = json.loads(whole[0])
            entries = [json.loads(line) for line in whole[1:]]
            self.losses = {str(key): float(loss) for key, loss in entries}
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: not a journal of a search: {error}") from error
        if not isinstance(header, dict) or header.get("search") != digest:
            raise DataError(f"{path}: the journal of another search (model, text, target or "
                            "candidates differ); remove it to start anew")
        write_atomic(path, "".join(whole).encode())  # without a line cut short

    def add(self, key: str, loss: float) -> None:
        """Keep one loss."""
        self.losses[key] = loss
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, loss]) + "\n")
