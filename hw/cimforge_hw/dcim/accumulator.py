"""The accumulator: sums over K tiles, passes and steps."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.config import DcimConfig
from cimforge_hw.dcim.macro import MergedSignature

__all__ = ["Accumulator", "TotalsSignature"]


class TotalsSignature(wiring.Signature):
    """Finished sums of one vector, with valid and ready."""

    def __init__(self, config: DcimConfig):
        lanes = config.sub_macros * config.cols
        super().__init__({
            "valid": Out(1),
            "ready": In(1),
            "lane": Out(data.ArrayLayout(signed(config.acc_bits), lanes)),
            "group_log2": Out(3),
            "requantize": Out(1),
            "end": Out(1),
        })


class Accumulator(wiring.Component):
    """Adds merged sums to a row of its memory, or passes the total on.

    Combinational from ``merged`` to ``totals``; a sum that is not ``last`` is stored in the cycle
    it arrives, a ``last`` one waits for ``totals.ready``. Sums wrap at ``acc_bits``; a legal
    program (K at most ``max_k``) cannot make them.

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    merged : ``In(MergedSignature(config))``
        Sums of the macro, with their accumulation row.
    totals : ``Out(TotalsSignature(config))``
        Finished sums.
    """

    def __init__(self, config: DcimConfig):
        self._config = config
        super().__init__({
            "merged": In(MergedSignature(config)),
            "totals": Out(TotalsSignature(config)),
        })

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        tag = self.merged.tag
        layout = self.totals.lane.shape()
        m.submodules.sums = sums = memory.Memory(shape=layout, depth=cfg.acc_depth, init=[])
        read = sums.read_port(domain="comb")
        write = sums.write_port()
        total = Signal(layout)
        for lane, merged in enumerate(self.merged.lane):
            m.d.comb += total[lane].eq(Mux(tag.first, 0, read.data[lane]) + merged)
        m.d.comb += [
            read.addr.eq(tag.acc),
            write.addr.eq(tag.acc),
            write.data.eq(total),
            write.en.eq(self.merged.valid & ~tag.last),
            self.totals.valid.eq(self.merged.valid & tag.last),
            self.merged.ready.eq(~tag.last | self.totals.ready),
            self.totals.lane.eq(total),
            self.totals.group_log2.eq(self.merged.group_log2),
            self.totals.requantize.eq(tag.requantize),
            self.totals.end.eq(tag.end),
        ]
        return m
