"""One column of an array: the cells of all planes, and their sums over the driven rows."""

from amaranth import Cat, Const, Module, Signal
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import WORD_BITS, AnalogConfig
from cimforge_hw.analog.block import ROWS, AnalogBlock, index, line_words, sums_bits
from cimforge_hw.common.adder_tree import adder_tree
from cimforge_hw.common.bit_slices import WORD, sum_lanes

__all__ = ["Column"]


class Column(AnalogBlock):
    """m cells of 8 bits, 0 after reset; ``sums`` is combinational.

    Plane s holds the bits ``w*s … w*s + w - 1`` of every cell. A write needs one cycle.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    line : ``In(64).array(m / 8)``
        Driven word lines, row 0 lowest.
    write : ``In(1)``, ``word`` : ``In(m / 8)``, ``rows`` : ``In(64)``, ``cell`` : ``In(8)``
        Set the cells of these rows of a word.
    erase : ``In(1)``
        Zero all cells.
    sums : ``Out(sums_bits(config))``
        Per plane, the sum of the driven cells.
    """

    def __init__(self, config: AnalogConfig):
        words = line_words(config)
        super().__init__(config, {
            "line": In(WORD).array(words),
            "write": In(1),
            "word": In(index(words)),
            "rows": In(WORD),
            "cell": In(WORD_BITS),
            "erase": In(1),
            "sums": Out(sums_bits(config)),
        })

    def elaborate(self, platform):
        m = Module()
        driven = [self._cells(m, i) & line for i, line in enumerate(self.line)]
        slices = sum_lanes(m, driven, WORD_BITS, "count")
        counts = [Cat(part[bit] for part in slices) for bit in range(WORD_BITS)]
        w, size = self._config.cell_bits, self._config.sum_bits
        for plane in range(self._config.planes):
            bits = counts[plane * w:(plane + 1) * w]
            m.d.comb += self.sums.word_select(plane, size).eq(
                adder_tree([Cat(Const(0, i), count) if i else count
                            for i, count in enumerate(bits)]))
        return m

    def _cells(self, m: Module, word: int) -> Signal:
        cells = Signal(WORD, name=f"cells_{word}")
        cell = self.cell.replicate(ROWS)
        with m.If(self.write & (self.word == word)):
            m.d.sync += cells.eq((cells & ~self.rows) | (cell & self.rows))
        with m.If(self.erase):
            m.d.sync += cells.eq(0)
        return cells
