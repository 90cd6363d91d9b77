"""Performance counters of the tile."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.config import DcimConfig

__all__ = ["COUNTERS", "Counters", "CountersSignature"]

#: Name and width of every counter.
COUNTERS = {
    "cycles": 40, "compute": 40, "macs": 56, "idle_slots": 56,
    "load_weights": 40, "load_acts": 40, "stall": 40,
}


class CountersSignature(wiring.Signature):
    """Values of all counters."""

    def __init__(self):
        super().__init__({name: Out(bits) for name, bits in COUNTERS.items()})


class Counters(wiring.Component):
    """Counts what ``docs/dcim.md`` ("Counters") says; ``clear`` zeroes everything.

    Nonzero weights are counted while they are loaded, so that a vector adds one number.

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    running, stalled, computing, loading_weights, loading_acts : ``In(1)``
        Events of this cycle; ``stalled`` is counted in the next one.
    vector : ``In(1)``, ``bank`` : ``In(1)``, ``steps`` : ``In``
        The macro takes the last slice of a vector of this bank.
    weight_write, weight_bank, weight_first : ``In(1)``
        A beat of weights is written; it is the first of its bank.
    nonzero : ``In(load_rows * C)``
        Its weights that are not zero.
    clear : ``In(1)``
        Zero the counters.
    values : ``Out(CountersSignature())``
        Counts so far.
    """

    def __init__(self, config: DcimConfig):
        self._config = config
        super().__init__({
            **{name: In(1) for name in (
                "running", "stalled", "computing", "loading_weights", "loading_acts", "vector",
                "bank", "weight_write", "weight_bank", "weight_first", "clear")},
            "steps": In(range(config.max_steps + 1)),
            "nonzero": In(config.load_rows * config.cols),
            "values": Out(CountersSignature()),
        })

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        slots = cfg.slots * cfg.cols
        live = [Signal(range(slots + 1), name=f"live_{bank}") for bank in range(2)]
        found = Signal(range(cfg.load_rows * cfg.cols + 1))
        m.d.comb += found.eq(sum(self.nonzero, start=0))
        for bank in range(cfg.weight_banks):
            with m.If(self.weight_write & (self.weight_bank == bank)):
                m.d.sync += live[bank].eq(Mux(self.weight_first, 0, live[bank]) + found)
        macs = Mux(self.bank, live[1], live[0])
        values = self.values
        # The whole tile has a say in whether it stalls; counting that waits a cycle. End never
        # stalls, so the count is complete when it retires.
        stalled = Signal()
        m.d.sync += stalled.eq(self.running & self.stalled & ~self.clear)
        # Most events are known late in a cycle: they choose a sum, and do not start its carries.
        for value, event in ((values.cycles, self.running), (values.compute, self.computing),
                             (values.load_weights, self.loading_weights),
                             (values.load_acts, self.loading_acts),
                             (values.stall, stalled)):
            with m.If(event):
                m.d.sync += value.eq(value + 1)
        with m.If(self.vector):
            m.d.sync += [
                values.macs.eq(values.macs + macs),
                values.idle_slots.eq(values.idle_slots + self.steps * slots - macs),
            ]
        with m.If(self.clear):
            m.d.sync += [getattr(values, name).eq(0) for name in COUNTERS]
        return m
