"""Results of layers on disk, so that an interrupted run goes on."""

import hashlib
import io
import json
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from cimforge.spec.files import write_atomic

__all__ = ["ResultStore"]


class ResultStore:
    """Accumulators of layers, by the digest of everything that shapes them.

    Parameters
    ----------
    folder : Path
    about : dict
        Hardware and options, as JSON can say them.
    """

    def __init__(self, folder: Path, about: dict[str, Any]):
        self._folder, self._about = Path(folder), json.dumps(about, sort_keys=True)

    def _path(self, name: str, weight: np.ndarray, x: np.ndarray) -> Path:
        digest = hashlib.sha256(self._about.encode())
        for array in (weight, x):
            digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return self._folder / f"{name}-{digest.hexdigest()[:16]}.npz"

    def load(self, name: str, weight: np.ndarray, x: np.ndarray
             ) -> tuple[dict[str, Any], np.ndarray] | None:
        """Return what was kept of a layer; None if nothing was, or nothing whole."""
        try:
            data = io.BytesIO(self._path(name, weight, x).read_bytes())
            with np.load(data, allow_pickle=False) as kept:
                record, y = json.loads(str(kept["record"])), kept["y"]
                if hashlib.sha256(y.tobytes()).hexdigest() != str(kept["sha256"]):
                    return None
                return record, y
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error):
            return None  # not there, cut, or changed: the layer runs again

    def save(self, name: str, weight: np.ndarray, x: np.ndarray, record: dict[str, Any],
             y: np.ndarray) -> None:
        """Keep the results of a layer."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, y=y, record=np.array(json.dumps(record)),
                            sha256=np.array(hashlib.sha256(y.tobytes()).hexdigest()))
        write_atomic(self._path(name, weight, x), buffer.getvalue())
