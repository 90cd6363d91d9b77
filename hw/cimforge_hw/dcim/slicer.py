"""Slices of activations, least significant first."""

from amaranth import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.config import DcimConfig

__all__ = ["Slicer"]


class Slicer(wiring.Component):
    """Cut slice ``index`` out of every activation of a window; combinational.

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    window : ``In(max_m * act_bits).array(blocks)``
        Blocks of ``max_m`` activations.
    index : ``In(range(slices))``
        0 is the least significant slice.
    sliced : ``Out(max_m * act_slice).array(blocks)``
        The same blocks, one slice of every activation.
    """

    def __init__(self, config: DcimConfig):
        self._config = config
        blocks = config.window_inputs // config.max_m
        super().__init__({
            "window": In(config.max_m * config.act_bits).array(blocks),
            "index": In(range(config.slices)),
            "sliced": Out(config.max_m * config.act_slice).array(blocks),
        })

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        for block, sliced in zip(self.window, self.sliced, strict=True):
            acts = [block.word_select(i, cfg.act_bits) for i in range(cfg.max_m)]
            with m.Switch(self.index):
                for index in range(cfg.slices):
                    with m.Case(index):
                        m.d.comb += sliced.eq(Cat(
                            act.word_select(index, cfg.act_slice) for act in acts))
        return m
