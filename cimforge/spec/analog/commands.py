"""Commands of the analog tile: what they mean, and their 256-bit words.

Commands are dispatched and retired in program order. Between the two, a ``Drive`` loads its word
lines, converts on its array, and waits for its turn; drives on different arrays overlap. Whatever
changes a memory happens at retirement, so a program means what it says when its commands are
carried out one after the other, provided every ``depends`` is right.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from cimforge.spec.words import WordFormat

__all__ = [
    "FIELDS", "FORMAT", "WORD_BYTES", "AnalogCommand", "AnalogError", "AnalogOpcode", "Drive",
    "End", "Erase", "Input", "Output", "Program", "ReadSaturation", "SetRequantize", "decode",
    "encode", "unpack_word",
]


class AnalogOpcode(IntEnum):
    """First field of a command word; 0 is illegal, so that an all-zero word is."""

    PROGRAM = 1
    ERASE = 2
    SET_REQUANTIZE = 3
    INPUT = 4
    DRIVE = 5
    OUTPUT = 6
    READ_SATURATION = 7
    END = 8


class AnalogError(IntEnum):
    """What the tile's sticky error register says."""

    NONE = 0
    OPCODE = 1  #: unknown
    ARRAY = 2  #: an array that the tile does not have
    MASK = 3  #: no row or no column, or a grain beyond the array
    PRECISION = 4  #: ADC bits, shift or row group that the hardware does not have
    COUNT = 5  #: zero, or a shift of the requantizer above 47
    ADDRESS = 6  #: beyond a memory, a grain beyond the array, or a requantizer that is not there


#: (name, bits) of the fields of a command word, least significant first.
FIELDS = (
    ("opcode", 4), ("array", 6), ("bits", 5), ("shift", 4), ("offset", 12), ("round", 1),
    ("accumulate", 1), ("requantize", 1), ("last", 1), ("slot", 5), ("row_group_log2", 4),
    ("depends", 16), ("row_mask", 32), ("col_mask", 32),
    ("src", 16), ("src_stride", 16), ("src_jump", 16), ("src_rotation", 5), ("src_block_log2", 3),
    ("dst", 16), ("dst_stride", 16), ("dst_jump", 16), ("dst_rotation", 5), ("dst_block_log2", 3),
    ("spare", 20),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Write one grain x grain square of an array from the weight stream, and mark it programmed.

    ``tag`` (1..255) names the block it is part of: a column may meet cells of one tag only.
    """

    opcode: ClassVar[AnalogOpcode] = AnalogOpcode.PROGRAM
    array: int
    row: int  #: grain of the rows
    col: int  #: grain of the columns
    tag: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Erase:
    """Forget all tags and zero all cells of an array."""

    opcode: ClassVar[AnalogOpcode] = AnalogOpcode.ERASE
    array: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRequantize:
    """Set parameters of the requantizer: ``clamp(round_half_even((acc + bias) * mul / 2^shift))``.

    Waits until all earlier commands have retired.
    """

    opcode: ClassVar[AnalogOpcode] = AnalogOpcode.SET_REQUANTIZE
    slot: int
    bias: int
    multiplier: int
    shift: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Write ``count`` beats of the activation stream to the activation memory from ``dst`` on."""

    opcode: ClassVar[AnalogOpcode] = AnalogOpcode.INPUT
    dst: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """Multiply activations with the programmed cells of an array.

    Row grains of ``row_mask`` are driven, column grains of ``col_mask`` converted. The grains of
    either side form blocks of ``src_block`` or ``dst_block`` grains, powers of two; element i of
    the block at position p (in blocks) has the address ``src + src_jump * q + src_stride * i`` with
    ``q = (p - src_rotation) mod (grains / src_block)``, and in the same way ``dst``. Sources are
    activations. A result is the column's sum, with the cells' offset corrected; it goes to the
    accumulation memory, added to what is there if ``accumulate``. With ``requantize`` that sum
    goes through requantizer ``slot`` to the activation memory, at the same address, instead.

    Conversions: ``code = clamp((S - offset + R) >> shift, 0, 2^bits - 1)``, and the value
    ``(code << shift) + offset`` is summed; ``R = 2^(shift - 1)`` if ``round``, else 0 (a tile with
    dither adds its generator's bits instead). ``row_group`` driven rows share a pulse.

    A column that meets driven cells of more than one tag is illegal: its sum mixes blocks. The
    drive is carried out all the same, and the tile's sticky ``illegal`` flag says so.

    Loading starts when the command ``depends`` positions before this one has retired; 0: at once.
    """

    opcode: ClassVar[AnalogOpcode] = AnalogOpcode.DRIVE
    array: int
    row_mask: int
    col_mask: int
    src: int
    dst: int
    bits: int
    src_stride: int = 1
    src_jump: int = 0
    src_rotation: int = 0
    src_block: int = 1
    dst_stride: int = 1
    dst_jump: int = 0
    dst_rotation: int = 0
    dst_block: int = 1
    shift: int = 0
    offset: int = 0
    round: bool = False
    row_group: int = 512  #: a power of two; the most there can be drives all rows at once
    accumulate: bool = False
    requantize: bool = False
    slot: int = 0
    depends: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Send ``count`` beats of the accumulation memory from ``src`` on; ``last`` marks the end."""

    opcode: ClassVar[AnalogOpcode] = AnalogOpcode.OUTPUT
    src: int
    count: int
    last: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSaturation:
    """Send, for every column of an array, how many of its conversions were clamped."""

    opcode: ClassVar[AnalogOpcode] = AnalogOpcode.READ_SATURATION
    array: int
    last: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Wait until everything has retired; stops the cycle counter."""

    opcode: ClassVar[AnalogOpcode] = AnalogOpcode.END


AnalogCommand = Program | Erase | SetRequantize | Input | Drive | Output | ReadSaturation | End

#: Words of these commands.
FORMAT: WordFormat[AnalogCommand] = WordFormat(
    FIELDS, (Program, Erase, SetRequantize, Input, Drive, Output, ReadSaturation, End),
    aliases={
        AnalogOpcode.PROGRAM: {"row": "src", "col": "dst", "tag": "depends"},
        AnalogOpcode.SET_REQUANTIZE: {"bias": "row_mask", "multiplier": "src",
                                      "shift": "src_stride"},
        AnalogOpcode.INPUT: {"count": "src"},
        AnalogOpcode.OUTPUT: {"count": "dst"},
    },
    logs={"row_group": "row_group_log2", "src_block": "src_block_log2",
          "dst_block": "dst_block_log2"},
    signed=("bias",))
WORD_BYTES = FORMAT.bytes

encode, decode, unpack_word = FORMAT.encode, FORMAT.decode, FORMAT.unpack
