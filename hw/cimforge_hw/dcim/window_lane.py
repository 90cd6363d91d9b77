"""One lane of the activation buffer: a beat of every window."""

from amaranth import Module
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.config import DcimConfig

__all__ = ["WindowLane"]


class WindowLane(wiring.Component):
    """Memory of ``act_depth`` beats with one write and one read port, an SRAM in silicon.

    ``read_data`` shows the row read by the last cycle with ``read_en``; a row written in one
    cycle can be read in the next. Contents are unknown until written.

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    write_en : ``In(1)``, ``write_row`` : ``In(16)``, ``write_data`` : ``In(act_port_bits)``
        Write port.
    read_en : ``In(1)``, ``read_row`` : ``In(16)``, ``read_data`` : ``Out(act_port_bits)``
        Read port.
    """

    def __init__(self, config: DcimConfig):
        self._config = config
        super().__init__({
            "write_en": In(1),
            "write_row": In(16),
            "write_data": In(config.act_port_bits),
            "read_en": In(1),
            "read_row": In(16),
            "read_data": Out(config.act_port_bits),
        })

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = memory.Memory(
            shape=self._config.act_port_bits, depth=self._config.act_depth, init=[])
        write, read = rows.write_port(), rows.read_port()
        m.d.comb += [
            write.addr.eq(self.write_row),
            write.data.eq(self.write_data),
            write.en.eq(self.write_en),
            read.addr.eq(self.read_row),
            read.en.eq(self.read_en),
            self.read_data.eq(read.data),
        ]
        return m
