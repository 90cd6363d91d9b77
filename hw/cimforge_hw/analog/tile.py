"""The analog CIM tile: arrays, memories, engines and streams."""

from amaranth import Cat, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import WORD_BITS, AnalogConfig
from cimforge_hw.analog.array import Array
from cimforge_hw.analog.block import AnalogBlock, CommandLayout, follow
from cimforge_hw.analog.counters import Counters, CountersSignature
from cimforge_hw.analog.loader import Loader
from cimforge_hw.analog.memories import ActivationMemory
from cimforge_hw.analog.retire import ResultLayout, Retire
from cimforge_hw.analog.sequencer import Sequencer
from cimforge_hw.analog.write_back import WriteBack
from cimforge_hw.common.place import place

__all__ = ["AnalogTile", "analog_streams"]


def analog_streams(config: AnalogConfig) -> dict[str, wiring.Member]:
    """Return the tile's streams, of which one is an output."""
    return {
        "commands": In(stream.Signature(CommandLayout())),
        "weights": In(stream.Signature(config.port * WORD_BITS)),
        "acts": In(stream.Signature(config.port * WORD_BITS)),
        "results": Out(stream.Signature(ResultLayout(config))),
    }


class AnalogTile(AnalogBlock):
    """Executes programs of :mod:`cimforge.spec.analog.commands` on its streams.

    Arithmetic, timing and the meaning of every counter are in ``docs/analog.md``; any stream may
    stall at any time.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    commands : ``In(stream.Signature(CommandLayout()))``
        The program.
    weights, acts : ``In(stream.Signature(port * 8))``
        Weights and activations, INT8, in program order.
    results : ``Out(stream.Signature(ResultLayout(config)))``
        Results, in program order.
    clear : ``In(1)``
        Forget errors, flags and counts, once everything dispatched has retired.
    error : ``Out(4)``, ``error_position`` : ``Out(32)``
        Sticky error code and the position of the command.
    illegal : ``Out(1)``, ``illegal_position`` : ``Out(32)``
        Sticky: a drive mixed blocks; position of the first one.
    saturated : ``Out(1)``
        Sticky: a conversion was clamped.
    busy : ``Out(1)``
        A program is running or something is still in the tile.
    counters : ``Out(CountersSignature())``
        Performance counters.
    """

    def __init__(self, config: AnalogConfig):
        if not isinstance(config, AnalogConfig):
            raise TypeError(f"config must be an AnalogConfig, not {config!r}")
        super().__init__(config, {
            **analog_streams(config),
            "clear": In(1),
            "error": Out(4),
            "error_position": Out(32),
            "illegal": Out(1),
            "illegal_position": Out(32),
            "saturated": Out(1),
            "busy": Out(1),
            "counters": Out(CountersSignature()),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        sequencer = place(m, "sequencer", Sequencer, cfg, platform)
        loader = place(m, "loader", Loader, cfg, platform)
        retire = place(m, "retire", Retire, cfg, platform)
        write_back = place(m, "write_back", WriteBack, cfg, platform)
        acts = place(m, "activation_memory", ActivationMemory, cfg, platform)
        counters = place(m, "counters", Counters, cfg, platform)
        arrays = [place(m, f"array_{i}", Array, cfg, platform) for i in range(cfg.arrays)]

        wiring.connect(m, wiring.flipped(self.commands), sequencer.commands)
        wiring.connect(m, wiring.flipped(self.weights), sequencer.weights)
        wiring.connect(m, sequencer.drives, loader.task)
        wiring.connect(m, retire.results, wiring.flipped(self.results))
        for i, array in enumerate(arrays):
            self._connect_array(m, i, array, sequencer, loader, retire)
        self._connect_results(m, arrays, retire, counters)
        self._connect_memory(m, loader, retire, write_back, acts)
        self._connect_control(m, sequencer, loader, retire, write_back)
        self._connect_flags(m, arrays, sequencer, loader)
        self._connect_counters(m, counters, arrays, sequencer, loader, retire)
        return m

    def _connect_array(self, m: Module, i: int, array, sequencer, loader, retire):
        program, here = sequencer.program, sequencer.program_array[i]
        follow(m, array.load, loader.load)
        follow(m, array.program, program)
        m.d.comb += [
            array.load.begin.eq(loader.begin[i]),  # the buses are for one array
            array.load.en.eq(loader.en[i]),
            *(getattr(array.program, name).eq(getattr(program, name) & here)
              for name in ("erase", "mark", "en")),
            loader.free[i].eq(array.free),
            retire.ready[i].eq(array.read.ready),
            array.read.chunk.eq(retire.chunk),
            array.read.en.eq(retire.drive_beat & (retire.array == i)),
            array.read.last.eq(retire.last),
            array.clear.eq(sequencer.cleared),
        ]
        if self._config.dither:
            m.d.comb += array.seed.eq((self._config.dither ^ i) or 1)

    def _connect_results(self, m: Module, arrays, retire, counters):
        """Put the array that retires on the result bus."""
        with m.Switch(retire.array):
            for i, array in enumerate(arrays):
                with m.Case(i):
                    for target, source in ((retire.sums, array.read.sums),
                                           (retire.saturations, array.read.saturations),
                                           (counters.clamped, array.read.clamped)):
                        m.d.comb += [a.eq(b) for a, b in zip(target, source, strict=True)]

    def _connect_memory(self, m: Module, loader, retire, write_back, acts):
        m.d.comb += [
            write_back.stage.eq(retire.stage),
            acts.write.eq(write_back.write),
            *(a.eq(b) for a, b in zip(acts.address, write_back.address, strict=True)),
            *(a.eq(b) for a, b in zip(acts.data, write_back.data, strict=True)),
            *(a.eq(b) for a, b in zip(acts.read_address, loader.address, strict=True)),
            *(a.eq(b) for a, b in zip(loader.acts, acts.read, strict=True)),
        ]

    def _connect_control(self, m: Module, sequencer, loader, retire, write_back):
        m.d.comb += [
            sequencer.clear.eq(self.clear),
            sequencer.retire.eq(retire.last),
            sequencer.sending.eq(retire.results.valid),
            loader.retired.eq(sequencer.retired),
            retire.push.eq(sequencer.push),
            retire.task.eq(sequencer.task),
            retire.acts.valid.eq(self.acts.valid),
            retire.acts.payload.eq(self.acts.payload),
            # What an error leaves of the stream, once every Input has had its part.
            self.acts.ready.eq(retire.acts.ready | (sequencer.discard & sequencer.idle)),
            write_back.set_requantize.eq(sequencer.set_requantize),
            self.error.eq(sequencer.error),
            self.error_position.eq(sequencer.error_position),
            self.busy.eq(sequencer.running | ~sequencer.idle | retire.results.valid),
        ]

    def _connect_flags(self, m: Module, arrays, sequencer, loader):
        """Drives load in program order, so the first one seen is the first one."""
        with m.If(Cat(array.mixed for array in arrays).any() & ~self.illegal):
            m.d.sync += [self.illegal.eq(1), self.illegal_position.eq(loader.position)]
        with m.If(sequencer.cleared):
            m.d.sync += [self.illegal.eq(0), self.illegal_position.eq(0)]

    def _connect_counters(self, m: Module, counters, arrays, sequencer, loader, retire):
        wiring.connect(m, counters.values, wiring.flipped(self.counters))
        m.d.comb += [
            counters.running.eq(sequencer.running),
            counters.stalled.eq(sequencer.starved | retire.starved
                                | (self.results.valid & ~self.results.ready)),
            counters.load.eq(loader.beat),
            counters.retire.eq(retire.beat),
            counters.saturating.eq(retire.drive_beat),
            counters.clear.eq(sequencer.cleared),
            self.saturated.eq(counters.saturated),
            counters.busy.eq(Cat(array.busy for array in arrays)),
            *(a.eq(array.driven) for a, array in zip(counters.driven, arrays, strict=True)),
            *(a.eq(array.grains) for a, array in zip(counters.grains, arrays, strict=True)),
        ]
