"""The crossbar: all columns of an array, programmed ``port`` cells of a row per cycle."""

from amaranth import Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import AnalogConfig
from cimforge_hw.analog.block import (
    AnalogBlock,
    ProgramSignature,
    line_words,
    part_of,
    sums_bits,
)
from cimforge_hw.analog.column import Column
from cimforge_hw.common.place import place

__all__ = ["Crossbar"]


class Crossbar(AnalogBlock):
    """m columns on the same word lines; erasing takes one cycle.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    line : ``In(width).array(words)``
        Driven word lines.
    program : ``In`` of what it needs of :class:`~cimforge_hw.analog.block.ProgramSignature`
        Cells to write.
    sums : ``Out(sums_bits(config)).array(m)``
        Column sums.
    """

    def __init__(self, config: AnalogConfig):
        width, words = line_words(config)
        super().__init__(config, {
            "line": In(width).array(words),
            "program": In(part_of(ProgramSignature(config), "erase", "en", "line", "chunk",
                                  "cells")),
            "sums": Out(sums_bits(config)).array(config.array),
        })

    def elaborate(self, platform):
        m = Module()
        rows = self._decode(m)
        port = self._config.port
        for c in range(self._config.array):
            column = place(m, f"column_{c}", Column, self._config, platform)
            m.d.comb += [
                *(a.eq(b) for a, b in zip(column.line, self.line, strict=True)),
                *(a.eq(b) for a, b in zip(column.rows, rows, strict=True)),
                column.write.eq(self.program.erase
                                | (self.program.en & (self.program.chunk == c // port))),
                column.cell.eq(Mux(self.program.erase, 0, self.program.cells[c % port])),
                self.sums[c].eq(column.sums),
            ]
        return m

    def _decode(self, m: Module) -> list[Signal]:
        """Return the row to program, one bit each; all rows to erase."""
        width, words = line_words(self._config)
        split = width.bit_length() - 1
        line = self.program.line
        rows = []
        for word in range(words):
            here = Signal(width, name=f"rows_{word}")
            bit = Const(1, width) << line[:split]
            m.d.comb += here.eq(Mux(line[split:] == word, bit, 0) if words > 1 else bit)
            with m.If(self.program.erase):
                m.d.comb += here.eq((1 << width) - 1)
            rows.append(here)
        return rows
