"""Command words: dataclasses to fixed-width little-endian words and back."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Generic, TypeVar

import numpy as np

from cimforge.spec.errors import DataError

__all__ = ["WordFormat"]

_Command = TypeVar("_Command")


class WordFormat(Generic[_Command]):
    """The fields of a command word, and the commands that use them.

    Parameters
    ----------
    layout : sequence of (name, bits)
        Least significant first; whole bytes together; the first one is ``opcode``.
    kinds : sequence of dataclasses
        Commands, each with a class attribute ``opcode``.
    aliases : mapping of opcode to {field of the command: field of the word}
        Fields that lie in one of another name.
    logs : mapping of field to field of the word
        Powers of two, stored as their logarithms.
    signed : sequence of str
        Fields of commands in two's complement.
    """

    def __init__(self, layout: Sequence[tuple[str, int]], kinds: Sequence[Any], *,
                 aliases: Mapping[Any, Mapping[str, str]] | None = None,
                 logs: Mapping[str, str] | None = None, signed: Sequence[str] = ()):
        self.layout, self.widths = tuple(layout), dict(layout)
        self.bytes = sum(bits for _, bits in layout) // 8
        self._kinds = {int(kind.opcode): kind for kind in kinds}
        self._aliases, self._logs = aliases or {}, logs or {}
        self._signed = frozenset(signed)

    def encode(self, commands: Sequence[_Command]) -> np.ndarray:
        """Return words as little-endian bytes: uint8, shape (len(commands), bytes).

        Raises
        ------
        DataError
            If something is no command, or a value no integer, or does not fit its field.
        """
        data = b"".join(self._word(position, command).to_bytes(self.bytes, "little")
                        for position, command in enumerate(commands))
        return np.frombuffer(data, dtype=np.uint8).reshape(-1, self.bytes)

    def check(self, words: np.ndarray) -> None:
        """Refuse an array that does not hold words, as :meth:`encode` returns them; a DataError."""
        if not isinstance(words, np.ndarray):
            raise DataError(f"words must be uint8 of shape (n, {self.bytes}), not {words!r}")
        if words.dtype != np.uint8 or words.ndim != 2 or words.shape[1] != self.bytes:
            raise DataError(f"words must be uint8 of shape (n, {self.bytes}), not {words.dtype} of "
                            f"shape {words.shape}")

    def unpack(self, word: int) -> dict[str, int]:
        """Split a word into the values of the layout's fields, as stored."""
        values = {}
        for name, bits in self.layout:
            values[name] = word & (1 << bits) - 1
            word >>= bits
        return values

    def decode(self, words: np.ndarray) -> list[_Command]:
        """Inverse of :meth:`encode`.

        Raises
        ------
        DataError
            If these are no words, or one has an unknown opcode; the message names its position.
        """
        self.check(words)
        commands = []
        for position, row in enumerate(words):
            values = self.unpack(int.from_bytes(row.tobytes(), "little"))
            kind = self._kinds.get(values["opcode"])
            if kind is None:
                raise DataError(f"command {position}: unknown opcode {values['opcode']}")
            commands.append(self._command(kind, values))
        return commands

    def _place(self, command: Any, name: str) -> str:
        """Return the word's field of a command's field."""
        return self._logs.get(name) or self._aliases.get(command.opcode, {}).get(name, name)

    def _word(self, position: int, command: Any) -> int:
        if type(command) not in self._kinds.values():
            raise DataError(f"command {position}: expected a command, not {command!r}")
        values = {"opcode": int(command.opcode)}
        for field in fields(command):
            value, name = getattr(command, field.name), self._place(command, field.name)
            label = field.name
            if not isinstance(value, (int, np.integer, np.bool_)):
                raise DataError(f"{label} must be an integer, not {value!r} in {command}")
            value = int(value)
            if field.name in self._logs:
                if value < 1 or value & (value - 1):
                    raise DataError(f"{field.name} must be a power of two in {command}")
                value, label = value.bit_length() - 1, name
            low = -(1 << self.widths[name] - 1) if field.name in self._signed else 0
            if not low <= value < (1 << self.widths[name]) + low:
                raise DataError(f"{label} = {value} does not fit {self.widths[name]} bits in "
                                f"{command}")
            values[name] = value
        word, shift = 0, 0
        for name, bits in self.layout:
            word |= (values.get(name, 0) & (1 << bits) - 1) << shift
            shift += bits
        return word

    def _command(self, kind: Any, values: dict[str, int]) -> _Command:
        arguments: dict[str, int | bool] = {}
        for field in fields(kind):
            name = self._place(kind, field.name)
            value = values[name]
            if field.name in self._signed:
                bits = self.widths[name]
                value -= value >> bits - 1 << bits
            if field.name in self._logs:
                value = 1 << value
            boolean = field.type == "bool" or field.type is bool
            arguments[field.name] = bool(value) if boolean else value
        return kind(**arguments)
