"""The merging network: adds the column sums of the sub-macros that work on one output."""

from amaranth import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.config import DcimConfig

__all__ = ["Merging"]


class Merging(wiring.Component):
    """Add the sums of groups of G sub-macros; combinational.

    G = P merges a tile split along K into one result per column; G < P disaggregates: group j,
    sub-macros ``j*G … j*G + G-1``, has columns of its own and appears on lanes ``j*C … j*C + C-1``.
    Lanes past ``P/G * C`` are zero. One tree serves every G: each of its levels is a result.

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    sum : ``In(signed(column_bits)).array(P, C)``
        Column sums.
    group_log2 : ``In(3)``
        log2 G.
    merged : ``Out(signed(macro_bits)).array(P * C)``
        Group sums.
    """

    def __init__(self, config: DcimConfig):
        self._config = config
        super().__init__({
            "sum": In(signed(config.column_bits)).array(config.sub_macros, config.cols),
            "group_log2": In(3),
            "merged": Out(signed(config.macro_bits)).array(config.sub_macros * config.cols),
        })

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        for col in range(cfg.cols):
            level = [self.sum[p][col] for p in range(cfg.sub_macros)]
            with m.Switch(self.group_log2):
                for log2, _ in enumerate(cfg.groups):
                    with m.Case(log2):
                        m.d.comb += [self.merged[j * cfg.cols + col].eq(total)
                                     for j, total in enumerate(level)]
                    level = [a + b for a, b in zip(level[::2], level[1::2], strict=False)]
        return m
