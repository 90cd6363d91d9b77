"""The programmer: a grain square of weights from the stream into an array's cells."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import WORD_BITS, AnalogConfig
from cimforge_hw.analog.block import AnalogBlock, ProgramSignature, index, part_of

__all__ = ["Programmer"]


class Programmer(AnalogBlock):
    """Writes ``port`` cells per cycle, row by row, from the cycle after ``start`` on.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    start : ``In(1)``
        Begin; stays until ``done``, as do the next three.
    row, col : ``In(grains)``, ``tag`` : ``In(8)``
        The grain square, and its tag.
    weights : ``In(stream.Signature(port * 8))``
        INT8 weights.
    program : ``Out`` of :class:`~cimforge_hw.analog.block.ProgramSignature` without ``erase``
        To an array.
    done : ``Out(1)``
        The last beat is written.
    """

    def __init__(self, config: AnalogConfig):
        super().__init__(config, {
            "start": In(1),
            "row": In(index(config.grains)),
            "col": In(index(config.grains)),
            "tag": In(WORD_BITS),
            "weights": In(stream.Signature(config.port * WORD_BITS)),
            "program": Out(part_of(ProgramSignature(config), "mark", "tag", "row", "col", "en",
                                   "line", "chunk", "cells")),
            "done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg, program = self._config, self.program
        busy, line, part = Signal(), Signal(index(cfg.grain)), Signal(index(cfg.grain_beats))
        last_part = part == cfg.grain_beats - 1
        rows, parts = cfg.grain.bit_length() - 1, cfg.grain_beats.bit_length() - 1
        m.d.comb += [
            self.weights.ready.eq(busy),
            self.done.eq(program.en & last_part & (line == cfg.grain - 1)),
            program.mark.eq(self.start),
            program.tag.eq(self.tag),
            program.row.eq(self.row),
            program.col.eq(self.col),
            program.en.eq(busy & self.weights.valid),
            program.line.eq(Cat(line[:rows], self.row)),
            program.chunk.eq(Cat(part[:parts], self.col)),
        ]
        with m.If(self.start):
            m.d.sync += busy.eq(1)
        with m.If(program.en):
            m.d.sync += part.eq(Mux(last_part, 0, part + 1))
            with m.If(last_part):
                m.d.sync += line.eq(line + 1)
        with m.If(self.done):
            m.d.sync += [busy.eq(0), line.eq(0)]
        # Weights are stored in offset binary: their top bit turns over.
        for i, cell in enumerate(program.cells):
            weight = self.weights.payload.word_select(i, WORD_BITS)
            m.d.comb += cell.eq(weight ^ (1 << WORD_BITS - 1))
        return m
