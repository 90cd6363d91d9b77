"""The register map of a tile on a bus, said once: RTL, driver, C header and page come from here.

A map is words of 32 bits at multiples of four. What a bit means is in the field's sentence, and
nowhere else; :mod:`.register_text` writes it for C and for readers.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum

from cimforge.spec.analog.commands import WORD_BYTES as ANALOG_WORD_BYTES
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.commands import WORD_BYTES
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError

__all__ = [
    "ADDRESS_BITS", "COUNTERS", "IDENTITY", "MAP_VERSION", "STREAMS", "Access", "Field", "Register",
    "Response", "TileKind", "digest_words", "kind_of", "register_map", "tdata_bytes",
]

#: Width of a byte address: the map takes a page of 4 KiB.
ADDRESS_BITS = 12
#: Major (what is there moved or changed its meaning), minor (something was added).
MAP_VERSION = (1, 0)
#: "CIMF", the first letter in the highest byte.
IDENTITY = 0x43494D46

#: Input streams in the order of their registers; results come after them.
STREAMS = ("commands", "weights", "acts")


class TileKind(IntEnum):
    """What is behind the registers."""

    DIGITAL = 1
    ANALOG = 2


class Access(Enum):
    """What may be done with a field."""

    RO = "read"
    RW = "read, write"
    W1C = "read, write one to clear"
    PULSE = "write one to act; reads as zero"


class Response(IntEnum):
    """Responses of AXI4-Lite."""

    OKAY = 0
    SLVERR = 2  #: the register is there, but not for this
    DECERR = 3  #: no register at this address


#: Counters in the order of their registers; as wide as the tile counts, at most 64 bits.
COUNTERS = {
    TileKind.DIGITAL: ("cycles", "compute", "macs", "idle_slots", "load_weights", "load_acts",
                       "stall"),
    TileKind.ANALOG: ("cycles", "convert", "conversions", "pulses", "load", "retire",
                      "saturations", "stall"),
}


@dataclass(frozen=True)
class Field:
    """Bits ``low … low + width - 1`` of a register."""

    name: str
    low: int
    width: int
    meaning: str

    @property
    def mask(self) -> int:
        """The field's bits, in place."""
        return ((1 << self.width) - 1) << self.low


@dataclass(frozen=True)
class Register:
    """A word.

    Attributes
    ----------
    name : str
        In capitals.
    address : int
        In bytes.
    access : Access
        Of all fields.
    meaning : str
    fields : tuple of Field
        Lowest first; the whole word is one number where there are none.
    """

    name: str
    address: int
    access: Access
    meaning: str
    fields: tuple[Field, ...] = ()

    @property
    def mask(self) -> int:
        """Bits that mean something."""
        return sum(field.mask for field in self.fields) if self.fields else 0xFFFFFFFF

    def field(self, name: str) -> Field:
        """Return a field by name; KeyError if there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"{self.name} has no field {name}")

    @property
    def writable(self) -> bool:
        """Whether a write does anything but fail."""
        return self.access is not Access.RO


def _bits(*fields: tuple[str, str]) -> tuple[Field, ...]:
    """Return one-bit fields from bit 0 on."""
    return tuple(Field(name, bit, 1, meaning) for bit, (name, meaning) in enumerate(fields))


_CLEAR = (
    "forget the tile's error, flags, banks and counts, and the beat counts, once it is idle, "
    "results have left and, after an error, packets that have begun have ended; not with START, "
    "nor while a program is let in that no error stopped")
_SOFT_RESET = (
    "drop everything in flight; what has begun on a stream is ended legally. Again while "
    "STATUS.RESETTING: the packets that were cut will not go on")
_CONTROL = _bits(
    ("START", "let one program in, up to its End; needs STATUS.READY"),
    ("CLEAR", _CLEAR),
    ("SOFT_RESET", _SOFT_RESET),
    ("SNAPSHOT", "copy all counters into their registers, all in the same cycle"),
)
_STATUS = _bits(
    ("READY", "START may be written"),
    ("BUSY", "a program was let in and is not done"),
    ("CLEARING", "CLEAR has not happened yet"),
    ("RESETTING", "a soft reset is waiting for streams to end their packets"),
    ("ERROR", "ERROR_CODE is not zero"),
    ("ILLEGAL", "analog: a drive mixed blocks"),
    ("SATURATED", "analog: a conversion was clamped"),
    ("STREAM_ERROR", "STREAM_ERROR is not zero"),
)
_INTERRUPTS = _bits(
    ("DONE", "a program ended, and its last result beat has left"),
    ("ERROR", "the tile stopped at an illegal command"),
    ("STREAM", "a packet was malformed: STREAM_ERROR"),
)
_STREAM_ERRORS = _bits(*(
    (f"{name.upper()}_{kind}", f"{name}: {meaning}") for name in STREAMS for kind, meaning in (
        ("SHORT", "TLAST came before the announced length"),
        ("LONG", "a packet went on after the announced length; its surplus was dropped"),
        ("PARTIAL", "a beat with some of its TKEEP zero was dropped"))))


def _common() -> list[Register]:
    """Return the registers that every tile has, in order of their addresses."""
    ro, rw = Access.RO, Access.RW
    numbers = [
        Register("ID", 0x000, ro, "0x43494D46: cimforge"),
        Register("VERSION", 0x004, ro, "version of this map", (
            Field("MINOR", 0, 16, "rises when something is added"),
            Field("MAJOR", 16, 16, "rises when something moves or changes its meaning"))),
        Register("TILE", 0x008, ro, "what is behind the registers", (
            Field("KIND", 0, 8, "1 digital, 2 analog"),)),
        Register("SCRATCH", 0x00C, rw, "for software; does nothing"),
        Register("DIGEST_LO", 0x010, ro, "digest of the configuration, last eight hex digits"),
        Register("DIGEST_HI", 0x014, ro, "digest of the configuration, first eight hex digits"),
        Register("CONTROL", 0x020, Access.PULSE, "what to do", _CONTROL),
        Register("STATUS", 0x024, ro, "what is going on", _STATUS),
        Register("INTERRUPT_ENABLE", 0x028, rw, "what raises irq", _INTERRUPTS),
        Register("INTERRUPT_STATUS", 0x02C, Access.W1C, "what happened", _INTERRUPTS),
        Register("ERROR_CODE", 0x030, ro, "the tile's error, 0 if there is none", (
            Field("CODE", 0, 4, "the tile's error code"),)),
        Register("ERROR_POSITION", 0x034, ro,
                 "position of the illegal command since the last clear"),
        Register("ILLEGAL_POSITION", 0x038, ro,
                 "analog: position of the first drive that mixed blocks"),
        Register("STREAM_ERROR", 0x03C, Access.W1C, "malformed packets", _STREAM_ERRORS),
    ]
    for i, name in enumerate(STREAMS):
        numbers.append(Register(f"{name.upper()}_LENGTH", 0x040 + 4 * i, rw,
                                f"beats of every packet of {name}; 0: any number"))
    for i, name in enumerate((*STREAMS, "results")):
        way = "sent" if name == "results" else "accepted"
        numbers.append(Register(f"{name.upper()}_BEATS", 0x050 + 4 * i, ro,
                                f"beats of {name} {way} since the last clear"))
    for i, name in enumerate(STREAMS):
        numbers.append(Register(f"{name.upper()}_DROPPED", 0x060 + 4 * i, ro,
                                f"of those, beats of {name} that did not go to the tile"))
    return numbers


def register_map(kind: TileKind) -> tuple[Register, ...]:
    """Return the registers of a tile in order of their addresses."""
    registers = _common()
    for i, name in enumerate(COUNTERS[kind]):
        for half, part in enumerate(("LO", "HI")):
            bits = "low 32 bits" if part == "LO" else "the bits above"
            registers.append(Register(f"{name.upper()}_{part}", 0x080 + 8 * i + 4 * half, Access.RO,
                                      f"counter {name} at the last snapshot, {bits}"))
    return tuple(registers)


def kind_of(config: DcimConfig | AnalogConfig) -> TileKind:
    """Return which tile a configuration is of; ConfigError if it is none."""
    if isinstance(config, DcimConfig):
        return TileKind.DIGITAL
    if isinstance(config, AnalogConfig):
        return TileKind.ANALOG
    raise ConfigError(f"config must be a DcimConfig or an AnalogConfig, not {config!r}")


def digest_words(config: DcimConfig | AnalogConfig) -> tuple[int, int]:
    """Return what DIGEST_LO and DIGEST_HI say for a configuration."""
    value = int(config.digest, 16)
    return value & 0xFFFFFFFF, value >> 32


def tdata_bytes(config: DcimConfig | AnalogConfig) -> dict[str, int]:
    """Return the bytes of every stream's TDATA, the results' last."""
    if isinstance(config, AnalogConfig):
        bits = (8 * ANALOG_WORD_BYTES, config.act_bits_per_beat, config.act_bits_per_beat,
                config.port * config.acc_bits)
    else:
        bits = (8 * WORD_BYTES, config.weight_beat_bits, config.act_port_bits,
                config.out_port * config.acc_bits)
    return {name: -(-n // 8) for name, n in zip((*STREAMS, "results"), bits, strict=True)}
