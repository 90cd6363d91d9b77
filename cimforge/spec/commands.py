"""Commands of the digital tile: what they mean, and their 128-bit words.

The sequencer takes commands in order and hands them to three engines that run side by side: the
weight loader, the activation loader and the compute engine. Weight banks synchronize the first
and the last: a bank is *full* from the end of its ``LoadWeights`` until the ``Compute`` marked
``release`` has read it, and each engine waits for the state it needs.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from cimforge.spec.words import WordFormat

__all__ = [
    "FIELDS", "FORMAT", "WORD_BYTES", "Command", "Compute", "End", "ErrorCode", "LoadActs",
    "LoadSelects", "LoadWeights", "Opcode", "SetRequantize", "decode", "encode", "unpack_word",
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
#: Words of these commands.
FORMAT: WordFormat[Command] = WordFormat(
    FIELDS, (LoadWeights, LoadSelects, LoadActs, Compute, SetRequantize, End), aliases=_ALIASES,
    logs={"m": "m_log2", "group": "group_log2"}, signed=("bias",))

encode, decode, unpack_word = FORMAT.encode, FORMAT.decode, FORMAT.unpack
