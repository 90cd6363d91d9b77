"""Shift and add: codes of planes to values, bits to sums, in two banks of column accumulators."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import WORD_BITS, AnalogConfig
from cimforge_hw.analog.adc import CodesLayout
from cimforge_hw.analog.block import AnalogBlock, ConversionLayout, index
from cimforge_hw.analog.legality import correction_bits
from cimforge_hw.analog.rounds import families
from cimforge_hw.common.adder_tree import adder_tree
from cimforge_hw.common.place import place

__all__ = ["AccumulatorLayout", "PulseLayout", "ShiftAdd", "ShiftAddLane", "lane_ports"]


class AccumulatorLayout(data.StructLayout):
    """What a drive leaves of a column: its sum, wrapped, and how many conversions were clamped."""

    def __init__(self, config: AnalogConfig):
        super().__init__({"sum": signed(config.acc_bits),
                          "clamped": range(WORD_BITS * config.array * config.planes + 1)})


class PulseLayout(data.StructLayout):
    """What the pulse is whose codes arrive: of the sign bit, the first one of its bit."""

    def __init__(self):
        super().__init__({"sign": 1, "first": 1})


def lane_ports(config: AnalogConfig) -> int:
    """Return how many columns of one converter are read at once."""
    return max(1, config.port // config.adcs)


class ShiftAddLane(AnalogBlock):
    """The accumulators of one converter's columns, and their adder.

    ``sum = 2 * sum + code`` from bit to bit, by Horner's rule. It starts with minus the correction,
    which the seven doublings make -128 times the sum of activations that the offset of the cells
    added; the codes of the sign bit are subtracted.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    en : ``In(1)``, ``bank`` : ``In(1)``, ``slot`` : ``In(m / adcs)``
        Codes of this column arrive.
    pulse : ``In(PulseLayout())``, ``settings`` : ``In(ConversionLayout(config))``
        What they are.
    codes : ``In(CodesLayout(config))``
        Codes.
    correction : ``In(signed(correction_bits))``
        Of the column.
    read_bank : ``In(1)``, ``read_slot`` : ``In(m / adcs).array(ports)``
        Which to read.
    read : ``Out(AccumulatorLayout(config)).array(ports)``
        In the same cycle.
    """

    def __init__(self, config: AnalogConfig):
        slots, ports = index(config.array // config.adcs), lane_ports(config)
        super().__init__(config, {
            "en": In(1),
            "bank": In(1),
            "slot": In(slots),
            "pulse": In(PulseLayout()),
            "settings": In(ConversionLayout(config)),
            "codes": In(CodesLayout(config)),
            "correction": In(signed(correction_bits(config))),
            "read_bank": In(1),
            "read_slot": In(slots).array(ports),
            "read": Out(AccumulatorLayout(config)).array(ports),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        table = memory.Memory(shape=AccumulatorLayout(cfg), depth=2 * len(self.slot_range), init=[])
        m.submodules.accumulators = table
        write, old = table.write_port(), table.read_port(domain="comb")
        value, older = Signal(cfg.acc_bits), Signal(cfg.acc_bits)
        begins = self.pulse.sign & self.pulse.first
        m.d.comb += [
            value.eq(self._value()),
            old.addr.eq(Cat(self.slot, self.bank)),
            older.eq(Mux(begins, -self.correction,
                         Mux(self.pulse.first, old.data.sum << 1, old.data.sum))),
            write.addr.eq(old.addr),
            write.en.eq(self.en),
            write.data.sum.eq(Mux(self.pulse.sign, older - value, older + value)),
            write.data.clamped.eq(Mux(begins, 0, old.data.clamped) + self.codes.clamped),
        ]
        for slot, out in zip(self.read_slot, self.read, strict=True):
            port = table.read_port(domain="comb")
            m.d.comb += [port.addr.eq(Cat(slot, self.read_bank)), out.eq(port.data)]
        return m

    @property
    def slot_range(self) -> range:
        """Shape of a slot."""
        return index(self._config.array // self._config.adcs)

    def _value(self):
        """Return the sum over planes of ``((code << SH) + OFF) << w*s``."""
        cfg = self._config
        shifts = [cfg.cell_bits * plane for plane in range(cfg.planes)]
        word = adder_tree([Cat(Const(0, shift), code) if shift else code
                           for shift, code in zip(shifts, self.codes.code, strict=True)])
        return (word << self.settings.shift) + self.settings.offset * sum(1 << s for s in shifts)


class ShiftAdd(AnalogBlock):
    """One lane per converter, read ``port`` columns at a time.

    What arrives in a cycle with ``en`` can be read in the next one.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    en : ``In(families)``, ``bank`` : ``In(1)``
        Families of converters whose codes arrive, and the bank they are for.
    slot, grain : ``In(...).array(families)``
        As :class:`~cimforge_hw.analog.rounds.Rounds` gives them.
    pulse, settings, codes : ``In``
        What arrives.
    correction : ``In(signed(correction_bits)).array(grains)``
        Per column grain.
    read_bank : ``In(1)``, ``chunk`` : ``In(m / port)``
        Which columns to read.
    read : ``Out(AccumulatorLayout(config)).array(port)``
        Them, lowest first.
    """

    def __init__(self, config: AnalogConfig):
        kinds = families(config)
        super().__init__(config, {
            "en": In(kinds),
            "bank": In(1),
            "slot": In(index(config.array // config.adcs)).array(kinds),
            "grain": In(index(config.grains // kinds)).array(kinds),
            "pulse": In(PulseLayout()),
            "settings": In(ConversionLayout(config)),
            "codes": In(CodesLayout(config)).array(config.adcs),
            "correction": In(signed(correction_bits(config))).array(config.grains),
            "read_bank": In(1),
            "chunk": In(index(config.array // config.port)),
            "read": Out(AccumulatorLayout(config)).array(config.port),
        })

    def elaborate(self, platform):
        m = Module()
        cfg, kinds = self._config, families(self._config)
        corrections = [self._correction(m, q) for q in range(kinds)]
        lanes = []
        for j in range(cfg.adcs):
            lane = place(m, f"lane_{j}", ShiftAddLane, cfg, platform)
            q = j * kinds // cfg.adcs
            m.d.comb += [
                lane.en.eq(self.en[q]), lane.bank.eq(self.bank), lane.slot.eq(self.slot[q]),
                lane.pulse.eq(self.pulse), lane.settings.eq(self.settings),
                lane.codes.eq(self.codes[j]), lane.correction.eq(corrections[q]),
                lane.read_bank.eq(self.read_bank),
            ]
            lanes.append(lane)
        self._read(m, lanes)
        return m

    def _correction(self, m: Module, q: int) -> Signal:
        """Return the correction of the column that a family converts."""
        kinds = families(self._config)
        chosen = Signal(signed(correction_bits(self._config)), name=f"correction_{q}")
        with m.Switch(self.grain[q]):
            for h in range(self._config.grains // kinds):
                with m.Case(h):
                    m.d.comb += chosen.eq(self.correction[h * kinds + q])
        return chosen

    def _read(self, m: Module, lanes: list):
        """Column ``chunk * port + i`` is slot ``column // adcs`` of lane ``column % adcs``."""
        cfg = self._config
        ports, turns = lane_ports(cfg), max(1, cfg.adcs // cfg.port)
        split = turns.bit_length() - 1
        for lane in lanes:
            m.d.comb += [slot.eq((self.chunk >> split) * ports + i)
                         for i, slot in enumerate(lane.read_slot)]
        for i, out in enumerate(self.read):
            if turns == 1:
                m.d.comb += out.eq(lanes[i % cfg.adcs].read[i // cfg.adcs])
                continue
            with m.Switch(self.chunk[:split]):
                for turn in range(turns):
                    with m.Case(turn):
                        m.d.comb += out.eq(lanes[turn * cfg.port + i].read[0])
