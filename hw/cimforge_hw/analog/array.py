"""An array: word lines, crossbar, sample and hold, converters, accumulators, and its drives."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import AnalogConfig
from cimforge_hw.analog.adc import Adc
from cimforge_hw.analog.block import (
    AnalogBlock,
    ConversionLayout,
    LoadSignature,
    ProgramSignature,
    follow,
    index,
)
from cimforge_hw.analog.crossbar import Crossbar
from cimforge_hw.analog.legality import Legality
from cimforge_hw.analog.rounds import Rounds
from cimforge_hw.analog.sample_hold import SampleHold
from cimforge_hw.analog.saturation import Saturation
from cimforge_hw.analog.shift_add import AccumulatorLayout, ShiftAdd
from cimforge_hw.analog.word_line import WordLine
from cimforge_hw.common.adder_tree import adder_tree
from cimforge_hw.common.place import place

__all__ = ["Array", "ReadSignature"]

_PARTS = {"word_line": WordLine, "legality": Legality, "crossbar": Crossbar,
          "sample_hold": SampleHold, "rounds": Rounds, "adc": Adc, "shift_add": ShiftAdd,
          "saturation": Saturation}
_TAPS = 0xB400  # of the generator: x^16 + x^14 + x^13 + x^11 + 1, maximal length


class ReadSignature(wiring.Signature):
    """Result bus of an array: what retirement reads of ``port`` columns, and what it tells."""

    def __init__(self, config: AnalogConfig):
        super().__init__({
            "ready": Out(1),  # a converted drive waits
            "sums": Out(signed(config.acc_bits)).array(config.port),
            "clamped": Out(AccumulatorLayout(config)["clamped"].shape).array(config.port),
            "saturations": Out(config.acc_bits).array(config.port),
            "chunk": In(index(config.array // config.port)),
            "en": In(1),  # a beat of the drive retires
            "last": In(1),  # the last one
        })


class Array(AnalogBlock):
    """Converts one drive while the next one loads and the one before waits to retire.

    A drive starts two cycles after its last load beat at the earliest, in the cycle after the end
    of the one before, and when the one before that has retired. It can be read from the cycle after
    its end.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    load : ``In(LoadSignature(config))``
        Next drive; ``begin`` only while ``free``.
    free : ``Out(1)``
        No drive is loading or waiting to start.
    mixed : ``Out(1)``
        A load beat brings a converted column a second tag.
    program : ``In(ProgramSignature(config))``
        Cells and tags, while nothing else goes on.
    read : ``Out(ReadSignature(config))``
        Converted drives, oldest first.
    seed : ``In(16)``
        First state of the generator, if there is dither.
    clear : ``In(1)``
        Zero the saturation counts, start the generator again.
    busy : ``Out(1)``
        Settles or converts.
    driven : ``Out(range(m + 1))``, ``grains`` : ``Out(range(grains + 1))``
        In the cycle in which a pulse is sampled: its driven rows with their bit set, and its
        column grains; otherwise 0.
    """

    def __init__(self, config: AnalogConfig):
        members = {
            "load": In(LoadSignature(config)),
            "free": Out(1),
            "mixed": Out(1),
            "program": In(ProgramSignature(config)),
            "read": Out(ReadSignature(config)),
            "clear": In(1),
            "busy": Out(1),
            "driven": Out(range(config.array + 1)),
            "grains": Out(range(config.grains + 1)),
        }
        if config.dither:
            members["seed"] = In(16)
        super().__init__(config, members)

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        lines, legality, crossbar, hold, rounds, adc, add, counts = (
            place(m, name, kind, cfg, platform) for name, kind in _PARTS.items())
        coming, settings = Signal(ConversionLayout(cfg)), Signal(ConversionLayout(cfg))
        start, sample, strobe, end = self._control(m, lines, rounds, coming, settings)
        for part in (lines, legality):
            follow(m, part.load, self.load)
        for part in (legality, crossbar):
            follow(m, part.program, self.program)
        m.d.comb += [
            self.mixed.eq(legality.mixed),
            legality.col_mask.eq(coming.col_mask),
            legality.start.eq(start),
            hold.sample.eq(sample),
            rounds.begin.eq(sample),
            rounds.mask.eq(settings.col_mask),
            rounds.step.eq(strobe),
            adc.settings.eq(settings),
            add.settings.eq(settings),
            add.en.eq(Mux(strobe, rounds.active, 0)),
            add.pulse.sign.eq(lines.sign),
            add.pulse.first.eq(lines.first),
            self.driven.eq(Mux(sample, lines.driven, 0)),
            self.grains.eq(Mux(sample, adder_tree(list(settings.col_mask)), 0)),
        ]
        for source, target in ((lines.line, crossbar.line), (crossbar.sums, hold.sums),
                               (hold.held, adc.held), (adc.codes, add.codes),
                               (rounds.slot, adc.slot), (rounds.slot, add.slot),
                               (rounds.grain, add.grain), (legality.correction, add.correction)):
            m.d.comb += [b.eq(a) for a, b in zip(source, target, strict=True)]
        if cfg.dither:
            self._generator(m, adc, strobe)
        self._read(m, add, counts, start, end)
        return m

    def _control(self, m: Module, lines, rounds, coming, settings):
        """Time the drives; return start, sample, "codes arrive", and the end of a drive."""
        cfg = self._config
        claimed, loaded, settling = Signal(), Signal(), Signal()
        timer = Signal(8)
        start, sample, strobe, end = (Signal(name=name) for name in (
            "start", "sample", "strobe", "end"))
        self._room, due = Signal(), timer == 0
        conversion = cfg.t_conv or settings.bits
        m.d.comb += [
            self.free.eq(~claimed),
            start.eq(loaded & (~self.busy | end) & self._room),
            sample.eq(self.busy & settling & due),
            strobe.eq(self.busy & ~settling & due),
            lines.start.eq(start),
            lines.row_group_log2.eq(coming.row_group_log2),
            lines.step.eq(strobe & rounds.last),
            end.eq(lines.step & lines.last),
        ]
        with m.If(self.load.begin):
            m.d.sync += [claimed.eq(1), coming.eq(self.load.settings)]
        with m.If(self.load.en & self.load.last):
            m.d.sync += loaded.eq(1)
        m.d.sync += timer.eq(timer - 1)
        with m.If(sample | strobe):
            m.d.sync += [settling.eq(0), timer.eq(conversion - 1)]
        with m.If(lines.step):
            m.d.sync += [settling.eq(1), timer.eq(cfg.t_settle - 1)]
        with m.If(end):
            m.d.sync += self.busy.eq(0)
        with m.If(start):
            m.d.sync += [claimed.eq(0), loaded.eq(0), self.busy.eq(1), settling.eq(1),
                         timer.eq(cfg.t_settle - 1), settings.eq(coming)]
        return start, sample, strobe, end

    def _generator(self, m: Module, adc, strobe):
        """Step after every round; every array has a seed, so it comes from outside."""
        state, seeded = Signal(16), Signal()
        m.d.comb += adc.lfsr.eq(Mux(seeded, state, self.seed))
        with m.If(strobe):
            m.d.sync += [seeded.eq(1),
                         state.eq((adc.lfsr >> 1) ^ Mux(adc.lfsr[0], _TAPS, 0))]
        with m.If(self.clear):
            m.d.sync += seeded.eq(0)

    def _read(self, m: Module, add, counts, start, end):
        """Keep two banks: one converts while the other waits to be read."""
        read = self.read
        used, waiting = Signal(range(3)), Signal(range(3))  # started, converted; not yet retired
        write_bank, read_bank, leaves = Signal(), Signal(), Signal()
        m.d.comb += [
            leaves.eq(read.en & read.last),
            self._room.eq((used != 2) | leaves),
            read.ready.eq(waiting != 0),
            add.bank.eq(write_bank),
            add.read_bank.eq(read_bank),
            add.chunk.eq(read.chunk),
            counts.chunk.eq(read.chunk),
            counts.add.eq(read.en),
            counts.clear.eq(self.clear),
        ]
        m.d.sync += [used.eq(used + start - leaves), waiting.eq(waiting + end - leaves)]
        with m.If(end):
            m.d.sync += write_bank.eq(~write_bank)
        with m.If(leaves):
            m.d.sync += read_bank.eq(~read_bank)
        for i, column in enumerate(add.read):
            m.d.comb += [
                read.sums[i].eq(column.sum),
                read.clamped[i].eq(column.clamped),
                read.saturations[i].eq(counts.counts[i]),
                counts.clamped[i].eq(column.clamped),
            ]
