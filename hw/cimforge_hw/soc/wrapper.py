"""A tile with AXI4-Lite registers, AXI4-Stream ports and an interrupt."""

from amaranth import Cat, Module
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.commands import AnalogOpcode
from cimforge.spec.commands import Opcode
from cimforge.spec.registers import COUNTERS, STREAMS, TileKind, kind_of
from cimforge_hw.common.place import place
from cimforge_hw.soc.axi_lite import AxiLite, axi_lite_members
from cimforge_hw.soc.block import SocBlock, tdata_bytes, tile_class
from cimforge_hw.soc.control import Control
from cimforge_hw.soc.input_port import ActPort, CommandPort, WeightPort
from cimforge_hw.soc.registers import Registers
from cimforge_hw.soc.result_port import ResultPort

__all__ = ["Soc"]

_PORTS = {"commands": CommandPort, "weights": WeightPort, "acts": ActPort}
_END = {TileKind.DIGITAL: Opcode.END, TileKind.ANALOG: AnalogOpcode.END}


class Soc(SocBlock):
    """Either tile on a bus; registers, order of things and latency are in ``docs/soc.md``.

    Parameters
    ----------
    config : DcimConfig or AnalogConfig
        Says which tile.

    Members
    -------
    s_axil_awaddr … s_axil_rready :
        AXI4-Lite slave: 32 bits of data, 12 bits of address.
    s_axis_commands_tdata …, s_axis_weights_tdata …, s_axis_acts_tdata … :
        AXI4-Stream slaves: TDATA, TKEEP, TLAST, TVALID, TREADY.
    m_axis_results_tdata … :
        AXI4-Stream master, with the same signals.
    irq : ``Out(1)``
        Level, high while an enabled interrupt is pending.
    """

    def __init__(self, config):
        kind_of(config)  # refuses what is no configuration
        super().__init__(config, {
            **{f"s_axil_{name}": member for name, member in axi_lite_members().items()},
            **{f"s_axis_{stream}_{name}": member for stream in STREAMS
               for name, member in _axi_stream(config, stream, In, Out).items()},
            **{f"m_axis_results_{name}": member
               for name, member in _axi_stream(config, "results", Out, In).items()},
            "irq": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        bus = place(m, "axi_lite", AxiLite, cfg, platform)
        registers = place(m, "registers", Registers, cfg, platform)
        control = place(m, "control", Control, cfg, platform)
        ports = {name: place(m, f"{name}_port", kind, cfg, platform)
                 for name, kind in _PORTS.items()}
        results = place(m, "results_port", ResultPort, cfg, platform)
        tile = place(m, "tile", tile_class(cfg), cfg, platform, reset=control.tile_reset)
        self._pins(m, bus, axi_lite_members(), "s_axil")
        for name, port in ports.items():
            self._pins(m, port, _axi_stream(cfg, name, In, Out), f"s_axis_{name}")
            self._input(m, name, port, getattr(tile, name), registers, control)
        self._pins(m, results, _axi_stream(cfg, "results", Out, In), "m_axis_results")
        m.d.comb += [
            results.results.valid.eq(tile.results.valid),
            results.results.payload.eq(tile.results.payload),
            tile.results.ready.eq(results.results.ready),
            results.close.eq(control.close),
            results.flush.eq(control.tile_reset),
            results.clear.eq(control.cleared),
            registers.beats_results.eq(results.sent),
            self.irq.eq(registers.irq),
        ]
        self._access(m, bus, registers)
        self._connect_control(m, control, registers, tile, ports, results)
        self._connect_status(m, control, registers, tile, ports)
        return m

    def _pins(self, m: Module, block, members: dict, prefix: str):
        """Connect the bus of a block to the ports with a prefix."""
        for name, member in members.items():
            outside, inside = getattr(self, f"{prefix}_{name}"), getattr(block, name)
            m.d.comb += inside.eq(outside) if member.flow == In else outside.eq(inside)

    def _input(self, m: Module, name: str, port, sink, registers, control):
        m.d.comb += [
            sink.valid.eq(port.beats.valid),
            sink.payload.eq(port.beats.payload),
            port.beats.ready.eq(sink.ready),
            port.length.eq(getattr(registers, f"length_{name}")),
            port.flush.eq(control.tile_reset),
            port.forget.eq(control.forget),
            port.clear.eq(control.cleared),
            getattr(registers, f"beats_{name}").eq(port.accepted),
            getattr(registers, f"dropped_{name}").eq(port.dropped),
        ]
        if name == "commands":
            m.d.comb += [
                sink.valid.eq(port.beats.valid & control.open),
                port.beats.ready.eq(sink.ready & control.open),
                control.ended.eq(sink.valid & sink.ready
                                 & (sink.payload.opcode == _END[kind_of(self._config)])),
            ]

    def _access(self, m: Module, bus, registers):
        for name in ("write_en", "write_word", "write_data", "write_mask", "read_word"):
            m.d.comb += getattr(registers, name).eq(getattr(bus, name))
        for name in ("write_response", "read_data", "read_response"):
            m.d.comb += getattr(bus, name).eq(getattr(registers, name))

    def _connect_control(self, m: Module, control, registers, tile, ports, results):
        every = ports.values()
        m.d.comb += [
            control.start.eq(registers.start),
            control.clear.eq(registers.clear),
            control.soft_reset.eq(registers.soft_reset),
            control.tile_busy.eq(tile.busy),
            control.tile_error.eq(tile.error != 0),
            control.waiting.eq(Cat(Cat(p.beats.valid, p.inside) for p in every).any()),
            control.sending.eq(~results.idle | results.open),
            control.unsettled.eq(Cat(Cat(p.tready, p.inside) for p in every).any()
                                 | results.open | ~results.idle),
            tile.clear.eq(control.tile_clear),
            registers.start_ok.eq(control.ready),
            registers.clear_ok.eq(control.clear_ok),
            registers.forget.eq(control.tile_reset),
        ]

    def _connect_status(self, m: Module, control, registers, tile, ports):
        analog = kind_of(self._config) is TileKind.ANALOG
        illegal, saturated = (tile.illegal, tile.saturated) if analog else (0, 0)
        m.d.comb += [
            registers.status.eq(Cat(control.ready, control.busy, control.clearing,
                                    control.resetting, control.tile_error, illegal, saturated,
                                    registers.stream_error)),
            registers.error_code.eq(tile.error),
            registers.error_position.eq(tile.error_position),
            registers.events.eq(Cat(control.done, control.failed, registers.stream_events.any())),
            registers.stream_events.eq(Cat(
                Cat(ports[name].short, ports[name].long, ports[name].partial) for name in STREAMS)),
            *(getattr(registers, f"counter_{name}").eq(getattr(tile.counters, name))
              for name in COUNTERS[kind_of(self._config)]),
        ]
        if analog:
            m.d.comb += registers.illegal_position.eq(tile.illegal_position)


def _axi_stream(config, stream: str, forward, backward) -> dict:
    """Return the members of a stream; ``forward`` is the flow of its data."""
    size = tdata_bytes(config, stream)
    return {"tdata": forward(8 * size), "tkeep": forward(size), "tlast": forward(1),
            "tvalid": forward(1), "tready": backward(1)}
