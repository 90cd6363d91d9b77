"""Whose turn it is at the converters: the active columns of each, in ascending order."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import AnalogConfig
from cimforge_hw.analog.block import AnalogBlock, index

__all__ = ["Rounds", "families", "first_one"]


def families(config: AnalogConfig) -> int:
    """Return how many groups of converters serve different grains.

    Up to ``grain`` converters serve the same columns of every grain. With more, converter j serves
    every ``adcs / grain``-th grain, and all ``grain`` of its neighbours with it.
    """
    return max(1, config.adcs // config.grain)


def first_one(m: Module, value, name: str):
    """Return the index of the lowest set bit, and ``value`` without it."""
    lowest, rest = (Signal(len(value), name=f"{name}_{what}") for what in ("lowest", "rest"))
    m.d.comb += [rest.eq(value & (value - 1)), lowest.eq(value & ~rest)]
    bits = (len(value) - 1).bit_length()
    number = Cat(Cat(lowest[i] for i in range(len(value)) if i >> b & 1).any()
                 for b in range(bits))
    return number if bits else Const(0, 1), rest


class Rounds(AnalogBlock):
    """Lists the columns of a pulse: in every round, each converter's next active column.

    Converter j's slot i is column ``i * adcs + j``; converters of a family share the slot.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    begin : ``In(1)``, ``mask`` : ``In(grains)``
        Rounds over these column grains, from the next cycle on.
    step : ``In(1)``
        Next round.
    slot : ``Out(m / adcs).array(families)``
        Column of each converter.
    grain : ``Out(grains / families).array(families)``
        Its grain, counted among those of the family.
    active : ``Out(families)``
        Families that have a column left.
    last : ``Out(1)``
        No family has one after this round.
    """

    def __init__(self, config: AnalogConfig):
        kinds = families(config)
        super().__init__(config, {
            "begin": In(1),
            "mask": In(config.grains),
            "step": In(1),
            "slot": Out(index(config.array // config.adcs)).array(kinds),
            "grain": Out(index(config.grains // kinds)).array(kinds),
            "active": Out(kinds),
            "last": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg, kinds = self._config, families(self._config)
        per_grain = max(1, cfg.grain // cfg.adcs)
        turn = Signal(index(per_grain))
        last_turn = turn == per_grain - 1
        with m.If(self.step):
            m.d.sync += turn.eq(Mux(last_turn, 0, turn + 1))
        left = []
        for q in range(kinds):
            pending = Signal(cfg.grains // kinds, name=f"pending_{q}")
            grain, rest = first_one(m, pending, f"family_{q}")
            with m.If(self.begin):
                m.d.sync += pending.eq(Cat(self.mask[q::kinds]))
            with m.Elif(self.step & last_turn):
                m.d.sync += pending.eq(rest)
            m.d.comb += [
                self.grain[q].eq(grain),
                self.slot[q].eq(grain * per_grain + turn),
                self.active[q].eq(pending.any()),
            ]
            left.append(rest.any())
        m.d.comb += self.last.eq(last_turn & ~Cat(left).any())
        return m
