"""A sub-macro: C columns on the same activation lines."""

from amaranth import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.config import DcimConfig
from cimforge_hw.common.place import place
from cimforge_hw.dcim.column import Column, WriteSignature, array_members

__all__ = ["SubMacro"]


class SubMacro(wiring.Component):
    """``units`` column units that see the same lines; a row of all of them is written per cycle.

    Timing is that of :class:`~cimforge_hw.dcim.column.Column`.

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    line : ``In(lines * act_slice).array(R)``
        Activation lines of each slot, shared by the columns.
    active : ``In(C)``
        Columns that compute.
    enable, advance, first, last, bank : ``In(1)``
        As for a column.
    write : ``In(WriteSignature(config, units))``
        Row-wide write port.
    sum : ``Out(signed(column_bits)).array(C)``
        Column sums.
    """

    def __init__(self, config: DcimConfig):
        self._config = config
        super().__init__({
            **array_members(config),
            "active": In(config.cols),
            "write": In(WriteSignature(config, config.units)),
            "sum": Out(signed(config.column_bits)).array(config.cols),
        })

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        share = self._config.index_share
        for unit in range(self._config.units):
            column = place(m, f"column_{unit}", Column, self._config, platform)
            first = unit * share
            m.d.comb += [mine.eq(all_columns) for mine, all_columns in
                         zip(column.line, self.line, strict=True)]
            m.d.comb += [
                column.active.eq(self.active[first:first + share]),
                column.enable.eq(self.enable),
                column.first.eq(self.first),
                column.last.eq(self.last),
                column.bank.eq(self.bank),
                column.write.en.eq(self.write.en),
                column.write.bank.eq(self.write.bank),
                column.write.row.eq(self.write.row),
                column.write.data[0].eq(self.write.data[unit]),
            ]
            if self._config.adder_stages == 2:
                m.d.comb += column.advance.eq(self.advance)
            m.d.comb += [self.sum[first + j].eq(column.sum[j]) for j in range(share)]
        return m
