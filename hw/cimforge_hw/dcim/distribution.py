"""The distribution network: from the window to the lines of every slot, by mode."""

from amaranth import Cat, Const, Module, Signal, Value
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

    def _row(self, m: Module, row: int, source) -> list[Value]:
        """Return, for every slot of a row, ``source(block, M)`` of its block in the current mode.

        The P slots of a row are neighbours and share blocks in most modes: buses of the row take
        the blocks that it works on, in order, and each slot listens to one of them. That is half
        the gates of a choice per slot.
        """
        listeners: list[dict[int, list[Mode]]] = [{} for _ in range(self._config.sub_macros)]
        carried: list[dict[tuple[int, int], list[Mode]]] = []
        for mode, blocks in self._blocks.items():
            wanted = [int(block) for block in blocks[row]]
            for bus, block in enumerate(sorted({block for block in wanted if block >= 0})):
                if bus == len(carried):
                    carried.append({})
                carried[bus].setdefault((block, mode.m), []).append(mode)
                for slot, mine in enumerate(wanted):
                    if mine == block:
                        listeners[slot].setdefault(bus, []).append(mode)
        buses = [self._chosen(m, f"bus_{row}_{i}", [(source(*key), modes)
                                                    for key, modes in choices.items()])
                 for i, choices in enumerate(carried)]
        return [self._chosen(m, f"slot_{row}_{slot}", [(buses[bus], modes)
                                                       for bus, modes in choices.items()])
                for slot, choices in enumerate(listeners)]

    def _chosen(self, m: Module, name: str, choices: list[tuple[Value, list[Mode]]]) -> Signal:
        """Return the choice of the current mode, or zeros."""
        target = Signal(max((len(value) for value, _ in choices), default=1), name=name)
        with m.Switch(self.mode.as_value()):
            for value, modes in choices:
                with m.Case(*(mode_value(mode) for mode in modes)):
                    m.d.comb += target.eq(value)
        return target

    @property
    def _blocks(self):
        if not hasattr(self, "_block_cache"):
            self._block_cache = {mode: slot_blocks(self._config, mode)
                                 for mode in self._config.modes}
        return self._block_cache

    def _lines(self, m: Module):
        for row in range(self._config.rows):
            slots = self._row(m, row, lambda block, _size: self.window[block])
            m.d.comb += [self.line[p][row].eq(slot) for p, slot in enumerate(slots)]

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
            for p, bus in enumerate(self._row(m, row, pairs)):
                passed = Signal(width, name=f"passed_{row}_{p}")
                m.d.comb += passed.eq(bus.word_select(self.level1[row][p], width)
                                      if self._select_width else bus)
                level1.append(passed)
            for p in range(cfg.sub_macros):
                m.d.comb += self.line[p][row].eq(
                    Cat(*level1).word_select(self.level2[row][p], width)
                    if self._select_width else level1[p])
