"""Is a command legal? The checks of ``docs/dcim.md``, in the order of their codes."""

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.commands import FIELDS, ErrorCode, Opcode
from cimforge.spec.config import DcimConfig
from cimforge_hw.common.requantizer import MAX_SHIFT
from cimforge_hw.dcim.mode import is_mode

__all__ = ["Check", "CommandLayout"]


class CommandLayout(data.StructLayout):
    """A command word.

    LoadActs has ``beats`` in ``stride``, SetRequantize ``output`` in ``row``, ``multiplier`` in
    ``count`` and ``shift`` in ``steps``.
    """

    def __init__(self):
        super().__init__({**dict(FIELDS), "bias": signed(32)})


class Check(wiring.Component):
    """Judges a command; the caller tells what the program has loaded before it.

    What the word alone decides is worked out in the cycle in which the command is taken, so that
    its additions and a multiplication do not delay the dispatch.

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    command : ``In(CommandLayout())``, ``take`` : ``In(1)``
        Command to judge from the next cycle on.
    loaded : ``In(2)``
        Banks with weights at this point of the program.
    steps : ``In(12)``
        Select steps of the bank of the command that was taken, at this point of the program.
    error : ``Out(4)``
        :class:`~cimforge.spec.commands.ErrorCode`; 0 if the command that was taken is legal.
    """

    def __init__(self, config: DcimConfig):
        self._config = config
        super().__init__({
            "command": In(CommandLayout()),
            "take": In(1),
            "loaded": In(2),
            "steps": In(12),
            "error": Out(4),
        })

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        found, by_word = Signal(4), Signal(4)
        held = Signal(CommandLayout())
        self._first(m, found, self._checks_of_word())
        with m.If(self.take):
            m.d.sync += [by_word.eq(found), held.eq(self.command)]
        self._first(m, self.error, self._checks_of_order(held))
        with m.If(by_word != 0):  # comes first in the table
            m.d.comb += self.error.eq(by_word)
        return m

    @staticmethod
    def _first(m: Module, error, checks):
        """Report the first check that fails."""
        for code, failed in reversed(checks):  # a later assignment wins: the first check must
            with m.If(failed):
                m.d.comb += error.eq(code)

    def _checks_of_word(self):
        cfg, c = self._config, self.command
        is_op = {op: c.opcode == op for op in Opcode}
        load_selects, load_acts = is_op[Opcode.LOAD_SELECTS], is_op[Opcode.LOAD_ACTS]
        compute, set_requantize = is_op[Opcode.COMPUTE], is_op[Opcode.SET_REQUANTIZE]
        bad_steps = (c.steps == 0) | (c.steps > cfg.max_steps)
        unknown = ~c.opcode.matches(*(int(op) for op in Opcode))
        if cfg.select != "pair":
            unknown |= load_selects
        if cfg.weight_banks == 1:
            unknown |= (self._loads_bank(c) | compute) & c.bank
        windows_end = c.row + c.count
        last_window = c.row + c.stride * (c.count - 1)
        # Sums that live in the accumulation memory, be it from step to step only.
        kept = compute & (~(c.first & c.last) | (c.steps > 1))
        return [
            (ErrorCode.OPCODE, unknown),
            (ErrorCode.MODE, compute & ~self._legal_mode()),
            (ErrorCode.COUNT, load_selects & bad_steps),
            (ErrorCode.COUNT, (load_acts | compute) & (c.count == 0)),
            (ErrorCode.COUNT, load_acts & ((c.stride == 0) | (c.stride > cfg.window_beats))),
            (ErrorCode.COUNT, compute & bad_steps),
            (ErrorCode.COUNT, set_requantize & (c.steps > MAX_SHIFT)),
            (ErrorCode.ADDRESS, load_acts & (windows_end > cfg.act_depth)),
            (ErrorCode.ADDRESS, compute & (last_window >= cfg.act_depth)),
            (ErrorCode.ADDRESS, kept & (c.acc + c.count > cfg.acc_depth)),
            (ErrorCode.ADDRESS, set_requantize & (c.row >= cfg.sub_macros * cfg.cols)),
        ]

    def _checks_of_order(self, c):
        loaded = self.loaded.bit_select(c.bank, 1)
        compute = c.opcode == Opcode.COMPUTE
        return [
            (ErrorCode.NO_WEIGHTS, compute & ~loaded),
            (ErrorCode.BANK_FULL, self._loads_bank(c) & loaded),
            *([(ErrorCode.NO_SELECTS, compute & (c.steps > self.steps))]
              if self._config.select == "pair" else []),
        ]

    @staticmethod
    def _loads_bank(c):
        return (c.opcode == Opcode.LOAD_WEIGHTS) | (c.opcode == Opcode.LOAD_SELECTS)

    def _legal_mode(self):
        c = self.command
        return is_mode(self._config, Cat(c.n, c.m_log2, c.group_log2))
