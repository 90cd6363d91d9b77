"""The weight loader: from the weight stream into banks, and select steps into their memory."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.config import DcimConfig
from cimforge_hw.dcim.column import WriteSignature

__all__ = ["LoadWeightsLayout", "WeightLoader"]


class LoadWeightsLayout(data.StructLayout):
    """A LoadWeights or LoadSelects command as dispatched."""

    def __init__(self, config: DcimConfig):
        super().__init__({"bank": 1, "selects": 1, "steps": range(config.max_steps + 1)})


class WeightLoader(wiring.Component):
    """Executes one task after the other; one more waits in its queue.

    A task starts when its bank is not occupied and takes a beat per valid cycle from the next
    cycle on; tasks follow each other without a bubble. A bank becomes ``occupied`` and ``ready``
    with its last beat. ``claimed`` ends ``ready`` (a releasing Compute has started, no other may),
    ``released`` ends ``occupied`` (it has read the bank for the last time).

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    task : ``In(stream.Signature(LoadWeightsLayout(config)))``
        What to load.
    weights : ``In(stream.Signature(weight_beat_bits))``
        Weights and selects.
    discard : ``In(1)``
        Accept and forget weights while idle.
    clear : ``In(1)``
        Forget all banks.
    write : ``Out(WriteSignature(config, units)).array(P)``
        To the sub-macros.
    claimed, released : ``In(1)``, ``claimed_bank``, ``released_bank`` : ``In(1)``
        From the compute side.
    ready : ``Out(2)``
        Banks that a Compute may start from.
    step_bank, step : ``In(1)``, ``In(range(max_steps))``
        Step to show on ``selects`` (``pair`` only).
    selects : ``Out(select_bits)``
        ``pair`` only: selects of ``step`` of ``step_bank``, in the same cycle.
    idle, loading, starved : ``Out(1)``
        Nothing to do; a beat is taken; a beat is wanted and none is there.
    writing, first : ``Out(1)``
        The beat taken holds weights; it is the first of its bank.
    """

    def __init__(self, config: DcimConfig):
        self._config = config
        members = {
            "task": In(stream.Signature(LoadWeightsLayout(config))),
            "weights": In(stream.Signature(config.weight_beat_bits)),
            "discard": In(1),
            "clear": In(1),
            "write": Out(WriteSignature(config, config.units)).array(config.sub_macros),
            "claimed": In(1),
            "claimed_bank": In(1),
            "released": In(1),
            "released_bank": In(1),
            "ready": Out(2),
            "idle": Out(1),
            "loading": Out(1),
            "starved": Out(1),
            "writing": Out(1),
            "first": Out(1),
        }
        if config.select_bits:
            members |= {"step_bank": In(1), "step": In(range(max(2, config.max_steps))),
                        "selects": Out(config.select_bits)}
        super().__init__(members)

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        task = Signal(LoadWeightsLayout(cfg))
        busy = Signal()
        beat = Signal(range(max(cfg.weight_beats, cfg.max_steps * cfg.select_beats) + 1))
        last_beat = beat == Mux(task.selects, task.steps * cfg.select_beats - 1,
                                cfg.weight_beats - 1)
        done = self.loading & last_beat
        m.d.comb += [
            self.weights.ready.eq(busy | (self.discard & self.idle)),
            self.loading.eq(busy & self.weights.valid),
            self.starved.eq(busy & ~self.weights.valid),
            self.writing.eq(self.loading & ~task.selects),
            self.first.eq(beat == 0),
        ]
        start = self._queue(m, task, busy, done)
        with m.If(self.loading):
            m.d.sync += beat.eq(beat + 1)
        with m.If(done):
            m.d.sync += busy.eq(0)
        with m.If(start):
            m.d.sync += [busy.eq(1), beat.eq(0)]
        self._write(m, task, beat)
        if cfg.select_bits:
            self._steps(m, task, start)
        return m

    def _queue(self, m: Module, task, busy, done):
        """Hold the next task until its bank is empty; return the bit that starts it."""
        queue, waiting = Signal(LoadWeightsLayout(self._config)), Signal()
        occupied, start = Signal(2), Signal()
        filling = busy & ~task.selects & (task.bank == queue.bank)
        m.d.comb += [
            start.eq(waiting & (~busy | done) & ~occupied.bit_select(queue.bank, 1) & ~filling),
            self.task.ready.eq(~waiting | start),
            self.idle.eq(~busy & ~waiting),
        ]
        with m.If(start):
            m.d.sync += [task.eq(queue), waiting.eq(0)]
        with m.If(self.task.valid & self.task.ready):
            m.d.sync += [queue.eq(self.task.payload), waiting.eq(1)]
        for bank in range(self._config.weight_banks):
            with m.If(self.claimed & (self.claimed_bank == bank)):
                m.d.sync += self.ready[bank].eq(0)
            with m.If(self.released & (self.released_bank == bank)):
                m.d.sync += occupied[bank].eq(0)
            with m.If(done & ~task.selects & (task.bank == bank)):
                m.d.sync += [self.ready[bank].eq(1), occupied[bank].eq(1)]
        with m.If(self.clear):
            m.d.sync += [self.ready.eq(0), occupied.eq(0)]
        return start

    def _write(self, m: Module, task, beat: Signal):
        """Beat i writes row ``i div (P/load_rows)`` of ``load_rows`` sub-macros."""
        cfg = self._config
        parts = cfg.sub_macros // cfg.load_rows
        shift = parts.bit_length() - 1
        for p, port in enumerate(self.write):
            mine = (beat[:shift] == p // cfg.load_rows) if shift else 1
            row_bits = self.weights.payload.word_select(
                p % cfg.load_rows, cfg.units * cfg.unit_bits)
            m.d.comb += [
                port.en.eq(self.writing & mine),
                port.bank.eq(task.bank),
                port.row.eq(beat[shift:]),
            ]
            m.d.comb += [word.eq(row_bits.word_select(u, cfg.unit_bits))
                         for u, word in enumerate(port.data)]

    def _steps(self, m: Module, task, start: Signal):
        """Keep the steps of both banks; a step's beats lie beside each other in one word."""
        cfg = self._config
        part = Signal(range(max(2, cfg.select_beats)))
        step = Signal(range(max(2, cfg.max_steps)))
        whole = part == cfg.select_beats - 1
        with m.If(self.loading & task.selects):
            m.d.sync += [part.eq(Mux(whole, 0, part + 1)), step.eq(step + whole)]
        with m.If(start):
            m.d.sync += [part.eq(0), step.eq(0)]
        for bank in range(cfg.weight_banks):
            steps = memory.Memory(shape=cfg.select_beats * cfg.weight_beat_bits,
                                  depth=max(2, cfg.max_steps), init=[])
            m.submodules[f"steps_{bank}"] = steps
            write = steps.write_port(granularity=cfg.weight_beat_bits)
            read = steps.read_port(domain="comb")
            mine = self.loading & task.selects & (task.bank == bank)
            m.d.comb += [
                write.addr.eq(step),
                write.data.eq(self.weights.payload.replicate(cfg.select_beats)),
                write.en.eq(mine << part),
                read.addr.eq(self.step),
            ]
            with m.If(self.step_bank == bank):
                m.d.comb += self.selects.eq(read.data)
