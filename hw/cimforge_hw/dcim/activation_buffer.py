"""The activation buffer: windows written through the narrow port, read whole."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.config import DcimConfig
from cimforge_hw.common.place import place
from cimforge_hw.dcim.window_lane import WindowLane

__all__ = ["ActivationBuffer", "LoadActsLayout"]


class LoadActsLayout(data.StructLayout):
    """A LoadActs command as dispatched."""

    def __init__(self, config: DcimConfig):
        super().__init__({"row": 16, "count": 16, "beats": range(config.window_beats + 1)})


class ActivationBuffer(wiring.Component):
    """Memory of ``act_depth`` windows with its loader.

    ``task`` is taken when idle; from the next cycle a beat of ``acts`` is taken whenever it is
    valid. A window can be read from the cycle after its last beat; until then it is pending.
    The first beat of a window also writes zeros to the lanes beyond it, so that inputs that its
    beats do not reach are zero, whatever was there.
    ``window`` shows the row read by the last cycle with ``read_en``.

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    task : ``In(stream.Signature(LoadActsLayout(config)))``
        Load ``count`` windows of ``beats`` beats from ``row`` on.
    acts : ``In(stream.Signature(act_port_bits))``
        Activations.
    discard : ``In(1)``
        Accept and forget activations while idle.
    read_en : ``In(1)``, ``read_row`` : ``In(16)``
        Read port.
    pending : ``Out(1)``
        ``read_row`` is still to be written by the task under way.
    window : ``Out(max_m * act_bits).array(blocks)``
        Window read last.
    idle, loading, starved : ``Out(1)``
        No task; a beat is taken; a beat is wanted and none is there.
    """

    def __init__(self, config: DcimConfig):
        self._config = config
        super().__init__({
            "task": In(stream.Signature(LoadActsLayout(config))),
            "acts": In(stream.Signature(config.act_port_bits)),
            "discard": In(1),
            "read_en": In(1),
            "read_row": In(16),
            "pending": Out(1),
            "window": Out(config.max_m * config.act_bits).array(
                config.window_inputs // config.max_m),
            "idle": Out(1),
            "loading": Out(1),
            "starved": Out(1),
        })

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        task = Signal(LoadActsLayout(cfg))  # row and count move as windows fill up
        busy, beat = Signal(), Signal(range(max(2, cfg.window_beats)))
        window_done = beat == task.beats - 1
        m.d.comb += [
            self.task.ready.eq(~busy),
            self.idle.eq(~busy),
            self.acts.ready.eq(busy | self.discard),
            self.loading.eq(busy & self.acts.valid),
            self.starved.eq(busy & ~self.acts.valid),
            self.pending.eq(busy & (self.read_row >= task.row)
                            & (self.read_row < task.row + task.count)),
        ]
        with m.If(self.task.valid & self.task.ready):
            m.d.sync += [task.eq(self.task.payload), busy.eq(1), beat.eq(0)]
        with m.Elif(self.loading):
            m.d.sync += beat.eq(Mux(window_done, 0, beat + 1))
            with m.If(window_done):
                m.d.sync += [task.row.eq(task.row + 1), task.count.eq(task.count - 1)]
                m.d.sync += busy.eq(task.count != 1)
        self._memory(m, platform, task.row, beat)
        return m

    def _memory(self, m: Module, platform, row, beat: Signal):
        cfg = self._config
        first = beat == 0
        # Memories wake up unknown, and an unknown activation times a zero weight is unknown in a
        # four-state simulator: no lane of a window may stay unwritten.
        beyond = Mux(first, 0, self.acts.payload)
        read = []
        for i in range(cfg.window_beats):
            lane = place(m, f"lane_{i}", WindowLane, cfg, platform)
            m.d.comb += [
                lane.write_en.eq(self.loading & (first | (beat == i))),
                lane.write_row.eq(row),
                lane.write_data.eq(beyond if i else self.acts.payload),
                lane.read_en.eq(self.read_en),
                lane.read_row.eq(self.read_row),
            ]
            read.append(lane.read_data)
        block_bits = cfg.max_m * cfg.act_bits
        m.d.comb += [block.eq(Cat(*read).word_select(i, block_bits))
                     for i, block in enumerate(self.window)]
