"""The requantizer of one result lane: combinational, and as a pipeline."""

from typing import Protocol

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.config import DcimConfig

__all__ = ["MAX_SHIFT", "RequantizeLayout", "Requantizer", "RequantizerPipeline", "Widths"]

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


def _biased(config: Widths, acc: Value, bias: Value) -> Value:
    return (acc + bias)[:max(config.acc_bits, 32) + 1].as_signed()


def _shifted(product: Value, shift: Value) -> tuple[Value, Value, Value]:
    """Return the product shifted down, its highest bit shifted out, and whether lower ones were."""
    # The bits shifted out, aligned to the top: "above half" and "exactly half" are then the same
    # comparison for every shift.
    dropped = (Cat(Const(0, MAX_SHIFT), product[:MAX_SHIFT]) >> shift)[:MAX_SHIFT]
    return product >> shift, dropped[-1], dropped[:-1].any()


def _rounded(config: Widths, floor: Value, half: Value, sticky: Value) -> Value:
    """Return floor rounded half to even, then saturated."""
    rounded = floor + (half & (sticky | floor[0]))
    low, high = -(1 << config.act_bits - 1), (1 << config.act_bits - 1) - 1
    return Mux(rounded > high, high, Mux(rounded < low, low, rounded))


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
        p = self.parameters
        product = Signal(signed(max(self._config.acc_bits, 32) + 18))
        m.d.comb += product.eq(_biased(self._config, self.acc, p.bias) * p.multiplier)
        m.d.comb += self.quantized.eq(_rounded(self._config, *_shifted(product, p.shift)))
        return m


class RequantizerPipeline(wiring.Component):
    """The requantizer with registers between addition, product, shift and rounding.

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    advance : ``In(1)``
        All registers take what is before them.
    acc : ``In(signed(acc_bits))``
        Accumulated sum.
    raw : ``In(1)``
        Let it pass as it is.
    parameters : ``In(RequantizeLayout())``
        As for :class:`Requantizer`.
    result : ``Out(signed(acc_bits))``
        What came ``drain_latency`` advances before, requantized unless raw.
    """

    def __init__(self, config: DcimConfig):
        self._config = config
        super().__init__({
            "advance": In(1),
            "acc": In(signed(config.acc_bits)),
            "raw": In(1),
            "parameters": In(RequantizeLayout()),
            "result": Out(signed(config.acc_bits)),
        })

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        cfg, p = self._config, self.parameters

        def register(value: Value, name: str) -> Signal:
            held = Signal(Value.cast(value).shape(), name=name, reset_less=True)
            with m.If(self.advance):
                m.d.sync += held.eq(value)
            return held

        # What is raw passes as (acc + 0) * 1 >> 0: no register of its own.
        biased = register(_biased(cfg, self.acc, Mux(self.raw, 0, p.bias)), "biased")
        multiplier = register(Mux(self.raw, 1, p.multiplier), "multiplier")
        shift = register(Mux(self.raw, 0, p.shift), "shift")
        raw = register(self.raw, "raw_1")
        product = register(biased * multiplier, "product")
        shift, raw = register(shift, "shift_2"), register(raw, "raw_2")
        floor, half, sticky = (register(value, name) for value, name in zip(
            _shifted(product, shift), ("floor", "half", "sticky"), strict=True))
        raw = register(raw, "raw_3")
        m.d.comb += self.result.eq(Mux(raw, floor, _rounded(cfg, floor, half, sticky)))
        return m
