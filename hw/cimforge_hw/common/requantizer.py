"""The requantizer of one result lane; combinational."""

from typing import Protocol

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["MAX_SHIFT", "RequantizeLayout", "Requantizer", "Widths"]

MAX_SHIFT = 47


class Widths(Protocol):
    """What a tile's configuration says about its sums and activations."""

    @property
    def acc_bits(self) -> int:
        """Width of a sum."""

    @property
    def act_bits(self) -> int:
        """Width of an activation."""


class RequantizeLayout(data.StructLayout):
    """Parameters of one output column."""

    def __init__(self):
        super().__init__({"bias": signed(32), "multiplier": 16, "shift": 6})


class Requantizer(wiring.Component):
    """``y = clamp(round_half_even((acc + bias) * multiplier / 2**shift))``; combinational.

    Parameters
    ----------
    config : Widths
        Of either tile.

    Members
    -------
    acc : ``In(signed(acc_bits))``
        Accumulated sum.
    parameters : ``In(RequantizeLayout())``
        ``shift`` at most 47.
    quantized : ``Out(signed(act_bits))``
        Result, saturated.
    """

    def __init__(self, config: Widths):
        self._config = config
        super().__init__({
            "acc": In(signed(config.acc_bits)),
            "parameters": In(RequantizeLayout()),
            "quantized": Out(signed(config.act_bits)),
        })

    @property
    def config(self) -> Widths:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        shift = self.parameters.shift
        biased = Signal(signed(max(cfg.acc_bits, 32) + 1))
        product = Signal(signed(len(biased) + 17))
        # The bits shifted out, aligned to the top: "above half" and "exactly half" are then the
        # same comparison for every shift.
        dropped = Signal(MAX_SHIFT)
        floor = Signal(signed(len(product)))
        rounded = Signal(signed(len(product) + 1))
        half, sticky = dropped[-1], dropped[:-1].any()
        m.d.comb += [
            biased.eq(self.acc + self.parameters.bias),
            product.eq(biased * self.parameters.multiplier),
            floor.eq(product >> shift),
            dropped.eq(Cat(Const(0, MAX_SHIFT), product[:MAX_SHIFT]) >> shift),
            rounded.eq(floor + (half & (sticky | floor[0]))),
        ]
        low, high = -(1 << cfg.act_bits - 1), (1 << cfg.act_bits - 1) - 1
        m.d.comb += self.quantized.eq(
            Mux(rounded > high, high, Mux(rounded < low, low, rounded)))
        return m
