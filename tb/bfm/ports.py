"""Ports that are no plain streams: arrays, structures, and streams of several fields."""

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from cocotb.triggers import Timer

from cimforge.spec.commands import FIELDS
from cimforge.spec.config import DcimConfig
from cimforge.spec.mode import Mode
from cimforge_verif.sim.bfm import Stream

__all__ = [
    "Beat", "FieldStream", "block_config", "drive", "drive_array", "join", "low_bits", "mode_bits",
    "read_array", "settle", "signed", "split",
]

_WIDTHS = dict(FIELDS)


def block_config() -> DcimConfig:
    """Return the configuration that the starter put into the environment."""
    return DcimConfig(**json.loads(os.environ["CIMFORGE_CONFIG"]))


async def settle() -> None:
    """Let combinational logic follow its inputs."""
    await Timer(1, "ns")


def low_bits(value: int, bits: int) -> int:
    """Return the two's-complement bits of an integer as an unsigned one."""
    return int(value) & (1 << bits) - 1


def signed(value: int, bits: int) -> int:
    """Inverse of :func:`low_bits` for signed values."""
    return value - (value >> bits - 1 << bits)


def join(values: Iterable[int], bits: int) -> int:
    """Concatenate equally wide values, the first one lowest."""
    return sum(low_bits(value, bits) << i * bits for i, value in enumerate(values))


def split(word: int, layout: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return the fields of a structure, the first one lowest."""
    values = {}
    for name, bits in layout:
        values[name] = word & (1 << bits) - 1
        word >>= bits
    return values


def mode_bits(mode: Mode) -> int:
    """Return a mode as N, log2 M and log2 G lie beside each other on wires."""
    shift = _WIDTHS["n"]
    return (mode.n | mode.m.bit_length() - 1 << shift
            | mode.group.bit_length() - 1 << shift + _WIDTHS["m_log2"])


def drive(port: Any, value: int) -> None:
    """Write a port, negative values in two's complement."""
    port.value = low_bits(value, len(port))


def drive_array(dut: Any, name: str, values: np.ndarray) -> None:
    """Write ``name__i`` or ``name__i__j`` with an array of one or two dimensions."""
    for index in np.ndindex(values.shape):
        drive(getattr(dut, "__".join((name, *map(str, index)))), int(values[index]))


def read_array(dut: Any, name: str, shape: tuple[int, ...], bits: int = 0) -> np.ndarray:
    """Read ``name__i…``; signed with ``bits``, else unsigned."""
    values = np.zeros(shape, dtype=object)
    for index in np.ndindex(shape):
        value = int(getattr(dut, "__".join((name, *map(str, index)))).value)
        values[index] = signed(value, bits) if bits else value
    return values


class Beat(dict):
    """Fields of one transfer, unsigned; printable wherever a payload is."""

    def __format__(self, spec: str) -> str:
        return repr(self)


class _Fields:
    """Looks like the payload port of a stream."""

    def __init__(self, dut: Any, name: str, fields: Iterable[str]):
        self._ports = {field: getattr(dut, f"{name}__{field}") for field in fields}

    def __len__(self) -> int:
        return sum(map(len, self._ports.values()))

    @property
    def value(self) -> Beat:
        """Every field."""
        return Beat({field: int(port.value) for field, port in self._ports.items()})

    @value.setter
    def value(self, beat: Mapping[str, int]):
        for field, port in self._ports.items():
            drive(port, beat[field])


class FieldStream(Stream):
    """A stream whose payload is several ports; beats are mappings from field to integer."""

    def __init__(self, dut: Any, name: str, fields: Iterable[str]):
        self._fields = _Fields(dut, name, fields)
        super().__init__(_WithPayload(dut, name, self._fields), name)

    def read(self) -> Any:
        """Return the fields of this edge."""
        return self._fields.value


class _WithPayload:
    """The top, with a stand-in for the payload port of one stream."""

    def __init__(self, dut: Any, name: str, payload: _Fields):
        self._dut, self._name, self._payload = dut, f"{name}__payload", payload

    def __getattr__(self, port: str) -> Any:
        return self._payload if port == self._name else getattr(self._dut, port)
