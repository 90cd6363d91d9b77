"""The bank of converters: column multiplexers and transfer functions, planes in parallel."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import AnalogConfig
from cimforge_hw.analog.block import AnalogBlock, ConversionLayout, index, sums_bits
from cimforge_hw.analog.rounds import families
from cimforge_hw.common.adder_tree import adder_tree
from cimforge_hw.common.place import place

__all__ = ["Adc", "CodesLayout", "Converter", "rotate"]


class CodesLayout(data.StructLayout):
    """One column's codes of all planes, and how many of them the converter clamped."""

    def __init__(self, config: AnalogConfig):
        super().__init__({"code": data.ArrayLayout(config.adc_bits, config.planes),
                          "clamped": range(config.planes + 1)})


def rotate(value, left: int):
    """Rotate a value to the left."""
    left %= len(value)
    return Cat(value[len(value) - left:], value[:len(value) - left])


class Converter(AnalogBlock):
    """``code = clamp((S - OFF + R) >> SH, 0, 2^bits - 1)`` of every plane; combinational.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    sums : ``In(sums_bits(config))``
        S of the column, per plane.
    settings : ``In(ConversionLayout(config))``
        bits, SH, OFF, rounding.
    noise : ``In(16)``
        The generator as this converter sees it; R comes from it if there is dither.
    codes : ``Out(CodesLayout(config))``
        Codes.
    """

    def __init__(self, config: AnalogConfig):
        members = {
            "sums": In(sums_bits(config)),
            "settings": In(ConversionLayout(config)),
            "codes": Out(CodesLayout(config)),
        }
        if config.dither:
            members["noise"] = In(16)
        super().__init__(config, members)

    def elaborate(self, platform):
        m = Module()
        cfg, settings = self._config, self.settings
        step = Signal(16)  # of the code; all bits below it are dropped
        limit = Signal(cfg.adc_bits)
        m.d.comb += [step.eq(1 << settings.shift), limit.eq((1 << settings.bits) - 1)]
        clamped = []
        for plane in range(cfg.planes):
            if cfg.dither:
                added = rotate(self.noise, 5 * plane) & (step - 1)[:16]
            else:
                added = Mux(settings.round, step >> 1, 0)
            level = Signal(signed(max(cfg.sum_bits, 16) + 2), name=f"level_{plane}")
            code = Signal(signed(len(level)), name=f"code_{plane}")
            high = Signal(name=f"high_{plane}")
            m.d.comb += [
                level.eq(self.sums.word_select(plane, cfg.sum_bits)
                         - settings.offset + added),
                code.eq(level >> settings.shift),
                high.eq(code > limit),
                self.codes.code[plane].eq(Mux(code < 0, 0, Mux(high, limit, code))),
            ]
            clamped.append((code < 0) | high)
        m.d.comb += self.codes.clamped.eq(adder_tree(clamped))
        return m


class Adc(AnalogBlock):
    """One converter per ``adcs``; converter j takes slot i, which is column ``i * adcs + j``.

    Combinational: a conversion lasts several cycles, and its codes count at the end of the last.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    held : ``In(sums_bits(config)).array(m)``
        Sampled column sums.
    slot : ``In(m / adcs).array(families)``
        Column of each family of converters.
    settings : ``In(ConversionLayout(config))``
        Of the drive.
    lfsr : ``In(16)``
        State of the array's generator, if there is dither.
    codes : ``Out(CodesLayout(config)).array(adcs)``
        Of every converter.
    """

    def __init__(self, config: AnalogConfig):
        members = {
            "held": In(sums_bits(config)).array(config.array),
            "slot": In(index(config.array // config.adcs)).array(families(config)),
            "settings": In(ConversionLayout(config)),
            "codes": Out(CodesLayout(config)).array(config.adcs),
        }
        if config.dither:
            members["lfsr"] = In(16)
        super().__init__(config, members)

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        neighbours = cfg.adcs // families(cfg)
        for j in range(cfg.adcs):
            converter = place(m, f"converter_{j}", Converter, cfg, platform)
            with m.Switch(self.slot[j // neighbours]):
                for i in range(cfg.array // cfg.adcs):
                    with m.Case(i):
                        m.d.comb += converter.sums.eq(self.held[i * cfg.adcs + j])
            m.d.comb += [
                converter.settings.eq(self.settings),
                self.codes[j].eq(converter.codes),
            ]
            if cfg.dither:
                m.d.comb += converter.noise.eq(rotate(self.lfsr, 3 * j))
        return m
