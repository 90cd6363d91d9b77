"""The activation memory: strided reads of the loader, strided writes of retirement."""

from amaranth import Module
from amaranth.lib import memory
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import AnalogConfig
from cimforge_hw.analog.block import AnalogBlock, index

__all__ = ["ActivationMemory", "SumMemory"]


class _PortMemory(AnalogBlock):
    """``port`` words are read and written per cycle, anywhere; reads are combinational.

    The words written in one cycle have different addresses: the scheduler sees to it. What they
    hold is unknown until they are written.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    read_address : ``In(depth).array(port)``, ``read`` : ``Out(bits).array(port)``
        Words as of the end of the cycle before.
    write : ``In(1)``, ``address`` : ``In(depth).array(port)``, ``data`` : ``In(bits).array(port)``
        Words to write.
    """

    def __init__(self, config: AnalogConfig, depth: int, bits: int):
        self._depth, self._bits = depth, bits
        super().__init__(config, {
            "read_address": In(index(depth)).array(config.port),
            "read": Out(bits).array(config.port),
            "write": In(1),
            "address": In(index(depth)).array(config.port),
            "data": In(bits).array(config.port),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = table = memory.Memory(shape=self._bits, depth=self._depth, init=[])
        for i in range(self._config.port):
            read, write = table.read_port(domain="comb"), table.write_port()
            m.d.comb += [
                read.addr.eq(self.read_address[i]),
                self.read[i].eq(read.data),
                write.addr.eq(self.address[i]),
                write.data.eq(self.data[i]),
                write.en.eq(self.write),
            ]
        return m


class ActivationMemory(_PortMemory):
    """X: INT8 activations. Members as above."""

    def __init__(self, config: AnalogConfig):
        super().__init__(config, config.act_depth, config.act_bits)


class SumMemory(_PortMemory):
    """Z: INT32 sums; a beat of retirement reads and writes the same words. Members as above."""

    def __init__(self, config: AnalogConfig):
        super().__init__(config, config.acc_depth, config.acc_bits)
