"""Start, end, clear and soft reset of a program."""

from amaranth import Module, Signal
from amaranth.lib.wiring import In, Out

from cimforge_hw.soc.block import SocBlock

__all__ = ["Control"]


class Control(SocBlock):
    """Lets one program in per start, and keeps clear and soft reset until they have happened.

    Parameters
    ----------
    config : DcimConfig or AnalogConfig

    Members
    -------
    start, clear, soft_reset : ``In(1)``
        Written in this cycle.
    ended : ``In(1)``
        The tile takes a program's End in this cycle.
    tile_busy, tile_error : ``In(1)``
        As the tile says; the latter is "the code is not zero".
    waiting : ``In(1)``
        A beat waits to be taken by the tile, or a packet has not ended.
    sending : ``In(1)``
        Results have not left, or their packet has not ended.
    unsettled : ``In(1)``
        A port has not ended its packet, or still takes beats.
    open : ``Out(1)``
        Commands may pass.
    close : ``Out(1)``
        The tile has nothing more to send for this program.
    tile_clear, tile_reset : ``Out(1)``
        To the tile; the latter is for the ports as well.
    cleared, forget : ``Out(1)``
        The tile has been cleared; a second soft reset.
    ready, busy, clearing, resetting : ``Out(1)``
        Bits of STATUS.
    clear_ok : ``Out(1)``
        CLEAR may be written.
    done, failed : ``Out(1)``
        In this cycle a program ends; the tile's error appears.
    """

    def __init__(self, config):
        super().__init__(config, {
            **{name: In(1) for name in ("start", "clear", "soft_reset", "ended", "tile_busy",
                                        "tile_error", "waiting", "sending", "unsettled")},
            **{name: Out(1) for name in ("open", "close", "tile_clear", "tile_reset", "cleared",
                                         "forget", "ready", "busy", "clearing", "resetting",
                                         "clear_ok", "done", "failed")},
        })

    def elaborate(self, platform):
        m = Module()
        entering, had_error = Signal(), Signal()  # End has not been seen; the error one cycle ago
        m.d.comb += [
            self.ready.eq(~(self.busy | self.clearing | self.resetting | self.tile_error)),
            self.clear_ok.eq(~self.resetting & ~self.clearing & (~self.busy | self.tile_error)),
            # After an error what is left of the program still goes in, to be forgotten.
            self.open.eq(entering & (~self.clearing | self.tile_error)),
            self.close.eq(((self.busy & ~entering) | self.clearing) & ~self.tile_busy),
            self.done.eq(self.busy & ~entering & ~self.tile_busy & ~self.sending),
            self.failed.eq(self.tile_error & ~had_error),
            self.tile_reset.eq(self.resetting),
            self.forget.eq(self.resetting & self.soft_reset),
        ]
        m.d.sync += had_error.eq(self.tile_error)
        with m.If(self.ended):
            m.d.sync += entering.eq(0)
        with m.If(self.done):
            m.d.sync += self.busy.eq(0)
        with m.If(self.start):
            m.d.sync += [entering.eq(1), self.busy.eq(1)]
        self._clear(m, entering)
        self._reset(m, entering)
        return m

    def _clear(self, m: Module, entering):
        """Ask for two cycles, after one of idleness: the tile acts on it in one of them.

        Results have left by then, or they would count for the next program.

        Its decode register is empty then. A cycle late, because busy depends on what clear does.
        """
        quiet, again = Signal(), Signal()
        m.d.comb += [self.tile_clear.eq(quiet), self.cleared.eq(quiet & again)]
        m.d.sync += [
            quiet.eq(self.clearing & ~self.cleared & ~self.tile_busy & ~self.sending
                     & ~(self.tile_error & self.waiting)),
            again.eq(quiet & ~again),
        ]
        with m.If(self.clear):
            m.d.sync += self.clearing.eq(1)
        with m.If(self.cleared):
            m.d.sync += [self.clearing.eq(0), entering.eq(0), self.busy.eq(0)]

    def _reset(self, m: Module, entering):
        """Hold the tile in reset until every packet that has begun has ended."""
        fresh = Signal()  # ports have not seen the reset yet
        m.d.sync += fresh.eq(self.soft_reset)
        with m.If(self.resetting):
            m.d.sync += [entering.eq(0), self.busy.eq(0), self.clearing.eq(0)]
            with m.If(~fresh & ~self.unsettled):
                m.d.sync += self.resetting.eq(0)
        with m.If(self.soft_reset):
            m.d.sync += self.resetting.eq(1)
