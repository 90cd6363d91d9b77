"""How many conversions of every column of an array were clamped."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import AnalogConfig
from cimforge_hw.analog.block import AnalogBlock, index
from cimforge_hw.analog.shift_add import AccumulatorLayout

__all__ = ["Saturation"]


class Saturation(AnalogBlock):
    """A wrapping count per column, zero after reset and ``clear``.

    Drives are added as they retire, so that a count is right between the commands of a program,
    whatever the array converts already.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    chunk : ``In(m / port)``
        Which columns to read or to add to.
    add : ``In(1)``, ``clamped`` : ``In(...).array(port)``
        Add to their counts.
    counts : ``Out(acc_bits).array(port)``
        Their counts, in the same cycle.
    clear : ``In(1)``
        Zero all counts.
    """

    def __init__(self, config: AnalogConfig):
        super().__init__(config, {
            "chunk": In(index(config.array // config.port)),
            "add": In(1),
            "clamped": In(AccumulatorLayout(config)["clamped"].shape).array(config.port),
            "counts": Out(config.acc_bits).array(config.port),
            "clear": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        chunks = cfg.array // cfg.port
        table = memory.Memory(shape=data.ArrayLayout(cfg.acc_bits, cfg.port),
                              depth=max(2, chunks), init=[])
        m.submodules.counts = table
        write, read = table.write_port(), table.read_port(domain="comb")
        counted, here = Signal(chunks), Signal(chunks)  # a memory cannot be cleared at once
        m.d.comb += [
            here.eq(1 << self.chunk),
            write.addr.eq(self.chunk),
            write.en.eq(self.add),
            read.addr.eq(self.chunk),
        ]
        for i, (count, clamped) in enumerate(zip(self.counts, self.clamped, strict=True)):
            m.d.comb += [
                count.eq(Mux((counted & here).any(), read.data[i], 0)),
                write.data[i].eq(count + clamped),
            ]
        with m.If(self.add):
            m.d.sync += counted.eq(counted | here)
        with m.If(self.clear):
            m.d.sync += counted.eq(0)
        return m
