"""The distribution network: from the window to the lines of every slot, by mode."""

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.config import DcimConfig
from cimforge.spec.mode import Mode, slot_blocks
from cimforge_hw.dcim.mode import ModeLayout, mode_value

__all__ = ["Distribution"]


class Distribution(wiring.Component):
    """Give every slot the inputs its weight may need; combinational.

    ``line`` select: the whole block of the slot. ``pair`` select: one pair of it, through the two
    multiplexer levels of the published macro. Slots that a mode does not use get zeros.

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    window : ``In(max_m * act_slice).array(blocks)``
        Sliced activations.
    mode : ``In(ModeLayout())``
        A legal mode.
    level1, level2 : ``In(log2 P).array(R, P)``
        ``pair`` with P > 1 only: which pair of its block each level-1 multiplexer passes; which
        level-1 multiplexer of its row each slot listens to.
    line : ``Out(lines * act_slice).array(P, R)``
        Lines of every slot.
    """

    def __init__(self, config: DcimConfig):
        self._config = config
        blocks = config.window_inputs // config.max_m
        members = {
            "window": In(config.max_m * config.act_slice).array(blocks),
            "mode": In(ModeLayout()),
            "line": Out(config.lines * config.act_slice).array(config.sub_macros, config.rows),
        }
        self._select_width = config.sub_macros.bit_length() - 1
        if config.select == "pair" and self._select_width:
            for level in ("level1", "level2"):
                members[level] = In(self._select_width).array(config.rows, config.sub_macros)
        super().__init__(members)

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        if self._config.select == "pair":
            self._pairs(m)
        else:
            self._lines(m)
        return m

    def _by_source(self, row: int, sub_macro: int) -> dict[tuple[int, int], list[Mode]]:
        """Return the modes in which a slot works on (block, M), for every such source."""
        sources: dict[tuple[int, int], list[Mode]] = {}
        for mode, blocks in self._blocks.items():
            block = int(blocks[row, sub_macro])
            if block >= 0:
                sources.setdefault((block, mode.m), []).append(mode)
        return sources

    def _choose(self, m: Module, target, row: int, sub_macro: int, source):
        """Drive ``target`` with ``source(block, M)`` of the current mode, else with zeros."""
        with m.Switch(self.mode.as_value()):
            for (block, size), modes in self._by_source(row, sub_macro).items():
                with m.Case(*(mode_value(mode) for mode in modes)):
                    m.d.comb += target.eq(source(block, size))

    @property
    def _blocks(self):
        if not hasattr(self, "_block_cache"):
            self._block_cache = {mode: slot_blocks(self._config, mode)
                                 for mode in self._config.modes}
        return self._block_cache

    def _lines(self, m: Module):
        for row in range(self._config.rows):
            for sub_macro in range(self._config.sub_macros):
                self._choose(m, self.line[sub_macro][row], row, sub_macro,
                             lambda block, _size: self.window[block])

    def _pairs(self, m: Module):
        cfg = self._config
        width = 2 * cfg.act_slice
        inputs = Cat(*self.window)

        def pairs(block: int, size: int):
            """Return the pairs of a block; M = 1 has one, with nothing beside its input."""
            start = block * size * cfg.act_slice
            return Cat(inputs[start:start + size * cfg.act_slice],
                       Const(0, cfg.sub_macros * width - size * cfg.act_slice))

        for row in range(cfg.rows):
            level1 = []
            for p in range(cfg.sub_macros):
                bus = Signal(cfg.sub_macros * width, name=f"pairs_{row}_{p}")
                self._choose(m, bus, row, p, pairs)
                passed = Signal(width, name=f"passed_{row}_{p}")
                m.d.comb += passed.eq(bus.word_select(self.level1[row][p], width)
                                      if self._select_width else bus)
                level1.append(passed)
            for p in range(cfg.sub_macros):
                m.d.comb += self.line[p][row].eq(
                    Cat(*level1).word_select(self.level2[row][p], width)
                    if self._select_width else level1[p])
