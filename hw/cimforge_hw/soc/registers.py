"""The registers of :mod:`cimforge.spec.registers`: decoding, and what software writes."""

from amaranth import Cat, Const, Module, Signal, Value
from amaranth.lib.wiring import In, Out

from cimforge.spec.registers import (
    COUNTERS,
    IDENTITY,
    MAP_VERSION,
    STREAMS,
    Access,
    Register,
    Response,
    digest_words,
    kind_of,
    register_map,
)
from cimforge_hw.soc.block import SocBlock, tile_class

__all__ = ["Registers", "counter_bits"]

# Which member says what a read-only register says.
_STATUS = ("status", "error_code", "error_position", "illegal_position")


def counter_bits(config) -> dict[str, int]:
    """Return the width of every counter of a tile."""
    if tile_class(config).__name__ == "DcimTile":
        from cimforge_hw.dcim.counters import COUNTERS as WIDTHS

        return dict(WIDTHS)
    from cimforge_hw.analog.counters import CountersSignature

    return {name: member.shape for name, member in CountersSignature().members.items()}


class Registers(SocBlock):
    """Answers accesses in the cycle in which they are made.

    Parameters
    ----------
    config : DcimConfig or AnalogConfig

    Members
    -------
    write_en … read_response :
        As :class:`~cimforge_hw.soc.axi_lite.AxiLite` gives and takes them.
    status, error_code, error_position, illegal_position : ``In``
        What the registers of these names say.
    COMMANDS_BEATS … : ``In(32)``
        As ``beats_NAME`` and ``dropped_NAME``.
    counter_NAME : ``In``
        The tile's counters.
    events, stream_events : ``In``
        Set bits of INTERRUPT_STATUS and STREAM_ERROR in the next cycle.
    forget : ``In(1)``
        Zero both.
    start_ok, clear_ok : ``In(1)``
        Whether CONTROL.START and CONTROL.CLEAR may be written.
    start, clear, soft_reset : ``Out(1)``
        They are, in this cycle.
    length_NAME : ``Out(32)``
        Announced lengths.
    stream_error : ``Out(1)``
        STREAM_ERROR is not zero.
    irq : ``Out(1)``
        An enabled bit of INTERRUPT_STATUS is set: a register.
    """

    def __init__(self, config):
        self._map = {r.name: r for r in register_map(kind_of(config))}
        super().__init__(config, {
            "write_en": In(1), "write_word": In(10), "write_data": In(32), "write_mask": In(32),
            "write_response": Out(2),
            "read_word": In(10), "read_data": Out(32), "read_response": Out(2),
            "status": In(len(self._map["STATUS"].fields)), "error_code": In(4),
            "error_position": In(32), "illegal_position": In(32),
            **{f"beats_{name}": In(32) for name in (*STREAMS, "results")},
            **{f"dropped_{name}": In(32) for name in STREAMS},
            **{f"counter_{name}": In(bits) for name, bits in counter_bits(config).items()},
            "events": In(len(self._map["INTERRUPT_STATUS"].fields)),
            "stream_events": In(len(self._map["STREAM_ERROR"].fields)),
            "forget": In(1), "start_ok": In(1), "clear_ok": In(1),
            "start": Out(1), "clear": Out(1), "soft_reset": Out(1),
            **{f"length_{name}": Out(32) for name in STREAMS},
            "stream_error": Out(1), "irq": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        self._snapshot = Signal(name="snapshot")
        kept = self._kept(m)
        self._control(m)
        self._read(m, kept | self._read_only(m))
        m.d.comb += self.stream_error.eq(kept["STREAM_ERROR"].any())
        m.d.sync += self.irq.eq((kept["INTERRUPT_ENABLE"] & kept["INTERRUPT_STATUS"]).any())
        return m

    def _kept(self, m: Module) -> dict[str, Value]:
        """Return the registers that software writes, and hardware may set."""
        kept: dict[str, Value] = {}
        for register in self._map.values():
            if register.access not in (Access.RW, Access.W1C):
                continue
            value = Signal(register.mask.bit_length(), name=register.name.lower())
            mask = (self.write_mask & self._written(register).replicate(32))[:len(value)]
            data = self.write_data[:len(value)]
            if register.access is Access.RW:
                m.d.sync += value.eq((value & ~mask) | (data & mask))
            else:
                events = self.events if register.name == "INTERRUPT_STATUS" else self.stream_events
                m.d.sync += value.eq((value & ~(data & mask)) | events)
                with m.If(self.forget):
                    m.d.sync += value.eq(0)
            kept[register.name] = value
        m.d.comb += [getattr(self, f"length_{name}").eq(kept[f"{name.upper()}_LENGTH"])
                     for name in STREAMS]
        return kept

    def _written(self, register: Register) -> Value:
        return self.write_en & (self.write_word == register.address // 4)

    def _control(self, m: Module):
        """Act on CONTROL and answer writes."""
        control, written = self._map["CONTROL"], Signal()
        wants = {field.name: Signal(name=f"wants_{field.name.lower()}") for field in control.fields}
        bits = self.write_data & self.write_mask
        m.d.comb += [written.eq(self._written(control)),
                     *(signal.eq(bits[control.field(name).low]) for name, signal in wants.items())]
        refused = Signal()  # a soft reset makes the rest of the word superfluous
        m.d.comb += refused.eq(~wants["SOFT_RESET"] & (
            (wants["START"] & (~self.start_ok | wants["CLEAR"]))
            | (wants["CLEAR"] & ~self.clear_ok)))
        goes = written & ~refused
        m.d.comb += [
            self.soft_reset.eq(goes & wants["SOFT_RESET"]),
            self.start.eq(goes & wants["START"] & ~wants["SOFT_RESET"]),
            self.clear.eq(goes & wants["CLEAR"] & ~wants["SOFT_RESET"]),
            self._snapshot.eq(goes & wants["SNAPSHOT"]),
            self.write_response.eq(Response.DECERR),
        ]
        with m.Switch(self.write_word):
            for register in self._map.values():
                with m.Case(register.address // 4):
                    m.d.comb += self.write_response.eq(
                        Response.OKAY if register.writable else Response.SLVERR)
                    if register is control:
                        with m.If(refused):
                            m.d.comb += self.write_response.eq(Response.SLVERR)

    def _read_only(self, m: Module) -> dict[str, Value]:
        """Return what is not written, by name of register."""
        config, low_high = self._config, digest_words(self._config)
        values: dict[str, Value] = {
            "ID": Const(IDENTITY), "VERSION": Const(MAP_VERSION[0] << 16 | MAP_VERSION[1]),
            "TILE": Const(kind_of(config)), "CONTROL": Const(0),
            "DIGEST_LO": Const(low_high[0]), "DIGEST_HI": Const(low_high[1]),
            **{name.upper(): getattr(self, name) for name in _STATUS},
            **{f"{name.upper()}_BEATS": getattr(self, f"beats_{name}")
               for name in (*STREAMS, "results")},
            **{f"{name.upper()}_DROPPED": getattr(self, f"dropped_{name}") for name in STREAMS},
        }
        for name in COUNTERS[kind_of(config)]:
            counter = getattr(self, f"counter_{name}")
            held = Signal(len(counter), name=f"held_{name}")
            with m.If(self._snapshot):
                m.d.sync += held.eq(counter)
            values |= {f"{name.upper()}_LO": held[:32], f"{name.upper()}_HI": held[32:]}
        return values

    def _read(self, m: Module, values: dict[str, Value]):
        m.d.comb += self.read_response.eq(Response.DECERR)
        with m.Switch(self.read_word):
            for register in self._map.values():
                with m.Case(register.address // 4):
                    m.d.comb += [self.read_data.eq(Cat(values[register.name])),
                                 self.read_response.eq(Response.OKAY)]
