"""The compute engine: executes Compute commands by sending windows to the macro."""

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.config import DcimConfig
from cimforge_hw.dcim.macro import VectorSignature
from cimforge_hw.dcim.mode import ModeLayout

__all__ = ["ComputeLayout", "Issue"]


class ComputeLayout(data.StructLayout):
    """A Compute command as dispatched."""

    def __init__(self, config: DcimConfig):
        super().__init__({
            "bank": 1, "first": 1, "last": 1, "requantize": 1, "release": 1,
            "mode": ModeLayout(), "steps": range(config.max_steps + 1),
            "row": 16, "stride": 16, "count": 16, "acc": 16,
        })


class Issue(wiring.Component):
    """Reads a window and presents it to the macro; one more command waits in the queue.

    A command starts when its bank is ready, at the earliest in the cycle of the previous one's
    last window. Windows follow each other as fast as the macro takes them and, where results
    leave, as fast as the output can pass them on; a window still being loaded is waited for.

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    task : ``In(stream.Signature(ComputeLayout(config)))``
        What to compute.
    ready : ``In(2)``
        Banks with weights.
    claimed, claimed_bank : ``Out(1)``
        A command that releases this bank starts.
    read_en : ``Out(1)``, ``read_row`` : ``Out(16)``, ``pending`` : ``In(1)``, ``window`` : ``In``
        To and from the activation buffer.
    vectors : ``Out(VectorSignature(config))``
        To the macro.
    idle : ``Out(1)``
        No command waits and every window has been read.
    """

    def __init__(self, config: DcimConfig):
        self._config = config
        super().__init__({
            "task": In(stream.Signature(ComputeLayout(config))),
            "ready": In(2),
            "claimed": Out(1),
            "claimed_bank": Out(1),
            "read_en": Out(1),
            "read_row": Out(16),
            "pending": In(1),
            "window": In(config.max_m * config.act_bits).array(
                config.window_inputs // config.max_m),
            "vectors": Out(VectorSignature(config)),
            "idle": Out(1),
        })

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        task, busy = Signal(ComputeLayout(cfg)), Signal()
        last_window = Signal()
        self._queue(m, task, busy, last_window)
        busy_cycles = Signal(range(cfg.slices * cfg.max_steps + 1))  # q of docs/dcim.md
        m.d.comb += busy_cycles.eq(task.steps * cfg.slices)
        may_issue = self._timers(m, task, busy_cycles)
        m.d.comb += [
            self.read_row.eq(task.row),
            self.read_en.eq(busy & may_issue & ~self.pending
                            & (~self.vectors.valid | self.vectors.ready)),
            last_window.eq(self.read_en & (task.count == 1)),
        ]
        with m.If(self.read_en):
            m.d.sync += [
                task.row.eq(task.row + task.stride),
                task.acc.eq(task.acc + 1),
                task.count.eq(task.count - 1),
            ]
        self._present(m, task, last_window)
        return m

    def _queue(self, m: Module, task, busy: Signal, last_window: Signal):
        queue, waiting, start = Signal(task.shape()), Signal(), Signal()
        m.d.comb += [
            start.eq(waiting & (~busy | last_window) & self.ready.bit_select(queue.bank, 1)),
            self.task.ready.eq(~waiting | start),
            self.idle.eq(~busy & ~waiting),
            self.claimed.eq(start & queue.release),
            self.claimed_bank.eq(queue.bank),
        ]
        with m.If(last_window):
            m.d.sync += busy.eq(0)
        with m.If(start):
            m.d.sync += [busy.eq(1), waiting.eq(0)]
        with m.If(self.task.valid & self.task.ready):
            m.d.sync += [queue.eq(self.task.payload), waiting.eq(1)]
        self._start, self._next = start, queue

    def _timers(self, m: Module, task, busy_cycles: Signal):
        """Return the bit: the macro, and the output if results leave, will be free in time.

        ``macro`` counts the cycles the macro still works on vectors issued, ``output`` the cycles
        until a vector that enters the macro *now* and takes no time could leave it.
        """
        cfg = self._config
        beats = Signal(range(cfg.sub_macros * cfg.cols // cfg.out_port + 1))
        groups = cfg.sub_macros * cfg.cols // cfg.out_port
        m.d.comb += beats.eq(groups >> task.mode.group_log2)
        longest = cfg.slices * cfg.max_steps
        macro = Signal(range(longest + 1))
        output = Signal(range(longest + groups + 1))
        for timer in (macro, output):
            with m.If(timer != 0):
                m.d.sync += timer.eq(timer - 1)
        with m.If(self.read_en):
            m.d.sync += macro.eq(busy_cycles - 1)
            with m.If(task.last):
                m.d.sync += output.eq(busy_cycles + beats - 1)
        return (macro == 0) & (~task.last | (output <= busy_cycles))

    def _present(self, m: Module, task, last_window: Signal):
        """Hold the window just read, with the command's fields, until the macro takes it."""
        with m.If(self._start):
            m.d.sync += task.eq(self._next)
        out = self.vectors
        m.d.comb += [block.eq(read) for block, read in
                     zip(out.window, self.window, strict=True)]
        with m.If(out.ready):
            m.d.sync += out.valid.eq(0)
        with m.If(self.read_en):
            m.d.sync += [
                out.valid.eq(1),
                out.mode.eq(task.mode),
                out.bank.eq(task.bank),
                out.steps.eq(task.steps),
                out.release.eq(task.release & last_window),
                out.tag.acc.eq(task.acc),
                out.tag.first.eq(task.first),
                out.tag.last.eq(task.last),
                out.tag.requantize.eq(task.requantize),
                out.tag.end.eq(last_window),
            ]
