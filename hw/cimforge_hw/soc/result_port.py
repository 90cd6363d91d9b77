"""An AXI4-Stream master: every output a register, a packet per command, ended even by a reset."""

from amaranth import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from cimforge_hw.soc.block import SocBlock, payload_bits, tdata_bytes, tile_streams

__all__ = ["ResultPort"]


class ResultPort(SocBlock):
    """Passes beats on; a beat per cycle, one cycle later. TLAST is the flag ``last``.

    What is offered stays until it is taken, even while ``flush``. A packet that is still open
    when the program ends, or when ``flush`` cuts it, is ended by a beat without data: TKEEP zero,
    TLAST set.

    Parameters
    ----------
    config : DcimConfig or AnalogConfig

    Members
    -------
    results : ``In(stream.Signature(ResultLayout(config)))``
        From the tile.
    tdata, tkeep, tlast, tvalid : ``Out``, ``tready`` : ``In(1)``
        The AXI4-Stream; bits of TDATA above the payload are zero.
    close : ``In(1)``
        The tile sends nothing more for now.
    flush : ``In(1)``
        Offer nothing new but the end of the packet.
    clear : ``In(1)``
        Zero the count.
    idle : ``Out(1)``
        Nothing is held.
    open : ``Out(1)``
        A packet has begun and not ended.
    sent : ``Out(32)``
        Beats with data that were taken.
    """

    def __init__(self, config):
        size = tdata_bytes(config, "results")
        super().__init__(config, {
            "results": In(tile_streams(config)["results"].signature),
            "tdata": Out(8 * size), "tkeep": Out(size), "tlast": Out(1), "tvalid": Out(1),
            "tready": In(1),
            "close": In(1), "flush": In(1), "clear": In(1),
            "idle": Out(1), "open": Out(1), "sent": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        width = payload_bits(self._config, "results")
        beat = self.results.payload.as_value()
        spare, spare_valid = Signal(width + 1, reset_less=True), Signal()
        data, keep = Signal(width, reset_less=True), Signal()
        moves, waits, comes, still_open = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.tdata.eq(data),
            self.tkeep.eq(keep.replicate(len(self.tkeep))),
            self.results.ready.eq(~spare_valid),
            comes.eq(self.results.valid & ~spare_valid & ~self.flush),
            moves.eq(self.tvalid & self.tready),
            waits.eq(self.tvalid & ~self.tready),
            still_open.eq(Mux(moves, ~self.tlast, self.open)),
            self.idle.eq(~self.tvalid & ~spare_valid),
        ]
        m.d.sync += self.open.eq(still_open)
        with m.If(~waits):
            m.d.sync += [
                self.tvalid.eq(spare_valid | comes), spare_valid.eq(0), keep.eq(1),
                data.eq(Mux(spare_valid, spare, beat)[:width]),
                self.tlast.eq(Mux(spare_valid, spare, beat)[width]),
            ]
            with m.If(self.flush | (self.close & ~spare_valid & ~comes)):
                m.d.sync += [self.tvalid.eq(still_open), keep.eq(0), self.tlast.eq(1)]
        with m.Elif(comes):
            m.d.sync += [spare_valid.eq(1), spare.eq(beat)]
        with m.If(self.flush):
            m.d.sync += spare_valid.eq(0)
        with m.If(self.clear | self.flush):
            m.d.sync += self.sent.eq(0)
        with m.Else():
            m.d.sync += self.sent.eq(self.sent + (moves & keep))
        return m
