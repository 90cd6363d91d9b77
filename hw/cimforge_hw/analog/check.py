"""Is a command legal? The table of errors of ``docs/analog.md``, in its order."""

from amaranth import Cat, Module, Signal
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.commands import AnalogError, AnalogOpcode
from cimforge.spec.analog.config import AnalogConfig
from cimforge_hw.analog.block import AnalogBlock, CommandLayout, index
from cimforge_hw.common.requantizer import MAX_SHIFT

__all__ = ["Check"]


class Check(AnalogBlock):
    """Combinational verdict on a command.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    command : ``In(CommandLayout())``
        Command to judge.
    error : ``Out(4)``
        :class:`~cimforge.spec.analog.commands.AnalogError`; 0 if the command is legal.
    """

    def __init__(self, config: AnalogConfig):
        super().__init__(config, {"command": In(CommandLayout()), "error": Out(4)})

    def elaborate(self, platform):
        m = Module()
        for code, failed in reversed(self._checks(m)):  # a later assignment wins
            with m.If(failed):
                m.d.comb += self.error.eq(code)
        return m

    def _checks(self, m: Module):
        cfg, c = self._config, self.command
        is_op = {op: c.opcode == op for op in AnalogOpcode}
        drive, program = is_op[AnalogOpcode.DRIVE], is_op[AnalogOpcode.PROGRAM]
        set_requantize = is_op[AnalogOpcode.SET_REQUANTIZE]
        incoming, outgoing = is_op[AnalogOpcode.INPUT], is_op[AnalogOpcode.OUTPUT]
        of_array = (program | drive | is_op[AnalogOpcode.ERASE]
                    | is_op[AnalogOpcode.READ_SATURATION])
        most = cfg.grains.bit_length() - 1  # grains of a block, as a logarithm
        grains = (program & ((c.src >= cfg.grains) | (c.dst >= cfg.grains)))
        beyond_slots = (set_requantize | (drive & c.requantize)) & (c.slot >= cfg.requantizers)
        return [
            (AnalogError.OPCODE, ~c.opcode.matches(*(int(op) for op in AnalogOpcode))),
            (AnalogError.ARRAY, of_array & (c.array >= cfg.arrays)),
            (AnalogError.MASK, drive & self._bad(c.row_mask)),
            (AnalogError.MASK, drive & self._bad(c.col_mask)),
            (AnalogError.PRECISION, drive & ((c.bits == 0) | (c.bits > cfg.adc_bits))),
            (AnalogError.PRECISION, drive & (c.src_block_log2 > most)),
            (AnalogError.PRECISION, drive & (c.dst_block_log2 > most)),
            (AnalogError.COUNT, (incoming & (c.src == 0)) | (outgoing & (c.dst == 0))),
            (AnalogError.COUNT, program & ((c.depends == 0) | (c.depends > 255))),
            (AnalogError.COUNT, set_requantize & (c.src_stride > MAX_SHIFT)),
            (AnalogError.ADDRESS, grains | beyond_slots),
            (AnalogError.ADDRESS, incoming & (c.dst + c.src * cfg.port > cfg.act_depth)),
            (AnalogError.ADDRESS, outgoing & (c.src + c.dst * cfg.port > cfg.acc_depth)),
            (AnalogError.ADDRESS, drive & self._beyond(m)),
        ]

    def _bad(self, mask):
        return (mask == 0) | mask[self._config.grains:].any()

    def _beyond(self, m: Module):
        """Return whether a drive reads or writes beyond a memory."""
        cfg, c = self._config, self.command
        source = self._last(m, "src", c.row_mask)
        target = self._last(m, "dst", c.col_mask)
        sums = ~c.requantize | c.accumulate
        return ((source >= cfg.act_depth) | (c.requantize & (target >= cfg.act_depth))
                | (sums & (target >= cfg.acc_depth)))

    def _last(self, m: Module, side: str, mask):
        """Return the largest address of a side in full width.

        Blocks are turned by the rotation, so that block q stands at place q; then the highest one
        with an active grain counts.
        """
        cfg, c = self._config, self.command
        turn = Signal(index(cfg.grains), name=f"{side}_turn")
        reach = Signal(16 + cfg.array.bit_length(), name=f"{side}_reach")
        stride, rotation = c[f"{side}_stride"], c[f"{side}_rotation"]
        with m.Switch(c[f"{side}_block_log2"]):
            for k in range(cfg.grains.bit_length()):
                size, blocks = 1 << k, cfg.grains >> k
                used = Cat(mask[b * size:(b + 1) * size].any() for b in range(blocks))
                turned = Signal(blocks, name=f"{side}_turned_{k}")
                by = rotation[:blocks.bit_length() - 1]
                m.d.comb += turned.eq(Cat(used, used) >> by if len(by) else used)
                with m.Case(k):
                    m.d.comb += reach.eq(stride * (size * cfg.grain - 1))
                    for q in range(blocks):  # the highest wins
                        with m.If(turned[q]):
                            m.d.comb += turn.eq(q)
        return c[side] + c[f"{side}_jump"] * turn + reach
