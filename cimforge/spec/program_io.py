"""Programs on disk: ``program.bin`` and, beside it, one blob of weights per different stream.

``program.bin`` is, little-endian: ``CIMF``, format version, bytes of the header, bytes of the
tables, the header (JSON: configuration, layers, origin), the tables of every layer (command words,
windows, results), and the SHA-256 of all that. A blob is called ``<SHA-256>.weights``.
"""

import contextlib
import hashlib
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np

from cimforge.spec.commands import WORD_BYTES, Command, decode, encode
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import CimforgeError, DataError
from cimforge.spec.files import read_bytes, write_atomic
from cimforge.spec.mode import Mode
from cimforge.spec.program import LayerProgram, Program

__all__ = ["FORMAT", "load_program", "program_to_json", "save_json", "save_program"]

#: Bump when a reader of the old files would misread the new ones.
FORMAT = 1
_MAGIC = b"CIMF"
_PREFIX = struct.Struct("<4sIQQ")  # magic, version, bytes of header, bytes of tables
_BLOB = re.compile(r"[0-9a-f]{64}\.weights")
_SUM = hashlib.sha256().digest_size
_PLAIN = ("name", "outputs", "inputs", "tokens", "pattern", "slot_use", "passes")
_TABLES = {"windows": 3, "results": 4}  # columns of the int64 tables


def _meta(layer: LayerProgram) -> dict:
    """Return everything about a layer that is not a table."""
    return {**{name: getattr(layer, name) for name in _PLAIN},
            "mode": [layer.mode.n, layer.mode.m, layer.mode.group],
            "weights": layer.weights_digest, "weight_beats": len(layer.weights)}


def save_program(program: Program, folder: str | Path) -> Path:
    """Write a program; ``program.bin`` comes last, by rename, so that it is never half there.

    Parameters
    ----------
    program : Program
    folder : path
        Made if it is not there. Blobs that it already has are not written again; those that only
        the program before this one needed are removed.

    Returns
    -------
    Path
        Of ``program.bin``.

    Raises
    ------
    DataError
        If a file cannot be written, or a command does not fit its word.
    """
    folder, layers, tables = Path(folder), [], []
    for name, layer in program.layers.items():
        parts = [encode(layer.commands).tobytes(),
                 *(np.ascontiguousarray(getattr(layer, table), dtype="<i8").tobytes()
                   for table in _TABLES)]
        layers.append({"key": name, **_meta(layer), "commands": len(layer.commands),
                       **{table: len(getattr(layer, table)) for table in _TABLES}})
        tables += parts
    body = b"".join(tables)
    header = json.dumps({"config": program.config.to_dict(), "origin": program.origin,
                         "layers": layers}, sort_keys=True, default=_plain).encode()
    data = _PREFIX.pack(_MAGIC, FORMAT, len(header), len(body)) + header + body
    needed = {f"{layer.weights_digest}.weights": layer.weights
              for layer in program.layers.values()}
    for name, weights in needed.items():
        content = np.ascontiguousarray(weights).tobytes()
        if not (folder / name).is_file() or read_bytes(folder / name) != content:
            write_atomic(folder / name, content)
    path = folder / "program.bin"
    write_atomic(path, data + hashlib.sha256(data).digest())
    for blob in folder.iterdir():
        if _BLOB.fullmatch(blob.name) and blob.name not in needed:
            with contextlib.suppress(OSError):  # the program is whole; this one only takes room
                blob.unlink()
    return path


def load_program(folder: str | Path, config: DcimConfig | None = None) -> Program:
    """Read a program back, exactly as it was saved.

    Parameters
    ----------
    folder : path
    config : DcimConfig, optional
        The hardware it is wanted for; without it, whatever the program was made for.

    Returns
    -------
    Program

    Raises
    ------
    DataError
        If a file is missing, cut, changed, newer than this reader, or for other hardware.
    """
    path = Path(folder) / "program.bin"
    header, body = _checked(path)
    try:
        meta = json.loads(header)
        made_for = DcimConfig(**meta["config"])
        layers = _layers(path, made_for, meta["layers"], body)
        program = Program(config=made_for, layers=layers, origin=meta["origin"])
    except DataError:
        raise
    except (CimforgeError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: its header makes no sense: {error}") from error
    if config is not None and config != made_for:
        theirs = made_for.to_dict()
        text = ", ".join(f"{name} is {theirs[name]!r}, not {value!r}"
                         for name, value in config.to_dict().items() if theirs[name] != value)
        raise DataError(f"{path}: made for other hardware: wanted configuration {config.digest}, "
                        f"got {made_for.digest}; {text}")
    return program


def _checked(path: Path) -> tuple[bytes, bytes]:
    """Return header and tables of a file that is whole."""
    data = read_bytes(path)
    if data[:4] != _MAGIC[:len(data)] or not data:
        raise DataError(f"{path}: not a program: expected it to start with {_MAGIC!r}, "
                        f"not {data[:4]!r}")
    if len(data) < _PREFIX.size:
        raise DataError(f"{path}: cut: expected at least {_PREFIX.size} bytes, got {len(data)}")
    _, version, header, tables = _PREFIX.unpack_from(data)
    if version != FORMAT:
        newer = "newer than this cimforge reads" if version > FORMAT else "unknown"
        raise DataError(f"{path}: program format {version} is {newer}, which is {FORMAT}"
                        if version > FORMAT else
                        f"{path}: program format must be {FORMAT}, not {version} ({newer})")
    wanted = _PREFIX.size + header + tables + _SUM
    if len(data) != wanted:
        raise DataError(f"{path}: {'cut' if len(data) < wanted else 'too long'}: expected "
                        f"{wanted} bytes, got {len(data)}")
    digest = hashlib.sha256(data[:-_SUM]).digest()
    if digest != data[-_SUM:]:
        raise DataError(f"{path}: damaged: expected SHA-256 {data[-_SUM:].hex()}, "
                        f"got {digest.hex()}")
    return data[_PREFIX.size:_PREFIX.size + header], data[_PREFIX.size + header:-_SUM]


def _layers(path: Path, config: DcimConfig, entries: list[dict],
            body: bytes) -> dict[str, LayerProgram]:
    layers: dict[str, LayerProgram] = {}
    position = 0
    for entry in entries:
        size = entry["commands"] * WORD_BYTES
        words = np.frombuffer(body, np.uint8, size, position).reshape(-1, WORD_BYTES)
        position += size
        tables: dict[str, Any] = {}
        for name, columns in _TABLES.items():
            count = entry[name] * columns
            table = np.frombuffer(body, "<i8", count, position).reshape(-1, columns)
            tables[name] = table.astype(np.int64)
            position += count * 8
        layers[entry["key"]] = LayerProgram(
            **{name: entry[name] for name in _PLAIN}, mode=Mode(*entry["mode"]),
            commands=decode(words), weights=_blob(path, config, entry), **tables)
    if position != len(body):
        raise DataError(f"{path}: expected {position} bytes of tables, got {len(body)}")
    return layers


def _blob(path: Path, config: DcimConfig, entry: dict) -> np.ndarray:
    blob = path.parent / f"{entry['weights']}.weights"
    data = read_bytes(blob)
    width = -(-config.weight_beat_bits // 8)
    if len(data) != entry["weight_beats"] * width:
        raise DataError(f"{blob}: weights of {entry['key']} must have "
                        f"{entry['weight_beats'] * width} bytes, not {len(data)}")
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry["weights"]:
        raise DataError(f"{blob}: damaged: expected SHA-256 {entry['weights']}, got {digest}")
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, width).copy()


def _plain(value: object) -> object:
    """Turn NumPy's scalars into Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise DataError(f"a program's origin holds {value!r}, which JSON cannot")


def _readable(command: Command) -> dict:
    fields = type(command).__dataclass_fields__
    return {"command": type(command).__name__, **{name: getattr(command, name) for name in fields
                                                  if name != "opcode"}}


def program_to_json(program: Program) -> dict:
    """Return a program in a form to read and compare: commands by name, weights by digest."""
    return {
        "format": FORMAT, "config": program.config.to_dict(), "origin": program.origin,
        "layers": {key: {**_meta(layer),
                         "commands": [_readable(command) for command in layer.commands],
                         **{name: getattr(layer, name).tolist() for name in _TABLES}}
                   for key, layer in program.layers.items()},
    }


def save_json(program: Program, path: str | Path) -> None:
    """Write :func:`program_to_json` as a file."""
    text = json.dumps(program_to_json(program), indent=1, default=_plain) + "\n"
    write_atomic(Path(path), text.encode())
