"""Vectors on disk: arrays in ``vectors.npz``, the rest in a readable, sealed manifest.

The manifest is written last and holds the digest of the archive, of every array and of itself, so a
set that was interrupted, cut or changed is refused rather than misread.
"""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.files import read_bytes, write_atomic

__all__ = ["FORMAT", "load_sealed", "save_sealed"]

#: Bump when a reader of the old files would misread the new ones.
FORMAT = 2
_KEYS = ("archive", "arrays", "config", "config_digest", "format", "sha256")

_Config = DcimConfig | AnalogConfig


def save_sealed(folder: str | Path, config: _Config, arrays: Mapping[str, np.ndarray],
                rest: Mapping[str, Any]) -> None:
    """Write ``vectors.npz``, then ``manifest.json``, each whole or not at all.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    config : DcimConfig or AnalogConfig
        The hardware that the vectors are for.
    arrays : mapping of str to ndarray
    rest : mapping
        What else the manifest says, as JSON can.

    Raises
    ------
    DataError
        A file that cannot be written.
    """
    folder, buffer = Path(folder), io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **dict(arrays))
    manifest = {"format": FORMAT, "archive": hashlib.sha256(buffer.getvalue()).hexdigest(),
                "config": config.to_dict(), "config_digest": config.digest,
                "arrays": {name: _describe(array) for name, array in arrays.items()}, **rest}
    text = _sealed(manifest)
    write_atomic(folder / "vectors.npz", buffer.getvalue())
    write_atomic(folder / "manifest.json", text)


def load_sealed(folder: str | Path, config: _Config, arrays: Sequence[str], keys: Sequence[str],
                counters: Sequence[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read back what :func:`save_sealed` wrote.

    Parameters
    ----------
    folder : path
    config : DcimConfig or AnalogConfig
        The hardware they are wanted for.
    arrays, keys, counters : sequence of str
        Names of the arrays, of the manifest's other keys, and of what ``"counters"``, one of
        these, may hold.

    Returns
    -------
    manifest : dict
    arrays : dict of str to ndarray

    Raises
    ------
    DataError
        If files are missing, damaged, of another format, or made for other hardware.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder / "manifest.json", config, keys, counters)
    path = folder / "vectors.npz"
    data = read_bytes(path)
    found = _read_arrays(path, data, arrays)
    for name in arrays:
        wanted, got = manifest["arrays"].get(name), _describe(found[name])
        if wanted != got:
            raise DataError(f"{path}: {name} is not what manifest.json says: expected "
                            f"{wanted}, got {got}")
    digest = hashlib.sha256(data).hexdigest()
    if digest != manifest["archive"]:  # not in the arrays, but in what is around them
        raise DataError(f"{path}: damaged: expected SHA-256 {manifest['archive']}, "
                        f"got {digest}")
    return manifest, found


def _describe(array: np.ndarray) -> dict:
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "sha256": digest}


def _sealed(manifest: dict) -> bytes:
    """Return the text of a manifest with the SHA-256 of everything else in it."""
    rest = {name: value for name, value in manifest.items() if name != "sha256"}
    text = json.dumps(rest, sort_keys=True)
    sealed = {**rest, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    return (json.dumps(sealed, indent=2, sort_keys=True) + "\n").encode()


def _read_manifest(path: Path, config: _Config, keys: Sequence[str], counters: Sequence[str]
                   ) -> dict:
    try:
        data = read_bytes(path)
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a manifest of vectors: {error}") from error
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise DataError(f"{path}: not a manifest of vectors: it has no format")
    if manifest["format"] != FORMAT:
        raise DataError(f"{path}: vector format must be {FORMAT}, not {manifest['format']!r}")
    missing = {*_KEYS, *keys} - set(manifest)
    if missing:
        raise DataError(f"{path}: not a manifest of vectors: it lacks "
                        f"{', '.join(sorted(missing))}")
    if manifest["config"] != config.to_dict() or manifest["config_digest"] != config.digest:
        raise DataError(f"{path}: made for other hardware: wanted configuration {config.digest}, "
                        f"got {manifest['config_digest']}; {_differences(config, manifest)}")
    unknown = sorted(set(manifest["counters"]) - set(counters)) if isinstance(
        manifest["counters"], dict) else [manifest["counters"]]
    if unknown:
        raise DataError(f"{path}: counters must be among {', '.join(counters)}, not {unknown}")
    if data != _sealed(manifest):
        raise DataError(f"{path}: changed: it is not the text with SHA-256 "
                        f"{manifest['sha256']!r} that was written")
    return manifest


def _differences(config: _Config, manifest: dict) -> str:
    theirs = manifest["config"] if isinstance(manifest["config"], dict) else {}
    text = [f"{name} is {theirs.get(name)!r}, not {value!r}"
            for name, value in config.to_dict().items() if theirs.get(name) != value]
    return ", ".join(text) or "its parameters are the same, so the manifest was changed"


def _read_arrays(path: Path, data: bytes, names: Sequence[str]) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            if sorted(file.files) != sorted(names):
                raise DataError(f"{path}: must hold {', '.join(names)}, not "
                                f"{', '.join(file.files)}")
            return {name: file[name] for name in names}
    except DataError:
        raise
    except (ValueError, OSError, EOFError, KeyError, AttributeError, zipfile.BadZipFile,
            NotImplementedError, RuntimeError, zlib.error) as error:
        raise DataError(f"{path}: damaged or cut: {error}") from error
