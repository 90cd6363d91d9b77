"""Test vectors of one layer on disk: arrays in ``.npz``, the rest in a readable manifest.

The manifest is written last and holds the digest of the archive, of every array and of itself, so a
set that was interrupted, cut or changed is refused rather than misread.
"""

import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from cimforge.spec.bits import bits_of, bytes_of
from cimforge.spec.commands import WORD_BYTES, encode
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.files import read_bytes, write_atomic
from cimforge.spec.program import LayerProgram
from cimforge.spec.timing import cycles
from cimforge_verif.hex_files import write_hex
from cimforge_verif.replay import Counters, replay

__all__ = ["FORMAT", "VectorSet", "make_vectors"]

#: Bump when a reader of the old files would misread the new ones.
FORMAT = 2
_ARRAYS = ("words", "weights", "acts", "results", "last", "y", "x")
_COUNTERS = ("cycles", *(counter.name for counter in fields(Counters)))
_KEYS = ("archive", "arrays", "config", "config_digest", "counters", "format", "layer", "origin",
         "seed", "sha256")


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorSet:
    """Streams of one layer and what the tile must answer.

    Attributes
    ----------
    config : DcimConfig
    layer : str
    words : ndarray of uint8, shape (commands, 16)
    weights : ndarray of uint8, shape (beats, ceil(weight_beat_bits / 8))
    acts : ndarray of uint8, shape (beats, ceil(act_port_bits / 8))
    results : ndarray of int64, shape (beats, out_port)
    last : ndarray of uint8, shape (beats,)
        1 for the last result beat of a command.
    y : ndarray of int64, shape (T, O)
    x : ndarray of int64, shape (T, K)
    counters : dict of str to int
        What the tile must have counted, ``cycles`` (with streams always ready) included.
    seed : int or None
        Of the inputs, where they were random.
    origin : dict
        Whatever else makes them again: model and its digest, plan, command.
    """

    config: DcimConfig
    layer: str
    words: np.ndarray
    weights: np.ndarray
    acts: np.ndarray
    results: np.ndarray
    last: np.ndarray
    y: np.ndarray
    x: np.ndarray
    counters: dict[str, int]
    seed: int | None = None
    origin: dict = field(default_factory=dict)

    def _manifest(self, archive: bytes) -> dict:
        return {
            "format": FORMAT, "archive": hashlib.sha256(archive).hexdigest(),
            "config": self.config.to_dict(), "config_digest": self.config.digest,
            "layer": self.layer, "seed": self.seed, "counters": self.counters,
            "origin": self.origin,
            "arrays": {name: _describe(getattr(self, name)) for name in _ARRAYS},
        }

    def save(self, folder: str | Path) -> None:
        """Write ``vectors.npz``, then ``manifest.json``, each whole or not at all."""
        folder, buffer = Path(folder), io.BytesIO()
        np.savez_compressed(buffer, **{name: getattr(self, name) for name in _ARRAYS})
        text = _sealed(self._manifest(buffer.getvalue()))
        write_atomic(folder / "vectors.npz", buffer.getvalue())
        write_atomic(folder / "manifest.json", text)

    @classmethod
    def load(cls, folder: str | Path, config: DcimConfig) -> "VectorSet":
        """Read a set back.

        Parameters
        ----------
        folder : path
        config : DcimConfig
            The hardware they are wanted for.

        Raises
        ------
        DataError
            If files are missing, damaged, of another format, or made for other hardware.
        """
        folder = Path(folder)
        manifest = _read_manifest(folder / "manifest.json", config)
        path = folder / "vectors.npz"
        data = read_bytes(path)
        arrays = _read_arrays(path, data)
        for name in _ARRAYS:
            wanted, got = manifest["arrays"].get(name), _describe(arrays[name])
            if wanted != got:
                raise DataError(f"{path}: {name} is not what manifest.json says: expected "
                                f"{wanted}, got {got}")
        digest = hashlib.sha256(data).hexdigest()
        if digest != manifest["archive"]:  # not in the arrays, but in what is around them
            raise DataError(f"{path}: damaged: expected SHA-256 {manifest['archive']}, "
                            f"got {digest}")
        keep = {name: manifest[name] for name in ("layer", "counters", "seed", "origin")}
        return cls(config=config, **arrays, **keep)

    def export_hex(self, folder: str | Path) -> dict[str, Path]:
        """Write the streams as ``$readmemh`` files, one whole payload per line.

        In ``results`` the top bit of a line is the ``last`` flag of the beat.

        Returns
        -------
        dict of str to Path
            ``commands``, ``weights``, ``acts`` and ``results``.
        """
        config = self.config
        lanes = bits_of(self.results, config.acc_bits).reshape(len(self.results), -1)
        bits = np.concatenate([lanes, self.last[:, None]], axis=1)
        streams = {"commands": (self.words, 8 * WORD_BYTES),
                   "weights": (self.weights, config.weight_beat_bits),
                   "acts": (self.acts, config.act_port_bits),
                   "results": (bytes_of(bits), config.out_port * config.acc_bits + 1)}
        paths = {name: Path(folder) / f"{name}.hex" for name in streams}
        for name, (beats, width) in streams.items():
            write_hex(paths[name], beats, width)
        return paths


def make_vectors(config: DcimConfig, layer: LayerProgram, x: np.ndarray, *,
                 seed: int | None = None, origin: dict | None = None) -> VectorSet:
    """Replay a layer and keep everything that goes in and comes out.

    Parameters
    ----------
    config : DcimConfig
    layer : LayerProgram
    x : ndarray of integers, shape (T, K)
    seed, origin
        See :class:`VectorSet`.

    Raises
    ------
    DataError
        If the layer is illegal, or ``x`` is not its input.
    """
    result = replay(config, layer, x)
    counters = {"cycles": cycles(config, layer.commands), **asdict(result.counters)}
    return VectorSet(
        config=config, layer=layer.name, words=encode(layer.commands), weights=layer.weights,
        acts=layer.act_beats(config, x), results=result.beats, last=result.last,
        y=result.y, x=x.astype(np.int64), counters=counters, seed=seed, origin=origin or {})


def _describe(array: np.ndarray) -> dict:
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "sha256": digest}


def _sealed(manifest: dict) -> bytes:
    """Return the text of a manifest with the SHA-256 of everything else in it."""
    rest = {name: value for name, value in manifest.items() if name != "sha256"}
    text = json.dumps(rest, sort_keys=True)
    sealed = {**rest, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    return (json.dumps(sealed, indent=2, sort_keys=True) + "\n").encode()


def _read_manifest(path: Path, config: DcimConfig) -> dict:
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
    missing = set(_KEYS) - set(manifest)
    if missing:
        raise DataError(f"{path}: not a manifest of vectors: it lacks "
                        f"{', '.join(sorted(missing))}")
    if manifest["config"] != config.to_dict() or manifest["config_digest"] != config.digest:
        raise DataError(f"{path}: made for other hardware: wanted configuration {config.digest}, "
                        f"got {manifest['config_digest']}; {_differences(config, manifest)}")
    unknown = sorted(set(manifest["counters"]) - set(_COUNTERS)) if isinstance(
        manifest["counters"], dict) else [manifest["counters"]]
    if unknown:
        raise DataError(f"{path}: counters must be among {', '.join(_COUNTERS)}, not {unknown}")
    if data != _sealed(manifest):
        raise DataError(f"{path}: changed: it is not the text with SHA-256 "
                        f"{manifest['sha256']!r} that was written")
    return manifest


def _differences(config: DcimConfig, manifest: dict) -> str:
    theirs = manifest["config"] if isinstance(manifest["config"], dict) else {}
    text = [f"{name} is {theirs.get(name)!r}, not {value!r}"
            for name, value in config.to_dict().items() if theirs.get(name) != value]
    return ", ".join(text) or "its parameters are the same, so the manifest was changed"


def _read_arrays(path: Path, data: bytes) -> dict[str, Any]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            if sorted(file.files) != sorted(_ARRAYS):
                raise DataError(f"{path}: must hold {', '.join(_ARRAYS)}, not "
                                f"{', '.join(file.files)}")
            return {name: file[name] for name in _ARRAYS}
    except DataError:
        raise
    except (ValueError, OSError, EOFError, KeyError, AttributeError, zipfile.BadZipFile,
            NotImplementedError, RuntimeError, zlib.error) as error:
        raise DataError(f"{path}: damaged or cut: {error}") from error
