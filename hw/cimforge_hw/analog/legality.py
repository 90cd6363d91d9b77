"""Tags of an array: what a drive's columns meet, found while its word lines load."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import WORD_BITS, AnalogConfig
from cimforge_hw.analog.block import AnalogBlock, LoadSignature, ProgramSignature, part_of

__all__ = ["Legality", "correction_bits"]


def correction_bits(config: AnalogConfig) -> int:
    """Return the width of the sum of the activations of all rows."""
    return WORD_BITS + config.array.bit_length() - 1


class Legality(AnalogBlock):
    """Remembers which grain squares are programmed, and with what tag; nothing after reset.

    While a drive loads, every column grain sums the activations of the rows that are programmed in
    it, for the offset of their cells, and compares the tags that it meets.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    load : ``In`` of what it needs of :class:`~cimforge_hw.analog.block.LoadSignature`
        Rows of the next drive.
    col_mask : ``In(grains)``
        Grains that it converts, from the cycle after ``begin`` on.
    program : ``In`` of what it needs of :class:`~cimforge_hw.analog.block.ProgramSignature`
        Tags to set, or to forget.
    start : ``In(1)``
        The next drive becomes the current one.
    mixed : ``Out(1)``
        These rows bring a converted column its second tag, or a further one.
    correction : ``Out(signed(correction_bits)).array(grains)``
        Sums of the current drive, per column grain.
    """

    def __init__(self, config: AnalogConfig):
        super().__init__(config, {
            "load": In(part_of(LoadSignature(config), "begin", "en", "grain", "sum")),
            "col_mask": In(config.grains),
            "program": In(part_of(ProgramSignature(config), "erase", "mark", "tag", "row", "col")),
            "start": In(1),
            "mixed": Out(1),
            "correction": Out(signed(correction_bits(config))).array(config.grains),
        })

    def elaborate(self, platform):
        m = Module()
        cfg, load = self._config, self.load
        here, tags = self._tags(m)
        mixes = []
        for c in range(cfg.grains):
            total = Signal(signed(correction_bits(cfg)), name=f"correction_{c}_next")
            met, tag = Signal(name=f"met_{c}"), Signal(WORD_BITS, name=f"tag_{c}")
            with m.If(load.en & here[c]):
                m.d.sync += [total.eq(total + load.sum), met.eq(1), tag.eq(tags[c])]
            with m.If(load.begin):
                m.d.sync += [total.eq(0), met.eq(0)]
            with m.If(self.start):
                m.d.sync += self.correction[c].eq(total)
            mixes.append(self.col_mask[c] & here[c] & met & (tag != tags[c]))
        m.d.comb += self.mixed.eq(load.en & Cat(mixes).any())
        return m

    def _tags(self, m: Module):
        """Return, of the grain that loads, where it is programmed and its tags."""
        cfg, program = self._config, self.program
        table = memory.Memory(shape=data.ArrayLayout(WORD_BITS, cfg.grains),
                              depth=max(2, cfg.grains), init=[])
        m.submodules.tags = table
        write, read = table.write_port(granularity=1), table.read_port(domain="comb")
        column = Signal(cfg.grains)
        m.d.comb += [
            column.eq(Mux(program.mark, 1 << program.col, 0)),
            write.addr.eq(program.row),
            write.data.eq(program.tag.replicate(cfg.grains)),
            write.en.eq(column),
            read.addr.eq(self.load.grain),
        ]
        here = Signal(cfg.grains)
        rows = [Signal(cfg.grains, name=f"programmed_{g}") for g in range(cfg.grains)]
        for g, row in enumerate(rows):
            with m.If(program.row == g):
                m.d.sync += row.eq(row | column)
            with m.If(program.erase):
                m.d.sync += row.eq(0)
        with m.Switch(self.load.grain):
            for g, row in enumerate(rows):
                with m.Case(g):
                    m.d.comb += here.eq(row)
        return here, read.data
