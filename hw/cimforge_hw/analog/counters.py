"""Performance counters of the analog tile."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import AnalogConfig
from cimforge_hw.analog.block import AnalogBlock
from cimforge_hw.analog.shift_add import AccumulatorLayout
from cimforge_hw.common.adder_tree import adder_tree

__all__ = ["COUNTERS", "Counters", "CountersSignature"]

#: Names of the counters, as in ``docs/analog.md``.
COUNTERS = ("cycles", "convert", "conversions", "pulses", "load", "retire", "saturations", "stall")
_BITS = 48


class CountersSignature(wiring.Signature):
    """Values of all counters."""

    def __init__(self):
        super().__init__({name: Out(_BITS) for name in COUNTERS})


class Counters(AnalogBlock):
    """Counts what ``docs/analog.md`` says; ``clear`` zeroes everything.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    running, stalled, load, retire : ``In(1)``
        Events of this cycle.
    busy : ``In(arrays)``, ``driven``, ``grains`` : ``In(...).array(arrays)``
        As the arrays say.
    saturating : ``In(1)``, ``clamped`` : ``In(...).array(port)``
        Columns of a drive retire, with so many clamped conversions.
    clear : ``In(1)``
        Zero the counters.
    saturated : ``Out(1)``
        A conversion was clamped since then.
    values : ``Out(CountersSignature())``
        Counts so far.
    """

    def __init__(self, config: AnalogConfig):
        clamped = AccumulatorLayout(config)["clamped"].shape
        super().__init__(config, {
            **{name: In(1) for name in ("running", "stalled", "load", "retire", "saturating",
                                        "clear")},
            "busy": In(config.arrays),
            "driven": In(range(config.array + 1)).array(config.arrays),
            "grains": In(range(config.grains + 1)).array(config.arrays),
            "clamped": In(clamped).array(config.port),
            "saturated": Out(1),
            "values": Out(CountersSignature()),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        events = {
            "cycles": self.running,
            "convert": adder_tree(list(self.busy)),
            "conversions": adder_tree(self.grains) * (cfg.grain * cfg.planes),
            "pulses": adder_tree(self.driven),
            "load": self.load,
            "retire": self.retire,
            "stall": self.running & self.stalled,
        }
        for name, event in events.items():
            value = getattr(self.values, name)
            m.d.sync += value.eq(value + event)
        total = adder_tree(self.clamped)
        with m.If(self.saturating):
            m.d.sync += [
                self.values.saturations.eq(self.values.saturations + total),
                self.saturated.eq(self.saturated | (total != 0)),
            ]
        with m.If(self.clear):
            m.d.sync += self.saturated.eq(0)
            m.d.sync += [getattr(self.values, name).eq(0) for name in COUNTERS]
        return m
