"""Parameters of the digital CIM tile: validated once, shared by RTL, golden, compiler and cost."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property

from cimforge.spec.checks import check_choice, check_integer
from cimforge.spec.errors import ConfigError
from cimforge.spec.mode import PUBLISHED_PAIR_MODES, Mode

__all__ = ["DcimConfig"]

_WORDS = {"select": ("line", "pair"), "index_coding": ("binary", "one_hot")}
_FIELD16 = 1 << 16  # addresses and counts are 16-bit fields of a command


def _power_of_two(value: int) -> bool:
    return value >= 1 and not value & (value - 1)


def _log2(value: int) -> int:
    return value.bit_length() - 1


@dataclass(frozen=True, kw_only=True)
class DcimConfig:
    """What a user chooses about a digital CIM tile; everything else is derived from it.

    Parameters
    ----------
    sub_macros : int
        P, sub-macros per macro: 1, 2, 4 or 8.
    rows : int
        R, weight slots per column and sub-macro; a power of two, 1..256.
    cols : int
        C, output columns per sub-macro, 1..256.
    weight_bits, act_bits : int
        Two's-complement operand widths, 4 or 8.
    act_slice : int
        Activation bits processed per cycle: a divisor of ``act_bits``. ``act_bits`` means
        bit-parallel, 1 bit-serial. The last slice carries the sign.
    max_m : int
        M of the hardware: 1, 2, 4, 8 or 16 (``pair``: at most 2P).
    fixed_n : int
        0: every legal N at run time. Otherwise the only N, a fixed-pattern baseline.
    select : str
        ``"line"``: each cell picks one of ``max_m`` lines; any N:M pattern takes one step.
        ``"pair"``: as published, one bit per cell picks from a pair; the pair selects of a
        (row, sub-macro) are shared by its columns, so a free pattern takes several steps.
    index_share : int
        Adjacent columns that share index bits (1, 2 or 4); ``line`` only.
    index_coding : str
        How cells hold an index: ``"binary"``, decoded at every cell's lines, or ``"one_hot"``, a
        bit per line, decoded where it is written. The weight stream is the same.
    weight_banks : int
        1, or 2 to load weights while computing.
    adder_stages : int
        Cycles of a column's sum: 1, or 2 with a register between the tree and the last addition.
    acc_bits : int
        Width of an accumulator.
    max_k : int
        Largest number of inputs of a layer; no sum of ``max_k`` products may overflow.
    load_rows : int
        Weight rows written per cycle; a power of two, at most P. 0 means P.
    act_port_bits : int
        Width of the activation port; a multiple of ``act_bits``.
    out_port : int
        Results per cycle on the output stream; divides C. 0 means C.
    act_depth : int
        Windows in the activation buffer.
    acc_depth : int
        Vectors in the accumulation buffer.

    Raises
    ------
    ConfigError
        If no hardware can be built; the message says what is wanted and what came.
    """

    sub_macros: int = 4
    rows: int = 32
    cols: int = 32
    weight_bits: int = 8
    act_bits: int = 8
    act_slice: int = 8
    max_m: int = 8
    fixed_n: int = 0
    select: str = "line"
    index_share: int = 1
    index_coding: str = "binary"
    weight_banks: int = 2
    adder_stages: int = 2
    acc_bits: int = 32
    max_k: int = 65536
    load_rows: int = 0
    act_port_bits: int = 256
    out_port: int = 0
    act_depth: int = 512
    acc_depth: int = 64

    def __post_init__(self):
        self._check_types()
        for name in ("load_rows", "out_port"):  # 0 asks for the natural width
            if getattr(self, name) == 0:
                natural = self.sub_macros if name == "load_rows" else self.cols
                object.__setattr__(self, name, natural)
        self._check_array()
        self._check_select()
        self._check_ports()

    def _check_types(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, str):
                check_choice(field.name, value, _WORDS[field.name])
            elif not isinstance(value, int) or isinstance(value, bool):
                raise ConfigError(f"{field.name} must be an integer, not {value!r}")

    def _choice(self, name: str, choices: tuple[int, ...]):
        check_choice(name, getattr(self, name), choices)

    def _range(self, name: str, low: int, high: int):
        check_integer(name, getattr(self, name), low, high)

    def _check_array(self):
        self._choice("sub_macros", (1, 2, 4, 8))
        self._range("rows", 1, 256)
        if not _power_of_two(self.rows):
            raise ConfigError(f"rows must be a power of two, not {self.rows!r}")
        self._range("cols", 1, 256)
        self._choice("weight_bits", (4, 8))
        self._choice("act_bits", (4, 8))
        self._choice("act_slice", tuple(s for s in (1, 2, 4, 8) if s <= self.act_bits))
        self._choice("weight_banks", (1, 2))
        self._choice("adder_stages", (1, 2))

    def _check_select(self):
        self._choice("max_m", (1, 2, 4, 8, 16))
        self._choice("index_share", (1, 2, 4))
        if self.cols % self.index_share:
            raise ConfigError(f"index_share must divide cols = {self.cols}, "
                              f"not {self.index_share!r}")
        if self.index_coding == "one_hot" and self.lines == 1:
            raise ConfigError(f"index_coding must be binary with max_m = {self.max_m}: one line "
                              "needs no index; not 'one_hot'")
        self._range("fixed_n", 0, self.max_m)
        if self.select == "pair":
            if self.index_share != 1:
                raise ConfigError(f"index_share needs select: line; with pair it must be 1, "
                                  f"not {self.index_share!r}")
            if self.fixed_n:
                raise ConfigError(f"fixed_n needs select: line; with pair it must be 0, "
                                  f"not {self.fixed_n!r}")
            if not 2 <= self.max_m <= 2 * self.sub_macros:
                raise ConfigError(f"max_m must be in 2..{2 * self.sub_macros} (2P) with select: "
                                  f"pair, not {self.max_m!r}")
        if not self.modes:
            raise ConfigError(f"fixed_n must be at most rows * sub_macros = "
                              f"{self.slots}, not {self.fixed_n!r}")

    def _check_ports(self):
        self._range("acc_bits", self.macro_bits, 48)
        limit = ((1 << self.acc_bits - 1) - 1) >> (self.weight_bits + self.act_bits - 2)
        if not 1 <= self.max_k <= limit:
            raise ConfigError(f"max_k must be in 1..{limit}, or acc_bits = {self.acc_bits} "
                              f"could overflow; not {self.max_k!r}")
        if not _power_of_two(self.load_rows) or self.load_rows > self.sub_macros:
            raise ConfigError(f"load_rows must be a power of two of at most sub_macros = "
                              f"{self.sub_macros}, not {self.load_rows!r}")
        self._range("act_port_bits", self.act_bits, 4096)
        if self.act_port_bits % self.act_bits:
            raise ConfigError(f"act_port_bits must be a multiple of act_bits = {self.act_bits}, "
                              f"not {self.act_port_bits!r}")
        self._range("out_port", 1, self.cols)
        if self.cols % self.out_port:
            raise ConfigError(f"out_port must divide cols = {self.cols}, not {self.out_port!r}")
        self._range("act_depth", 2, _FIELD16)
        self._range("acc_depth", 2, _FIELD16)

    # -- derived: geometry --------------------------------------------------------------------

    @property
    def slots(self) -> int:
        """Weight slots of one output column over all sub-macros, R * P."""
        return self.rows * self.sub_macros

    @property
    def groups(self) -> tuple[int, ...]:
        """Legal G: sub-macros that work on one output column together."""
        return tuple(1 << i for i in range(_log2(self.sub_macros) + 1))

    @cached_property
    def modes(self) -> tuple[Mode, ...]:
        """Every legal mode, densest N last, G ascending."""
        if self.select == "pair":
            return tuple(Mode(n, m, g) for n, m in PUBLISHED_PAIR_MODES for g in self.groups
                         if m <= self.max_m and g % n == 0)
        wanted = (self.fixed_n,) if self.fixed_n else range(1, self.max_m + 1)
        return tuple(Mode(n, self.max_m, g) for n in wanted for g in self.groups
                     if n <= self.rows * g)

    @cached_property
    def window_inputs(self) -> int:
        """Inputs one window can hold: the largest K_tile of any mode."""
        return max(self.k_tile(mode) for mode in self.modes)

    def k_tile(self, mode: Mode) -> int:
        """Return the inputs that a tile covers in this mode: ``(R*G div N) * M``."""
        return self.rows * mode.group // mode.n * mode.m

    def outputs(self, mode: Mode) -> int:
        """Return the output columns that a tile computes in this mode: ``P/G * C``."""
        return self.sub_macros // mode.group * self.cols

    # -- derived: widths ----------------------------------------------------------------------

    @property
    def lines(self) -> int:
        """Activation lines a cell selects from."""
        return 2 if self.select == "pair" else self.max_m

    @property
    def index_bits(self) -> int:
        """Bits stored per cell (or per ``index_share`` cells) to select a line."""
        return _log2(self.lines)

    @property
    def slices(self) -> int:
        """Cycles per activation vector and step."""
        return self.act_bits // self.act_slice

    @property
    def column_bits(self) -> int:
        """Width of a column's sum.

        R products of magnitude at most 2^(w-1) * 2^(a-1) sum to at most R * 2^(w+a-2), which is
        less than 2^(w+a+log2 R-1): no sum overflows w + a + log2 R two's-complement bits. The
        partial sums of unsigned slices, kept shifted to the top, fit as well: what has come of an
        activation is then less than 2^a, so they are less than R * 2^(w-1) * 2^a, the same bound.
        """
        return self.weight_bits + self.act_bits + _log2(self.rows)

    @property
    def term_bits(self) -> int:
        """Width of a column's sum of one slice, by the same bound."""
        return self.weight_bits + self.act_slice + _log2(self.rows)

    @property
    def macro_bits(self) -> int:
        """Width of a merged sum: adding P column sums needs log2 P further bits."""
        return self.column_bits + _log2(self.sub_macros)

    @property
    def unit_bits(self) -> int:
        """Bits that are written to a row of a column unit: ``index_share`` weights, their index."""
        return self.index_share * self.weight_bits + self.index_bits

    @property
    def cell_bits(self) -> int:
        """Bits that a row of a column unit holds in a bank, as ``index_coding`` has them."""
        index = self.lines if self.index_coding == "one_hot" else self.index_bits
        return self.index_share * self.weight_bits + index

    @property
    def units(self) -> int:
        """Column units per sub-macro, ``C / index_share``."""
        return self.cols // self.index_share

    @property
    def macro_latency(self) -> int:
        """Cycles from the last slice entering the macro to its merged sums: lines, sums, merge."""
        return 2 + self.adder_stages

    @property
    def drain_latency(self) -> int:
        """Cycles of a beat of results in the requantizers' pipeline."""
        return 3

    # -- derived: streams ---------------------------------------------------------------------

    @property
    def weight_beat_bits(self) -> int:
        """Width of the weight stream: ``load_rows`` rows of C columns with their indices."""
        return self.load_rows * self.units * self.unit_bits

    @property
    def weight_beats(self) -> int:
        """Beats that fill one weight bank."""
        return self.slots // self.load_rows

    @property
    def act_lanes(self) -> int:
        """Activations per beat of the activation port."""
        return self.act_port_bits // self.act_bits

    @property
    def window_beats(self) -> int:
        """Beats that fill the widest window."""
        return -(-self.window_inputs // self.act_lanes)

    @property
    def select_bits(self) -> int:
        """Bits of one step of ``pair`` select: two mux levels per cell, then a column mask."""
        if self.select != "pair":
            return 0
        return self.slots * 2 * _log2(self.sub_macros) + self.sub_macros * self.cols

    @property
    def select_beats(self) -> int:
        """Beats of the weight stream that carry one step."""
        return -(-self.select_bits // self.weight_beat_bits)

    @property
    def max_steps(self) -> int:
        """Steps a bank can hold: one per column always suffices."""
        return self.cols if self.select == "pair" else 1

    def out_beats(self, mode: Mode) -> int:
        """Beats of the result stream per vector."""
        return self.outputs(mode) // self.out_port

    # -- identity -----------------------------------------------------------------------------

    def to_dict(self) -> dict[str, int | str]:
        """Return every parameter, for manifests and reports."""
        return asdict(self)

    def replace(self, **changes) -> "DcimConfig":
        """Return a copy with some parameters changed.

        ``load_rows`` and ``out_port`` follow P and C again when those change.
        """
        follows = {"load_rows": "sub_macros", "out_port": "cols"}
        for name, source in follows.items():
            if source in changes and getattr(self, name) == getattr(self, source):
                changes.setdefault(name, 0)
        return replace(self, **changes)

    @cached_property
    def digest(self) -> str:
        """Sixteen hex digits that change whenever a parameter does."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
