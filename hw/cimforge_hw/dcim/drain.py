"""The drain: finished sums onto the result stream, raw or requantized."""

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.config import DcimConfig
from cimforge_hw.common.place import place
from cimforge_hw.common.requantizer import RequantizeLayout, RequantizerPipeline
from cimforge_hw.dcim.accumulator import TotalsSignature

__all__ = ["Drain", "RequantizeWriteLayout", "ResultLayout"]


class ResultLayout(data.StructLayout):
    """A beat of results; ``last`` marks the last beat of a command."""

    def __init__(self, config: DcimConfig):
        super().__init__({
            "lane": data.ArrayLayout(signed(config.acc_bits), config.out_port), "last": 1})


class RequantizeWriteLayout(data.StructLayout):
    """A SetRequantize command as dispatched."""

    def __init__(self):
        super().__init__({"en": 1, "output": 16, "parameters": RequantizeLayout()})


class Drain(wiring.Component):
    """Holds one vector of sums and sends it in beats of ``out_port`` results.

    Beats enter the requantizers, one per cycle, from the cycle after ``totals`` was taken, and are
    valid ``drain_latency`` cycles later; the next vector is taken in the cycle in which the last
    beat enters. While a beat is valid and not ready, all stands still. Beat b carries
    lanes ``b*out_port …``; a vector of P/G groups has ``P/G * C / out_port`` beats.

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    totals : ``In(TotalsSignature(config))``
        Finished sums.
    write : ``In(RequantizeWriteLayout())``
        Sets the parameters of one output column; only while idle.
    results : ``Out(stream.Signature(ResultLayout(config)))``
        Results.
    idle : ``Out(1)``
        Nothing is held.
    """

    def __init__(self, config: DcimConfig):
        self._config = config
        super().__init__({
            "totals": In(TotalsSignature(config)),
            "write": In(RequantizeWriteLayout()),
            "results": Out(stream.Signature(ResultLayout(config))),
            "idle": Out(1),
        })

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        beats = cfg.sub_macros * cfg.cols // cfg.out_port
        counter = range(max(2, beats))  # Verilog has no signals of no bits
        held = {name: Signal(shape, name=f"held_{name}", reset_less=True) for name, shape in {
            "lane": self.totals.lane.shape(), "requantize": 1, "end": 1,
            "last_beat": counter}.items()}
        valid, beat = Signal(), Signal(counter)
        last = beat == held["last_beat"]
        advance = Signal()
        m.d.comb += [
            advance.eq(~self.results.valid | self.results.ready),
            self.totals.ready.eq(~valid | (advance & last)),
        ]
        with m.If(valid & advance):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
            with m.If(last):
                m.d.sync += valid.eq(0)
        with m.If(self.totals.valid & self.totals.ready):
            m.d.sync += [
                valid.eq(1),
                held["lane"].eq(self.totals.lane),
                held["requantize"].eq(self.totals.requantize),
                held["end"].eq(self.totals.end),
                held["last_beat"].eq((beats >> self.totals.group_log2) - 1),
            ]
        passing = [valid]
        ends: Value = held["end"] & last
        for stage in range(cfg.drain_latency):
            entered, end = Signal(name=f"valid_{stage}"), Signal(name=f"end_{stage}")
            with m.If(advance):
                m.d.sync += [entered.eq(passing[-1]), end.eq(ends)]
            passing.append(entered)
            ends = end
        m.d.comb += [
            self.idle.eq(~Cat(*passing).any()),
            self.results.valid.eq(passing[-1]),
            self.results.payload.last.eq(ends),
        ]
        self._lanes(m, platform, held, beat, advance)
        return m

    def _lanes(self, m: Module, platform, held, beat: Signal, advance: Signal):
        """Select the beat's sums and their requantizer parameters."""
        cfg = self._config
        width = cfg.out_port * cfg.acc_bits
        sums = Signal(width)
        with m.Switch(beat):  # a part select this wide would take Amaranth minutes to emit
            for i in range(cfg.sub_macros * cfg.cols // cfg.out_port):
                with m.Case(i):
                    m.d.comb += sums.eq(held["lane"].as_value().word_select(i, width))
        table = memory.Memory(shape=data.ArrayLayout(RequantizeLayout(), cfg.out_port),
                              depth=max(2, cfg.sub_macros * cfg.cols // cfg.out_port), init=[])
        m.submodules.parameters = table
        write, read = table.write_port(granularity=1), table.read_port(domain="comb")
        lane, row = self._split(self.write.output)
        m.d.comb += [
            write.addr.eq(row),
            write.data.eq(self.write.parameters.as_value().replicate(cfg.out_port)),
            write.en.eq(self.write.en << lane),
            read.addr.eq(beat),
        ]
        for i in range(cfg.out_port):
            unit = place(m, f"requantizer_{i}", RequantizerPipeline, cfg, platform)
            m.d.comb += [
                unit.advance.eq(advance),
                unit.acc.eq(sums.word_select(i, cfg.acc_bits).as_signed()),
                unit.raw.eq(~held["requantize"]),
                unit.parameters.eq(read.data[i]),
                self.results.payload.lane[i].eq(unit.result),
            ]

    def _split(self, output):
        """Return (lane of the beat, beat) of an output column without a divider where it can."""
        port = self._config.out_port
        if port & (port - 1) == 0:
            shift = port.bit_length() - 1
            return output[:shift], output[shift:]
        return output % port, output // port
