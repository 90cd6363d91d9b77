"""The crossbar: all columns of an array, programmed ``port`` cells of a row per cycle."""

from amaranth import Module, Signal
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import WORD_BITS, AnalogConfig
from cimforge_hw.analog.block import (
    ROWS,
    AnalogBlock,
    ProgramSignature,
    line_words,
    part_of,
    sums_bits,
)
from cimforge_hw.analog.column import Column
from cimforge_hw.common.bit_slices import WORD
from cimforge_hw.common.place import place

__all__ = ["Crossbar"]


class Crossbar(AnalogBlock):
    """m columns on the same word lines; erasing takes one cycle.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    line : ``In(64).array(m / 8)``
        Driven word lines, as the columns need them.
    program : ``In`` of what it needs of :class:`~cimforge_hw.analog.block.ProgramSignature`
        Cells to write.
    sums : ``Out(sums_bits(config)).array(m)``
        Column sums.
    """

    def __init__(self, config: AnalogConfig):
        super().__init__(config, {
            "line": In(WORD).array(line_words(config)),
            "program": In(part_of(ProgramSignature(config), "erase", "en", "line", "chunk",
                                  "cells")),
            "sums": Out(sums_bits(config)).array(config.array),
        })

    def elaborate(self, platform):
        m = Module()
        cfg, program = self._config, self.program
        rows, split = Signal(WORD), ROWS.bit_length() - 1
        with m.Switch(program.line[:split]):
            for row in range(ROWS):
                with m.Case(row):
                    m.d.comb += rows.word_select(row, WORD_BITS).eq((1 << WORD_BITS) - 1)
        for c in range(cfg.array):
            column = place(m, f"column_{c}", Column, cfg, platform)
            m.d.comb += [
                *(a.eq(b) for a, b in zip(column.line, self.line, strict=True)),
                column.write.eq(program.en & (program.chunk == c // cfg.port)),
                column.word.eq(program.line[split:]),
                column.rows.eq(rows),
                column.cell.eq(program.cells[c % cfg.port]),
                column.erase.eq(program.erase),
                self.sums[c].eq(column.sums),
            ]
        return m
