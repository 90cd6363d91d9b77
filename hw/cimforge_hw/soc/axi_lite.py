"""An AXI4-Lite slave: every output a register, one write and one read at a time."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from cimforge.spec.registers import ADDRESS_BITS
from cimforge_hw.soc.block import SocBlock

__all__ = ["AxiLite", "axi_lite_members"]

_WORD_BITS = ADDRESS_BITS - 2


def axi_lite_members() -> dict:
    """Return the ports of the bus, as their owner sees them."""
    return {
        "awaddr": In(ADDRESS_BITS), "awprot": In(3), "awvalid": In(1), "awready": Out(1),
        "wdata": In(32), "wstrb": In(4), "wvalid": In(1), "wready": Out(1),
        "bresp": Out(2), "bvalid": Out(1), "bready": In(1),
        "araddr": In(ADDRESS_BITS), "arprot": In(3), "arvalid": In(1), "arready": Out(1),
        "rdata": Out(32), "rresp": Out(2), "rvalid": Out(1), "rready": In(1),
    }


class AxiLite(SocBlock):
    """Turns the five channels into single accesses.

    Address and data of a write may come in any order; both are acted on in the cycle of
    ``write_en``, whose response is offered from the next one on. A read is answered in the
    cycle of ``read_en``, and offered from the next one on. A new access is accepted when the
    response to the one before has been taken, or is.

    Parameters
    ----------
    config : DcimConfig or AnalogConfig

    Members
    -------
    awaddr … rready :
        AXI4-Lite; protection types are ignored, as are the low two address bits.
    write_en : ``Out(1)``, ``write_word`` : ``Out(10)``, ``write_data`` : ``Out(32)``
        A write to the register at four times ``write_word``.
    write_mask : ``Out(32)``
        Bits whose byte strobe is set.
    write_response : ``In(2)``
        To the write of this cycle.
    read_en : ``Out(1)``, ``read_word`` : ``Out(10)``, ``read_data`` : ``In(32)``
        A read.
    read_response : ``In(2)``
        To the read of this cycle.
    """

    def __init__(self, config):
        super().__init__(config, {
            **axi_lite_members(),
            "write_en": Out(1), "write_word": Out(_WORD_BITS), "write_data": Out(32),
            "write_mask": Out(32), "write_response": In(2),
            "read_en": Out(1), "read_word": Out(_WORD_BITS), "read_data": In(32),
            "read_response": In(2),
        })

    def elaborate(self, platform):
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m: Module):
        have_address = self._accept(m, self.awvalid, self.awready, self.write_en)
        have_data = self._accept(m, self.wvalid, self.wready, self.write_en)
        strobe = Signal(4, reset_less=True)
        with m.If(self.awvalid & self.awready):
            m.d.sync += self.write_word.eq(self.awaddr[2:])
        with m.If(self.wvalid & self.wready):
            m.d.sync += [self.write_data.eq(self.wdata), strobe.eq(self.wstrb)]
        m.d.comb += [
            self.write_en.eq(have_address & have_data & (~self.bvalid | self.bready)),
            self.write_mask.eq(Cat(bit.replicate(8) for bit in strobe)),
        ]
        with m.If(self.write_en):
            m.d.sync += [self.bvalid.eq(1), self.bresp.eq(self.write_response)]
        with m.Elif(self.bready):
            m.d.sync += self.bvalid.eq(0)

    def _read(self, m: Module):
        have_address = self._accept(m, self.arvalid, self.arready, self.read_en)
        with m.If(self.arvalid & self.arready):
            m.d.sync += self.read_word.eq(self.araddr[2:])
        m.d.comb += self.read_en.eq(have_address & (~self.rvalid | self.rready))
        with m.If(self.read_en):
            m.d.sync += [self.rvalid.eq(1), self.rdata.eq(self.read_data),
                         self.rresp.eq(self.read_response)]
        with m.Elif(self.rready):
            m.d.sync += self.rvalid.eq(0)

    def _accept(self, m: Module, valid, ready, done) -> Signal:
        """Take one transfer of a channel, keep it until ``done``; return whether one is kept."""
        kept, keeps = Signal(), Signal()
        m.d.comb += keeps.eq(Mux(kept, ~done, valid & ready))
        # Low in the cycle after a transfer, and during reset.
        m.d.sync += [kept.eq(keeps), ready.eq(~keeps)]
        return kept
