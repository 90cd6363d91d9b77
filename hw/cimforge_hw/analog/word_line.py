"""Word lines: the activations of two drives, and the pulses of one of them by bit and row group."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import WORD_BITS, AnalogConfig
from cimforge_hw.analog.block import AnalogBlock, LoadSignature, index, line_words, part_of
from cimforge_hw.common.bit_slices import WORD, popcount

__all__ = ["WordLine"]


class WordLine(AnalogBlock):
    """Loads the next drive while one pulses; ``start`` makes the next one current.

    Pulses come bit by bit, the sign bit first, and per bit by ascending row groups. A row's number
    in its drive is its grain's rank among the driven ones, and its row in the grain; the rows whose
    number is in the current group are driven.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    load : ``In`` of what it needs of :class:`~cimforge_hw.analog.block.LoadSignature`
        Rows of the next drive.
    start : ``In(1)``, ``row_group_log2`` : ``In(4)``
        The next drive is complete: pulse it from the next cycle on.
    step : ``In(1)``
        Go on to the next pulse.
    line : ``Out(64).array(m / 8)``
        Word lines of this pulse, row 0 lowest, each of them eight times.
    driven : ``Out(range(m + 1))``
        How many are driven.
    sign, first, last : ``Out(1)``
        A pulse of the sign bit; the first one of its bit; the last one of the drive.
    """

    def __init__(self, config: AnalogConfig):
        super().__init__(config, {
            "load": In(part_of(LoadSignature(config), "begin", "en", "grain", "part", "bits")),
            "start": In(1),
            "row_group_log2": In(4),
            "step": In(1),
            "line": Out(WORD).array(line_words(config)),
            "driven": Out(range(config.array + 1)),
            "sign": Out(1),
            "first": Out(1),
            "last": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        driven, ranks, grains = self._ranks(m)
        active = self._pulses(m, driven, ranks, grains)
        acts = self._activations(m)
        width, lines = self._width, []
        for w in range(self._config.array // width):
            rows, bits, line = (Signal(width, name=f"{what}_{w}")
                                for what in ("rows", "bits", "line"))
            m.d.comb += [rows.eq(active[w * width:(w + 1) * width]), line.eq(rows & bits)]
            with m.Switch(self._bit):
                for bit in range(WORD_BITS):
                    with m.Case(bit):
                        m.d.comb += bits.eq(acts[bit][w])
            lines.append(line)
        m.d.comb += [
            self.driven.eq(popcount(m, lines, "driven")),
            Cat(self.line).eq(Cat(bit.replicate(WORD_BITS) for line in lines for bit in line)),
        ]
        return m

    @property
    def _width(self) -> int:
        """Rows that share a word here."""
        return min(self._config.array, WORD)

    def _ranks(self, m: Module):
        """Return which grains are driven, the rank of each, and how many they are."""
        cfg, load = self._config, self.load
        count, current = (Signal(range(cfg.grains + 1), name=f"grains_{which}")
                          for which in ("next", "now"))
        driven, now = Signal(cfg.grains), Signal(cfg.grains)
        ranks, last_part = [], load.part == cfg.grain_beats - 1
        with m.If(self.start):
            m.d.sync += [now.eq(driven), current.eq(count)]
        for g in range(cfg.grains):
            rank, shown = (Signal(index(cfg.grains), name=f"rank_{g}_{which}", reset_less=True)
                           for which in ("next", "now"))
            with m.If(load.en & (load.grain == g)):
                m.d.sync += [driven[g].eq(1), rank.eq(count)]
            with m.If(self.start):
                m.d.sync += shown.eq(rank)
            ranks.append(shown)
        with m.If(load.en & last_part):
            m.d.sync += count.eq(count + 1)
        with m.If(load.begin):
            m.d.sync += [driven.eq(0), count.eq(0)]
        return now, ranks, current

    def _pulses(self, m: Module, driven, ranks, grains):
        """Count bits and groups; return the rows that are driven in this pulse, whatever their bit.

        ``base`` is the number of the group's first row, ``mask`` has the bits of a number that all
        rows of a group share.
        """
        cfg = self._config
        rows = cfg.array.bit_length() - 1
        split = cfg.grain.bit_length() - 1
        base, mask = Signal(rows), Signal(rows)
        log2, after = Signal(4), Signal(rows + 1)
        self._bit = bit = Signal(3, init=WORD_BITS - 1)
        last_group = Signal()
        with m.Switch(log2):
            for k in range(rows):
                with m.Case(k):
                    m.d.comb += [mask.eq(~((1 << k) - 1)), after.eq(base + (1 << k))]
            with m.Default():
                m.d.comb += after.eq(cfg.array)
        m.d.comb += [
            last_group.eq(after >= grains << split),
            self.sign.eq(bit == WORD_BITS - 1),
            self.first.eq(base == 0),
            self.last.eq(last_group & (bit == 0)),
        ]
        with m.If(self.step):
            m.d.sync += base.eq(Mux(last_group, 0, after))
            with m.If(last_group):
                m.d.sync += bit.eq(bit - 1)
        with m.If(self.start):
            m.d.sync += [base.eq(0), bit.eq(WORD_BITS - 1), log2.eq(self.row_group_log2)]
        inside, grain = Signal(cfg.grain), Signal(cfg.grains)
        m.d.comb += [
            inside.eq(Cat(((row ^ base) & mask)[:split] == 0 for row in range(cfg.grain))),
            grain.eq(driven & Cat(((rank ^ base[split:]) & mask[split:]) == 0 for rank in ranks)),
        ]
        return Cat(Mux(grain[g], inside, 0) for g in range(cfg.grains))

    def _activations(self, m: Module) -> list[list[Signal]]:
        """Return the current drive's activations by bit, cut into words."""
        cfg, load = self._config, self.load
        width, words = self._width, cfg.array // self._width
        chunk = Cat(load.part[:cfg.grain_beats.bit_length() - 1],
                    load.grain[:cfg.grains.bit_length() - 1])
        chunks = Signal(cfg.array // cfg.port)  # which of them loads
        m.d.comb += chunks.eq(load.en << chunk)
        fill = [Signal(width, name=f"fill_{word}") for word in range(words)]
        m.d.comb += Cat(fill).eq(Cat(bit.replicate(cfg.port) for bit in chunks))
        acts: list[list[Signal]] = []
        for bit in range(WORD_BITS):
            acts.append([])
            coming = load.bits[bit].replicate(width // cfg.port)
            for word, here in enumerate(fill):
                loading, now = (Signal(width, name=f"act_{bit}_{word}_{which}", reset_less=True)
                                for which in ("next", "now"))
                with m.If(load.en):
                    m.d.sync += loading.eq((loading & ~here) | (coming & here))
                with m.If(self.start):
                    m.d.sync += now.eq(loading)
                acts[-1].append(now)
        return acts
