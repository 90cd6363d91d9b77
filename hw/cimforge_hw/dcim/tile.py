"""The digital CIM tile: macro, memories, engines and streams."""

from amaranth import Cat, Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.config import DcimConfig
from cimforge_hw.common.place import place
from cimforge_hw.dcim.accumulator import Accumulator
from cimforge_hw.dcim.activation_buffer import ActivationBuffer
from cimforge_hw.dcim.check import CommandLayout
from cimforge_hw.dcim.counters import Counters, CountersSignature
from cimforge_hw.dcim.drain import Drain, ResultLayout
from cimforge_hw.dcim.issue import Issue
from cimforge_hw.dcim.macro import Macro
from cimforge_hw.dcim.sequencer import Sequencer
from cimforge_hw.dcim.weight_loader import WeightLoader

__all__ = ["DcimTile", "dcim_streams"]


def dcim_streams(config: DcimConfig) -> dict[str, wiring.Member]:
    """Return the tile's streams, of which one is an output."""
    return {
        "commands": In(stream.Signature(CommandLayout())),
        "weights": In(stream.Signature(config.weight_beat_bits)),
        "acts": In(stream.Signature(config.act_port_bits)),
        "results": Out(stream.Signature(ResultLayout(config))),
    }


class DcimTile(wiring.Component):
    """Executes programs of :mod:`cimforge.spec.commands` on its streams.

    Latency, throughput and the meaning of every counter are in ``docs/dcim.md``; any stream may
    stall at any time.

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    commands : ``In(stream.Signature(CommandLayout()))``
        The program.
    weights : ``In(stream.Signature(weight_beat_bits))``
        Weights and pair selects, in program order.
    acts : ``In(stream.Signature(act_port_bits))``
        Activations, in program order.
    results : ``Out(stream.Signature(ResultLayout(config)))``
        Results, in program order.
    clear : ``In(1)``
        Forget the error, the banks and the counts, once everything dispatched has finished.
    error : ``Out(4)``, ``error_position`` : ``Out(32)``
        Sticky error code and the position of the command.
    busy : ``Out(1)``
        A program is running or something is still in the tile.
    counters : ``Out(CountersSignature())``
        Performance counters.
    """

    def __init__(self, config: DcimConfig):
        if not isinstance(config, DcimConfig):
            raise TypeError(f"config must be a DcimConfig, not {config!r}")
        self._config = config
        super().__init__({
            **dcim_streams(config),
            "clear": In(1),
            "error": Out(4),
            "error_position": Out(32),
            "busy": Out(1),
            "counters": Out(CountersSignature()),
        })

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        sequencer = place(m, "sequencer", Sequencer, cfg, platform)
        loader = place(m, "weight_loader", WeightLoader, cfg, platform)
        buffer = place(m, "activation_buffer", ActivationBuffer, cfg, platform)
        issue = place(m, "issue", Issue, cfg, platform)
        macro = place(m, "macro", Macro, cfg, platform)
        accumulator = place(m, "accumulator", Accumulator, cfg, platform)
        drain = place(m, "drain", Drain, cfg, platform)
        counters = place(m, "counters", Counters, cfg, platform)

        for outside, inside in ((self.commands, sequencer.commands),
                                (self.weights, loader.weights), (self.acts, buffer.acts)):
            wiring.connect(m, wiring.flipped(outside), inside)
        wiring.connect(m, drain.results, wiring.flipped(self.results))
        wiring.connect(m, sequencer.load_weights, loader.task)
        wiring.connect(m, sequencer.load_acts, buffer.task)
        wiring.connect(m, sequencer.compute, issue.task)
        wiring.connect(m, issue.vectors, macro.vectors)
        wiring.connect(m, macro.merged, accumulator.merged)
        wiring.connect(m, accumulator.totals, drain.totals)
        self._connect_banks(m, loader, issue, macro)
        m.d.comb += [
            buffer.read_en.eq(issue.read_en),
            buffer.read_row.eq(issue.read_row),
            issue.pending.eq(buffer.pending),
            *(a.eq(b) for a, b in zip(issue.window, buffer.window, strict=True)),
            drain.write.eq(sequencer.set_requantize),
        ]
        self._connect_control(m, sequencer, loader, buffer, issue, macro, drain)
        self._connect_counters(m, counters, sequencer, loader, buffer, macro)
        return m

    def _connect_banks(self, m: Module, loader, issue, macro):
        for p in range(self._config.sub_macros):
            wiring.connect(m, loader.write[p], macro.write[p])
        m.d.comb += [
            issue.ready.eq(loader.ready),
            loader.claimed.eq(issue.claimed),
            loader.claimed_bank.eq(issue.claimed_bank),
            loader.released.eq(macro.released),
            loader.released_bank.eq(macro.released_bank),
        ]
        if self._config.select_bits:
            m.d.comb += [
                loader.step_bank.eq(macro.vectors.bank),
                loader.step.eq(macro.step),
                macro.selects.eq(loader.selects),
            ]

    def _connect_control(self, m: Module, sequencer, loader, buffer, issue, macro, drain):
        drained = Cat(loader.idle, buffer.idle, issue.idle, macro.idle, drain.idle).all()
        m.d.comb += [
            sequencer.clear.eq(self.clear),
            sequencer.compute_idle.eq(issue.idle),
            sequencer.drained.eq(drained),
            loader.discard.eq(sequencer.discard),
            loader.clear.eq(sequencer.cleared),
            buffer.discard.eq(sequencer.discard),
            self.error.eq(sequencer.error),
            self.error_position.eq(sequencer.error_position),
            self.busy.eq(sequencer.running | ~drained),
        ]

    def _connect_counters(self, m: Module, counters, sequencer, loader, buffer, macro):
        wiring.connect(m, counters.values, wiring.flipped(self.counters))
        m.d.comb += [
            counters.running.eq(sequencer.running),
            counters.stalled.eq(
                sequencer.starved | loader.starved | buffer.starved
                | (self.results.valid & ~self.results.ready)),
            counters.computing.eq(macro.computing),
            counters.loading_weights.eq(loader.loading),
            counters.loading_acts.eq(buffer.loading),
            counters.vector.eq(macro.vectors.valid & macro.vectors.ready),
            counters.bank.eq(macro.vectors.bank),
            counters.steps.eq(macro.vectors.steps),
            counters.weight_write.eq(loader.writing),
            counters.weight_bank.eq(loader.write[0].bank),
            counters.weight_first.eq(loader.first),
            counters.nonzero.eq(self._nonzero()),
            counters.clear.eq(sequencer.cleared),
        ]

    def _nonzero(self) -> Value:
        """Return a bit per weight on the weight stream: it is not zero."""
        cfg = self._config
        beat = self.weights.payload
        bits = []
        for unit in range(cfg.load_rows * cfg.units):
            stored = beat.word_select(unit, cfg.unit_bits)
            bits += [stored.word_select(j, cfg.weight_bits).any()
                     for j in range(cfg.index_share)]
        return Cat(*bits)
