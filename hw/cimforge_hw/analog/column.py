"""One column of an array: the cells of all planes, and their sums over the driven rows."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import WORD_BITS, AnalogConfig
from cimforge_hw.analog.block import AnalogBlock, line_words, sums_bits
from cimforge_hw.common.adder_tree import adder_tree
from cimforge_hw.common.popcount import popcount

__all__ = ["Column"]


class Column(AnalogBlock):
    """m cells of 8 bits, 0 after reset; ``sums`` is combinational.

    Plane s holds the bits ``w*s … w*s + w - 1`` of every cell. A write needs one cycle.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    line : ``In(width).array(words)``
        Driven word lines, row 0 lowest.
    write : ``In(1)``, ``rows`` : ``In(width).array(words)``, ``cell`` : ``In(8)``
        Set the cells of these rows.
    sums : ``Out(sums_bits(config))``
        Per plane, the sum of the driven cells.
    """

    def __init__(self, config: AnalogConfig):
        width, words = line_words(config)
        super().__init__(config, {
            "line": In(width).array(words),
            "write": In(1),
            "rows": In(width).array(words),
            "cell": In(WORD_BITS),
            "sums": Out(sums_bits(config)),
        })

    def elaborate(self, platform):
        m = Module()
        w = self._config.cell_bits
        counts = [self._count(m, bit) for bit in range(WORD_BITS)]
        for plane in range(self._config.planes):
            bits = counts[plane * w:(plane + 1) * w]
            m.d.comb += self.sums.word_select(plane, self._config.sum_bits).eq(
                adder_tree([Cat(Const(0, i), count) if i else count
                            for i, count in enumerate(bits)]))
        return m

    def _count(self, m: Module, bit: int):
        """Return how many driven cells have a bit."""
        width, words = line_words(self._config)
        counts = []
        for word in range(words):
            cells = Signal(width, name=f"cells_{bit}_{word}")
            rows = self.rows[word]
            with m.If(self.write):
                m.d.sync += cells.eq(Mux(self.cell[bit], cells | rows, cells & ~rows))
            counts.append(popcount(m, cells & self.line[word], f"count_{bit}_{word}"))
        return adder_tree(counts)
