"""An AXI4-Stream slave: registers both ways, packets against their announced length."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from cimforge_hw.soc.block import SocBlock, payload_bits, tdata_bytes

__all__ = ["ActPort", "CommandPort", "InputPort", "WeightPort"]


class InputPort(SocBlock):
    """Passes whole beats on; a beat per cycle, one cycle later.

    ``tready`` is a register: a beat that comes while the tile waits goes to a second place. A
    beat whose TKEEP is not all ones carries no data for the tile: with none set it is legal and
    only its TLAST counts, otherwise it is malformed.

    Parameters
    ----------
    config : DcimConfig or AnalogConfig

    Members
    -------
    tdata, tkeep, tlast, tvalid : ``In``, ``tready`` : ``Out(1)``
        The AXI4-Stream.
    beats : ``Out(stream.Signature(payload))``
        To the tile.
    length : ``In(32)``
        Beats with data in a packet; 0: any number. What goes beyond is dropped.
    flush : ``In(1)``
        Hold nothing and pass nothing on; take beats only to the end of a packet that has begun.
    forget : ``In(1)``
        While ``flush``: that packet will not go on.
    clear : ``In(1)``
        Zero the counts.
    inside : ``Out(1)``
        A packet has begun and not ended.
    accepted, dropped : ``Out(32)``
        Beats taken, and those of them that were not passed on.
    short, long, partial : ``Out(1)``
        In this cycle a packet ended early, went too far, or had a beat with holes.
    """

    stream_name = ""

    def __init__(self, config):
        size = tdata_bytes(config, self.stream_name)
        super().__init__(config, {
            "tdata": In(8 * size), "tkeep": In(size), "tlast": In(1), "tvalid": In(1),
            "tready": Out(1),
            "beats": Out(stream.Signature(payload_bits(config, self.stream_name))),
            "length": In(32), "flush": In(1), "forget": In(1), "clear": In(1),
            "inside": Out(1), "accepted": Out(32), "dropped": Out(32),
            "short": Out(1), "long": Out(1), "partial": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        take, whole, deliver = Signal(), Signal(), Signal()
        m.d.comb += [take.eq(self.tvalid & self.tready), whole.eq(self.tkeep.all())]
        self._packet(m, take, whole, deliver)
        self._hold(m, deliver)
        with m.If(self.clear | self.flush):
            m.d.sync += [self.accepted.eq(0), self.dropped.eq(0)]
        with m.Else():
            m.d.sync += [self.accepted.eq(self.accepted + take),
                         self.dropped.eq(self.dropped + (take & ~deliver))]
        return m

    def _packet(self, m: Module, take, whole, deliver):
        """Follow the packet; decide what becomes of the beat."""
        index, known, surplus = Signal(32), Signal(), Signal()  # beats with data so far
        judged = Signal()  # a beat of a packet that matters
        m.d.comb += [
            known.eq(self.length != 0),
            surplus.eq(known & (index >= self.length)),
            judged.eq(take & ~self.flush),
            deliver.eq(judged & whole & ~surplus),
            self.partial.eq(judged & ~whole & self.tkeep.any()),
            self.long.eq(judged & whole & surplus & (index == self.length)),
            self.short.eq(judged & self.tlast & known & ((index + whole) < self.length)),
        ]
        with m.If(take):
            m.d.sync += [self.inside.eq(~self.tlast),
                         index.eq(Mux(self.tlast, 0, index + whole))]
        with m.If(self.forget):
            m.d.sync += [self.inside.eq(0), index.eq(0)]

    def _hold(self, m: Module, deliver):
        """Two places: the first one offers its beat to the tile, the second one fills up."""
        width = len(self.beats.payload)
        offered = Signal(width, reset_less=True)
        spare = Signal(width, reset_less=True)
        valid, spare_valid, waits = Signal(), Signal(), Signal()
        m.d.comb += [
            self.beats.valid.eq(valid),
            self.beats.payload.eq(offered),
            waits.eq(valid & ~self.beats.ready),
        ]
        with m.If(~waits):
            m.d.sync += [valid.eq(spare_valid | deliver), spare_valid.eq(0),
                         offered.eq(Mux(spare_valid, spare, self.tdata))]
        with m.Elif(deliver):
            m.d.sync += [spare_valid.eq(1), spare.eq(self.tdata)]
        m.d.sync += self.tready.eq(~(waits & (spare_valid | deliver)))
        with m.If(self.flush):
            ends = self.tvalid & self.tready & self.tlast
            begins = self.tvalid & self.tready & ~self.tlast
            m.d.sync += [valid.eq(0), spare_valid.eq(0),
                         self.tready.eq(((self.inside & ~ends) | begins) & ~self.forget)]


class CommandPort(InputPort):
    """The port of the commands."""

    stream_name = "commands"


class WeightPort(InputPort):
    """The port of the weights, and of the selects of ``pair``."""

    stream_name = "weights"


class ActPort(InputPort):
    """The port of the activations."""

    stream_name = "acts"
