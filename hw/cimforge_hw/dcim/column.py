"""A column unit: weights, line select, products and adder tree of ``index_share`` outputs."""

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.config import DcimConfig
from cimforge_hw.common.adder_tree import adder_tree

__all__ = ["Column", "WriteSignature", "any_of", "array_members"]


class WriteSignature(wiring.Signature):
    """Row-wide write port: ``data`` goes to ``row`` of ``bank`` when ``en``.

    Parameters
    ----------
    config : DcimConfig
    units : int
        Column units written at once.
    """

    def __init__(self, config: DcimConfig, units: int):
        super().__init__({
            "en": Out(1),
            "bank": Out(1),
            "row": Out(range(max(2, config.rows))),  # Verilog has no ports of no bits
            "data": Out(config.unit_bits).array(units),
        })


def array_members(config: DcimConfig) -> dict[str, wiring.Member]:
    """Return the ports that columns share: see :class:`Column`."""
    return {
        "line": In(config.lines * config.act_slice).array(config.rows),
        "enable": In(1),
        **({"advance": In(1)} if config.adder_stages == 2 else {}),
        "first": In(1),
        "last": In(1),
        "bank": In(1),
    }


def any_of(values: list[Value]) -> Value:
    """Return the or of values, as a balanced tree."""
    while len(values) > 1:
        values = [*(a | b for a, b in zip(values[::2], values[1::2], strict=False)),
                  *values[len(values) // 2 * 2:]]
    return values[0]


class Column(wiring.Component):
    """R slots of ``index_share`` output columns that share their line selects.

    Per slice with ``enable``: every slot multiplies its weight with the line its index picks; the
    products are summed exactly. ``sum`` holds the column sums of a vector ``adder_stages`` cycles
    after its ``last`` slice until the next slice arrives there. A write needs one cycle and never
    disturbs the bank that is read.

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    line : ``In(lines * act_slice).array(R)``
        Activation lines of each slot, line 0 lowest.
    active : ``In(index_share)``
        Columns that compute; the sum of the others is zero.
    enable, first, last : ``In(1)``
        A slice is on the lines; it is the first or the last (signed) one of a vector.
    advance : ``In(1)``
        With two adder stages: the second one takes what the first has. High whenever ``enable`` is.
    bank : ``In(1)``
        Weight bank to read.
    write : ``In(WriteSignature(config, 1))``
        Write port.
    sum : ``Out(signed(column_bits)).array(index_share)``
        Column sums.
    """

    def __init__(self, config: DcimConfig):
        self._config = config
        super().__init__({
            **array_members(config),
            "active": In(config.index_share),
            "write": In(WriteSignature(config, 1)),
            "sum": Out(signed(config.column_bits)).array(config.index_share),
        })

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        acts = []
        weights: list[list[Value]] = [[] for _ in range(cfg.index_share)]
        for row in range(cfg.rows):
            unit = self._stored(m, row)
            split = cfg.index_share * cfg.weight_bits
            act = Signal(cfg.act_slice, name=f"act_{row}")
            m.d.comb += act.eq(self._picked(m, row, unit[split:]) if cfg.index_bits
                               else self.line[row])
            acts.append(act)
            for j, column in enumerate(weights):
                column.append(unit.word_select(j, cfg.weight_bits).as_signed())
        addends = [self._addends(m, platform, j, column, acts)
                   for j, column in enumerate(weights)]
        self._accumulate(m, addends)
        return m

    def _stored(self, m: Module, row: int) -> Value:
        """Return one row of the bank being read; its flip-flops need no reset."""
        cfg = self._config
        banks = [Signal(cfg.cell_bits, name=f"cell_{row}_bank_{bank}", reset_less=True)
                 for bank in range(cfg.weight_banks)]
        for bank, cell in enumerate(banks):
            chosen = self.write.en & (self.write.row == row) & (self.write.bank == bank)
            with m.If(chosen):
                m.d.sync += cell.eq(self._coded())
        unit = Signal(cfg.cell_bits, name=f"cell_{row}")
        m.d.comb += unit.eq(banks[0] if cfg.weight_banks == 1
                            else Mux(self.bank, banks[1], banks[0]))
        return unit

    def _coded(self) -> Value:
        """Return what is written, with its index as the cells hold it."""
        cfg, data = self._config, self.write.data[0]
        if cfg.index_coding == "binary":
            return data
        split = cfg.index_share * cfg.weight_bits
        return Cat(data[:split], *(data[split:] == line for line in range(cfg.lines)))

    def _picked(self, m: Module, row: int, index: Value) -> Value:
        """Return the line of a row that its index picks."""
        cfg = self._config
        if cfg.index_coding == "binary":
            return self.line[row].word_select(index, cfg.act_slice)
        return any_of(self._gated(row, list(index)))

    def _gated(self, row: int, hot: list[Value]) -> list[Value]:
        """Return the lines of a row, each where its bit is set and else 0."""
        width = self._config.act_slice
        return [self.line[row].word_select(i, width) & bit.replicate(width)
                for i, bit in enumerate(hot)]

    def _addends(self, m: Module, platform, j: int, weights: list[Value],
                 acts: list[Signal]) -> list[Value]:
        """Return numbers whose sum, modulo 2^term_bits, is that of the products of this slice.

        The last slice is two's complement.
        """
        cfg = self._config
        if cfg.act_slice == 1:  # a bit gates its weight; the sign bit counts negatively
            gated = adder_tree([Mux(act, weight, 0) for weight, act in
                                zip(weights, acts, strict=True)])
            return [Mux(self.last, -gated, gated)]
        if cfg.slices == 1:
            return [adder_tree([weight * act.as_signed() for weight, act in
                                zip(weights, acts, strict=True)])]
        return [adder_tree([weight * Cat(act, act[-1] & self.last).as_signed()
                            for weight, act in zip(weights, acts, strict=True)])]

    def _accumulate(self, m: Module, addends: list[list[Value]]):
        cfg = self._config
        enable: Value = self.enable
        first: Value = self.first
        active: Value = self.active
        if cfg.adder_stages == 2:
            pending, held_first = Signal(), Signal()
            held_active = Signal(cfg.index_share)
            with m.If(self.advance):
                m.d.sync += pending.eq(self.enable)
            with m.If(self.enable):
                m.d.sync += [held_first.eq(self.first), held_active.eq(self.active)]
            addends = [[self._held(m, j, i, addend) for i, addend in enumerate(mine)]
                       for j, mine in enumerate(addends)]
            enable, first, active = pending & self.advance, held_first, held_active
        for j, mine in enumerate(addends):
            term = Signal(signed(cfg.term_bits), name=f"term_{j}")
            m.d.comb += term.eq(sum(mine[1:], start=mine[0]))
            exact = Mux(active[j], term, 0)
            # Slices come least significant first: older ones move down by a slice each cycle,
            # shifting out only the zeros they came in with.
            total = exact if cfg.slices == 1 else (
                Mux(first, 0, self.sum[j] >> cfg.act_slice)
                + (exact << (cfg.act_bits - cfg.act_slice)))
            with m.If(enable):
                m.d.sync += self.sum[j].eq(total)

    def _held(self, m: Module, j: int, i: int, addend: Value) -> Signal:
        held = Signal(self._config.term_bits, name=f"addend_{j}_{i}", reset_less=True)
        with m.If(self.enable):
            m.d.sync += held.eq(addend)
        return held
