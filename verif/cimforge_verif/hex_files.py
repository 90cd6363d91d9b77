"""Streams as ``$readmemh`` files, for benches in plain Verilog."""

from pathlib import Path

import numpy as np

from cimforge.spec.errors import DataError
from cimforge.spec.files import read_bytes, write_atomic

__all__ = ["read_hex", "write_hex"]


def write_hex(path: str | Path, beats: np.ndarray, bits: int) -> None:
    """Write one beat per line, most significant digit first.

    Parameters
    ----------
    path : path
    beats : ndarray of uint8, shape (beats, ceil(bits / 8))
        Least significant byte first.
    bits : int
        Width of the port.
    """
    digits = -(-bits // 4)
    lines = [f"{int.from_bytes(row.tobytes(), 'little'):0{digits}x}\n" for row in beats]
    write_atomic(Path(path), "".join(lines).encode())


def read_hex(path: str | Path, bits: int) -> np.ndarray:
    """Inverse of :func:`write_hex`: uint8, shape (beats, ceil(bits / 8)).

    Raises
    ------
    DataError
        If a line is not a beat of ``bits`` bits.
    """
    digits, width = -(-bits // 4), -(-bits // 8)
    rows = []
    for number, line in enumerate(read_bytes(Path(path)).decode("ascii", "replace").splitlines()):
        if len(line) != digits or set(line) - set("0123456789abcdef") or int(line, 16) >> bits:
            raise DataError(f"{path}: line {number + 1} must be {digits} hex digits of {bits} "
                            f"bits, not {line[:40]!r}")
        rows.append(int(line, 16).to_bytes(width, "little"))
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, width)
