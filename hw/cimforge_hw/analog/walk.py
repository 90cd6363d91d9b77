"""Address generator: which rows or columns a beat takes, and where their elements lie."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import AnalogConfig
from cimforge_hw.analog.block import AnalogBlock, index
from cimforge_hw.analog.rounds import first_one

__all__ = ["SideLayout", "Walk"]


class SideLayout(data.StructLayout):
    """One side of a drive: its grains, and the address generator's parameters."""

    def __init__(self, config: AnalogConfig):
        super().__init__({"mask": config.grains, "base": 16, "stride": 16, "jump": 16,
                          "rotation": 5, "block_log2": 3})


class Walk(AnalogBlock):
    """Goes through the active grains of a side, ``port`` lines per beat, lowest first.

    Element i of the block at position p has the address ``base + jump * q + stride * i`` with
    ``q = (p - rotation) mod (grains / block)``; 16 bits are enough, since the sequencer has checked
    the last address. After the last beat it stands at the first one of whatever ``side`` is then.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    side : ``In(SideLayout(config))``
        What to walk through; constant from the first beat to the last.
    step : ``In(1)``
        Go on to the next beat.
    grain, part, chunk : ``Out``
        Grain, ``port`` lines in the grain, and in the array.
    last : ``Out(1)``
        This is the last beat.
    address : ``Out(16).array(port)``
        Of every line's element.
    """

    def __init__(self, config: AnalogConfig):
        super().__init__(config, {
            "side": In(SideLayout(config)),
            "step": In(1),
            "grain": Out(index(config.grains)),
            "part": Out(index(config.grain_beats)),
            "chunk": Out(index(config.array // config.port)),
            "last": Out(1),
            "address": Out(16).array(config.port),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        fresh, left, todo = Signal(init=1), Signal(cfg.grains), Signal(cfg.grains)
        m.d.comb += todo.eq(Mux(fresh, self.side.mask, left))
        grain, rest = first_one(m, todo, "grains")
        last_part = self.part == cfg.grain_beats - 1
        m.d.comb += [
            self.grain.eq(grain),
            self.chunk.eq(self._chunk()),
            self.last.eq(last_part & ~rest.any()),
        ]
        with m.If(self.step):
            m.d.sync += [
                fresh.eq(self.last),
                left.eq(Mux(last_part, rest, todo)),
                self.part.eq(Mux(last_part, 0, self.part + 1)),
            ]
        self._addresses(m)
        return m

    def _chunk(self):
        cfg = self._config
        parts, grains = cfg.grain_beats.bit_length() - 1, cfg.grains.bit_length() - 1
        return Cat(self.part[:parts], self.grain[:grains])

    def _addresses(self, m: Module):
        """Split the chunk into block and element by the size of a block."""
        cfg, side = self._config, self.side
        chunk = self._chunk()
        parts, grains = cfg.grain_beats.bit_length() - 1, cfg.grains.bit_length() - 1
        turn, within = Signal(index(cfg.grains)), Signal(index(cfg.array // cfg.port))
        first = Signal(16)
        with m.Switch(side.block_log2):
            for k in range(grains + 1):
                with m.Case(k):
                    m.d.comb += within.eq(chunk[:parts + k] if parts + k else Const(0, 1))
                    if k < grains:
                        m.d.comb += turn.eq((self.grain[k:grains] - side.rotation)[:grains - k])
        m.d.comb += [
            first.eq(side.base + side.jump * turn + side.stride * within * cfg.port),
            *(address.eq(first + side.stride * i) for i, address in enumerate(self.address)),
        ]
