"""The column as synthesis takes it: one carry-save tree of full adders, and-or line select.

To the cycle and to the bit what :class:`~cimforge_hw.dcim.column.Column` is, whose ``*`` and ``+``
simulate fast but become twice as many gates.
"""

from amaranth import Module, Signal, Value

from cimforge_hw.common.carry_save import CarrySave
from cimforge_hw.dcim.column import Column, any_of

__all__ = ["CarrySaveColumn"]


class CarrySaveColumn(Column):
    """A column with the ports and the behaviour of :class:`~cimforge_hw.dcim.column.Column`."""

    def _picked(self, m: Module, row: int, index: Value) -> Value:
        hot = [Signal(name=f"hot_{row}_{i}") for i in range(self._config.lines)]
        for i, bit in enumerate(hot):
            m.d.comb += bit.eq(index == i if self._config.index_coding == "binary" else index[i])
        return any_of(self._gated(row, hot))

    def _addends(self, m: Module, platform, j: int, weights: list[Value],
                 acts: list[Signal]) -> list[Value]:
        cfg = self._config
        top = cfg.act_slice - 1
        tree = CarrySave(m, platform, cfg, cfg.term_bits, f"adder_{j}")
        for i in range(cfg.act_slice if cfg.slices == 1 else top):
            self._partial(tree, weights, acts, i, i, subtract=cfg.slices == 1 and i == top)
        if cfg.slices > 1:
            # The highest bit of a slice counts negatively in the last one: a tree of its own, whose
            # two numbers are then inverted; the two ones that this lacks are a `last` twice as
            # high.
            signs = CarrySave(m, platform, cfg, cfg.term_bits - top, f"sign_{j}")
            self._partial(signs, weights, acts, top, 0, subtract=False)
            for number in signs.reduce():
                tree.add_bits(number ^ self.last.replicate(len(number)), top, signs.depth)
            tree.add_bits(self.last, top + 1)
        return list(tree.reduce())

    def _partial(self, tree: CarrySave, weights: list[Value], acts: list[Signal], i: int,
                 position: int, subtract: bool):
        """Add bit i of every activation times its weight, at ``position``, or subtract it."""
        for weight, act in zip(weights, acts, strict=True):
            bits = Value.cast(weight)
            for k in range(len(bits)):
                negative = subtract != (k == len(bits) - 1)
                tree.add_bits(bits[k] & act[i], position + k, negative=negative)
