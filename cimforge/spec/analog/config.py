"""Parameters of the analog CIM tile: crossbar arrays whose columns share their ADCs."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property

from cimforge.spec.checks import check_choice, check_integer, check_power_of_two
from cimforge.spec.errors import ConfigError

__all__ = ["ACC_BITS", "CELL_BITS", "WORD_BITS", "AnalogConfig", "lossless_bits"]

#: Weights and activations are INT8; the tile streams an activation bit per word-line pulse.
WORD_BITS = 8
#: Sums are INT32.
ACC_BITS = 32
#: What a cell may hold.
CELL_BITS = (1, 2, 4, 8)
_FIELD16 = 1 << 16  # addresses are 16-bit fields of a command
_MASK = 32  # bits of a row or column mask


def lossless_bits(rows: int, cell_bits: int) -> int:
    """Return the ADC bits that read any sum of ``rows`` cells: ``ceil(log2(R (2^w - 1) + 1))``.

    ISAAC's law for one-bit inputs (DOI 10.1109/ISCA.2016.12) without its encoding that saves a bit.

    >>> [lossless_bits(rows, 1) for rows in (8, 32, 256)]
    [4, 6, 9]
    """
    return (rows * ((1 << cell_bits) - 1)).bit_length()


@dataclass(frozen=True, kw_only=True)
class AnalogConfig:
    """What a user chooses about an analog tile; everything else is derived from it.

    Parameters
    ----------
    arrays : int
        Crossbar arrays in the tile, 1..64.
    array : int
        m, word lines and columns of an array; a power of two, 8..512. An array is a bank of
        ``8 / cell_bits`` planes that together hold m x m INT8 weights.
    grain : int
        Rows and columns per bit of a command's masks; a power of two that divides ``array`` into
        at most 32. Blocks are whole grains.
    adcs : int
        Converters per plane, a power of two of at most ``array``; converter ``c % adcs`` serves
        column c.
    adc_bits : int
        Most bits a converter can resolve, 1..16. 0 means as many as lose nothing when all rows of
        an array are driven.
    cell_bits : int
        w, bits per cell: 1, 2, 4 or 8.
    t_settle : int
        Cycles from driving the word lines until the columns are sampled, 1..255.
    t_conv : int
        Cycles per round of conversions, up to 255. 0 means as many as the command's bits
        (successive approximation).
    port : int
        Elements per cycle of every stream and of the tile's activation and result buses; divides
        ``grain``.
    act_depth : int
        Activations (INT8) in the activation memory, 2..65536.
    acc_depth : int
        Sums (INT32) in the accumulation memory, 2..65536.
    requantizers : int
        Parameter sets of the requantizer, 1..32.
    dither : int
        0: none. Otherwise the nonzero 16-bit seed of a generator whose low bits are added in front
        of every conversion that drops bits.

    Raises
    ------
    ConfigError
        If no hardware can be built; the message says what is wanted and what came.
    """

    arrays: int = 4
    array: int = 64
    grain: int = 8
    adcs: int = 16
    adc_bits: int = 0
    cell_bits: int = 1
    t_settle: int = 4
    t_conv: int = 0
    port: int = 8
    act_depth: int = 1024
    acc_depth: int = 1024
    requantizers: int = 16
    dither: int = 0

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise ConfigError(f"{field.name} must be an integer, not {value!r}")
        self._range("arrays", 1, 64)
        self._two("array", 8, 512)
        self._two("grain", max(1, self.array // _MASK), self.array)
        self._two("adcs", 1, self.array)
        check_choice("cell_bits", self.cell_bits, CELL_BITS)
        self._range("adc_bits", 0, 16)
        if self.adc_bits == 0:
            object.__setattr__(self, "adc_bits", lossless_bits(self.array, self.cell_bits))
        self._range("t_settle", 1, 255)
        self._range("t_conv", 0, 255)
        self._two("port", 1, self.grain)
        self._range("act_depth", 2, _FIELD16)
        self._range("acc_depth", 2, _FIELD16)
        self._range("requantizers", 1, 32)
        self._range("dither", 0, _FIELD16 - 1)

    def _range(self, name: str, low: int, high: int):
        check_integer(name, getattr(self, name), low, high)

    def _two(self, name: str, low: int, high: int):
        check_power_of_two(name, getattr(self, name), low, high)

    # -- derived ------------------------------------------------------------------------------

    @property
    def planes(self) -> int:
        """Crossbars per array, least significant cells first."""
        return WORD_BITS // self.cell_bits

    @property
    def grains(self) -> int:
        """Grains along a side of an array."""
        return self.array // self.grain

    @property
    def grain_beats(self) -> int:
        """Beats that move one grain of a vector."""
        return self.grain // self.port

    @property
    def program_beats(self) -> int:
        """Beats of the weight stream that fill a grain by grain square."""
        return self.grain * self.grain_beats

    @property
    def sum_bits(self) -> int:
        """Width of a plane's column sum."""
        return lossless_bits(self.array, self.cell_bits)

    @property
    def act_bits(self) -> int:
        """Width of an activation."""
        return WORD_BITS

    @property
    def acc_bits(self) -> int:
        """Width of column accumulators, of the sums in memory and of results; they wrap."""
        return ACC_BITS

    @property
    def act_bits_per_beat(self) -> int:
        """Width of the activation and weight streams."""
        return self.port * WORD_BITS

    @property
    def in_flight(self) -> int:
        """Commands between dispatch and retirement: two drives per array, and two more."""
        return 2 * self.arrays + 2

    def conversion(self, bits: int) -> int:
        """Return the cycles of one round of conversions at a resolution."""
        return self.t_conv or bits

    # -- identity -----------------------------------------------------------------------------

    def to_dict(self) -> dict[str, int]:
        """Return every parameter, for manifests and reports."""
        return asdict(self)

    def replace(self, **changes) -> "AnalogConfig":
        """Return a copy with some parameters changed.

        ``adc_bits`` follows ``array`` and ``cell_bits`` again when those change.
        """
        if {"array", "cell_bits"} & changes.keys() and self.adc_bits == self.sum_bits:
            changes.setdefault("adc_bits", 0)
        return replace(self, **changes)

    @cached_property
    def digest(self) -> str:
        """Sixteen hex digits that change whenever a parameter does."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(f"analog {text}".encode()).hexdigest()[:16]
