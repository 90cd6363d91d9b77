"""Sample and hold: the column sums at the end of settling, for the converters to take in turn."""

from amaranth import Module, Signal
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import AnalogConfig
from cimforge_hw.analog.block import AnalogBlock, sums_bits

__all__ = ["SampleHold"]


class SampleHold(AnalogBlock):
    """Takes all sums in a cycle with ``sample`` and holds them from the next one on.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    sample : ``In(1)``
        Take the sums.
    sums : ``In(sums_bits(config)).array(m)``
        Column sums.
    held : ``Out(sums_bits(config)).array(m)``
        What was sampled last.
    """

    def __init__(self, config: AnalogConfig):
        super().__init__(config, {
            "sample": In(1),
            "sums": In(sums_bits(config)).array(config.array),
            "held": Out(sums_bits(config)).array(config.array),
        })

    def elaborate(self, platform):
        m = Module()
        for c, (held, now) in enumerate(zip(self.held, self.sums, strict=True)):
            register = Signal(len(now), name=f"held_{c}", reset_less=True)
            with m.If(self.sample):
                m.d.sync += register.eq(now)
            m.d.comb += held.eq(register)
        return m
