"""Commands of the digital tile: what they mean, and their 128-bit words.

The sequencer takes commands in order and hands them to three engines that run side by side: the
weight loader, the activation loader and the compute engine. Weight banks synchronize the first
and the last: a bank is *full* from the end of its ``LoadWeights`` until the ``Compute`` marked
``release`` has read it, and each engine waits for the state it needs.
"""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np

from cimforge.spec.errors import DataError

__all__ = [
    "FIELDS", "WORD_BYTES", "Command", "Compute", "End", "ErrorCode", "LoadActs", "LoadSelects",
    "LoadWeights", "Opcode", "SetRequantize", "decode", "encode", "unpack_word",
]


class Opcode(IntEnum):
    """First field of a command word; 0 is illegal, so that an all-zero word is."""

    LOAD_WEIGHTS = 1
    LOAD_SELECTS = 2
    LOAD_ACTS = 3
    COMPUTE = 4
    SET_REQUANTIZE = 5
    END = 6


class ErrorCode(IntEnum):
    """What the tile's sticky error register says."""

    NONE = 0
    OPCODE = 1  #: unknown, or not available in this configuration
    MODE = 2  #: N, M or G that the hardware does not have
    COUNT = 3  #: zero, or more than the hardware holds
    ADDRESS = 4  #: outside the activation, accumulation or requantizer memory
    NO_WEIGHTS = 5  #: compute from a bank without weights
    BANK_FULL = 6  #: load into a bank that no Compute has released
    NO_SELECTS = 7  #: more steps than the bank has selects


#: (name, bits) of the fields of a command word, least significant first.
FIELDS = (
    ("opcode", 4), ("bank", 1), ("first", 1), ("last", 1), ("requantize", 1), ("release", 1),
    ("n", 5), ("m_log2", 3), ("group_log2", 3), ("steps", 12),
    ("row", 16), ("stride", 16), ("count", 16), ("acc", 16),
    ("bias", 32),
)
WORD_BYTES = sum(bits for _, bits in FIELDS) // 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadWeights:
    """Fill ``bank`` with ``weight_beats`` beats of the weight stream."""

    opcode: ClassVar[Opcode] = Opcode.LOAD_WEIGHTS
    bank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSelects:
    """Fill the step memory of ``bank`` with ``steps`` steps (``pair`` only); before its weights."""

    opcode: ClassVar[Opcode] = Opcode.LOAD_SELECTS
    bank: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadActs:
    """Write ``count`` windows of ``beats`` beats each into the activation buffer from ``row``.

    Inputs of a window past its beats become zero.
    Waits until every earlier Compute has read its windows; later ones wait, window by window.
    """

    opcode: ClassVar[Opcode] = Opcode.LOAD_ACTS
    row: int
    count: int
    beats: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Multiply ``count`` windows, rows ``row + i*stride``, with the weights of ``bank``.

    ``first`` starts the sums of the accumulation rows ``acc + i`` from zero, otherwise they are
    added to; ``last`` sends them out (through the requantizer if ``requantize``) instead of
    storing them. ``release`` gives the bank back to the loader. ``steps`` passes are made over
    each window; only ``pair`` knows more than one.
    """

    opcode: ClassVar[Opcode] = Opcode.COMPUTE
    bank: int
    n: int
    m: int
    group: int
    row: int
    stride: int
    count: int
    acc: int = 0
    steps: int = 1
    first: bool = True
    last: bool = True
    requantize: bool = False
    release: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRequantize:
    """Set the requantizer of one of the P*C ``output`` columns, when the tile has drained.

    ``clamp(round_half_even((acc + bias) * multiplier / 2**shift))`` to ``act_bits``.
    """

    opcode: ClassVar[Opcode] = Opcode.SET_REQUANTIZE
    output: int
    bias: int
    multiplier: int
    shift: int


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Wait until the tile has drained; stops the cycle counter."""

    opcode: ClassVar[Opcode] = Opcode.END


Command = LoadWeights | LoadSelects | LoadActs | Compute | SetRequantize | End

# Fields of a command that lie in a word's field of another name.
_ALIASES = {
    Opcode.LOAD_ACTS: {"beats": "stride"},
    Opcode.SET_REQUANTIZE: {"output": "row", "multiplier": "count", "shift": "steps"},
}
_KINDS = {kind.opcode: kind for kind in
          (LoadWeights, LoadSelects, LoadActs, Compute, SetRequantize, End)}
_WIDTHS = dict(FIELDS)
_LOG2 = {"m": "m_log2", "group": "group_log2"}


def _word(command: Command) -> int:
    values = {"opcode": int(command.opcode)}
    aliases = _ALIASES.get(command.opcode, {})
    for field in fields(command):
        value = int(getattr(command, field.name))
        name, label = aliases.get(field.name, field.name), field.name
        if name in _LOG2:
            if value < 1 or value & (value - 1):
                raise DataError(f"{field.name} must be a power of two in {command}")
            name = label = _LOG2[name]
            value = value.bit_length() - 1
        low = -(1 << 31) if name == "bias" else 0
        if not low <= value < (1 << _WIDTHS[name]) + low:
            raise DataError(f"{label} = {value} does not fit {_WIDTHS[name]} bits in "
                            f"{command}")
        values[name] = value
    word, shift = 0, 0
    for name, bits in FIELDS:
        word |= (values.get(name, 0) & (1 << bits) - 1) << shift
        shift += bits
    return word


def encode(commands: list[Command]) -> np.ndarray:
    """Return command words as little-endian bytes: uint8, shape (len(commands), 16).

    Raises
    ------
    DataError
        If a value does not fit its field.
    """
    data = b"".join(_word(command).to_bytes(WORD_BYTES, "little") for command in commands)
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, WORD_BYTES)


def unpack_word(word: int) -> dict[str, int]:
    """Split a command word into the values of :data:`FIELDS`."""
    values = {}
    for name, bits in FIELDS:
        values[name] = word & (1 << bits) - 1
        word >>= bits
    return values


def decode(words: np.ndarray) -> list[Command]:
    """Inverse of :func:`encode`.

    Raises
    ------
    DataError
        If a word has an unknown opcode; the message names its position.
    """
    commands = []
    for position, row in enumerate(words):
        values = unpack_word(int.from_bytes(row.tobytes(), "little"))
        kind = _KINDS.get(values["opcode"])  # type: ignore[call-overload]
        if kind is None:
            raise DataError(f"command {position}: unknown opcode {values['opcode']}")
        commands.append(_from_fields(kind, values))
    return commands


def _from_fields(kind: Any, values: dict[str, int]) -> Command:
    aliases = _ALIASES.get(kind.opcode, {})
    arguments: dict[str, int | bool] = {}
    for field in fields(kind):
        name = aliases.get(field.name, field.name)
        if name in _LOG2:
            arguments[field.name] = 1 << values[_LOG2[name]]
        elif name == "bias":
            arguments[field.name] = values[name] - (values[name] >> 31 << 32)
        else:
            arguments[field.name] = bool(values[name]) if field.type == "bool" or (
                field.type is bool) else values[name]
    return kind(**arguments)
