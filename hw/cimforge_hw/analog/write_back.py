"""Write back: retired sums, requantized, and streamed activations to the activation memory."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import WORD_BITS, AnalogConfig
from cimforge_hw.analog.block import AnalogBlock, index
from cimforge_hw.common.place import place
from cimforge_hw.common.requantizer import RequantizeLayout, Requantizer

__all__ = ["RequantizeWriteLayout", "StageLayout", "WriteBack"]


class StageLayout(data.StructLayout):
    """A beat on its way to the activation memory."""

    def __init__(self, config: AnalogConfig):
        super().__init__({
            "valid": 1, "requantize": 1, "slot": 5,
            "address": data.ArrayLayout(16, config.port),
            "value": data.ArrayLayout(signed(config.acc_bits), config.port)})


class RequantizeWriteLayout(data.StructLayout):
    """A SetRequantize as dispatched."""

    def __init__(self):
        super().__init__({"en": 1, "slot": 5, "parameters": RequantizeLayout()})


class WriteBack(AnalogBlock):
    """Registers a beat and writes it in the next cycle; requantizes where the command says so.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    stage : ``In(StageLayout(config))``
        Beat.
    set_requantize : ``In(RequantizeWriteLayout())``
        Parameters to keep.
    write : ``Out(1)``, ``address``, ``data`` : ``Out(...).array(port)``
        To the activation memory.
    """

    def __init__(self, config: AnalogConfig):
        super().__init__(config, {
            "stage": In(StageLayout(config)),
            "set_requantize": In(RequantizeWriteLayout()),
            "write": Out(1),
            "address": Out(index(config.act_depth)).array(config.port),
            "data": Out(WORD_BITS).array(config.port),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        table = memory.Memory(shape=RequantizeLayout(), depth=max(2, cfg.requantizers), init=[])
        m.submodules.parameters = table
        write, read = table.write_port(), table.read_port(domain="comb")
        stage = Signal(StageLayout(cfg))
        m.d.sync += stage.eq(self.stage)
        m.d.comb += [
            write.addr.eq(self.set_requantize.slot),
            write.data.eq(self.set_requantize.parameters),
            write.en.eq(self.set_requantize.en),
            read.addr.eq(stage.slot),
            self.write.eq(stage.valid),
        ]
        for i in range(cfg.port):
            unit = place(m, f"requantizer_{i}", Requantizer, cfg, platform)
            m.d.comb += [
                unit.acc.eq(stage.value[i]),
                unit.parameters.eq(read.data),
                self.address[i].eq(stage.address[i]),
                self.data[i].eq(Mux(stage.requantize, unit.quantized, stage.value[i])),
            ]
        return m
