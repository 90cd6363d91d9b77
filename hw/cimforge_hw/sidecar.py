"""What a JSON file beside the Verilog says: ports, the fields of every stream, error codes."""

from amaranth.hdl import Shape, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In

from cimforge.spec.analog.commands import AnalogError
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.commands import ErrorCode
from cimforge.spec.config import DcimConfig
from cimforge.spec.registers import MAP_VERSION, STREAMS, kind_of, register_map
from cimforge_hw.analog.tile import AnalogTile
from cimforge_hw.common.place import port_name
from cimforge_hw.dcim.tile import DcimTile
from cimforge_hw.soc.block import tile_class, tile_streams
from cimforge_hw.soc.wrapper import Soc

__all__ = ["FORMAT", "component_ports", "describe"]

#: Version of the sidecar's format.
FORMAT = 2

_CLOCK = {"clk": "clock: everything happens at its rising edge",
          "rst": "reset: synchronous, active high"}


def component_ports(component: wiring.Component) -> dict[str, tuple[Value, bool]]:
    """Return value and "is an input" of every port but clock and reset, by name."""
    return {port_name(path): (Value.cast(value), member.flow == In)
            for path, member, value in component.signature.flatten(component)}


def describe(component: wiring.Component, top: str, modules: dict[str, str],
             clocked: bool) -> dict:
    """Return the sidecar of an emitted component, ready for JSON.

    Parameters
    ----------
    component : Component
        With a ``config``.
    top : str
        Name of its module.
    modules : dict of str to str
        Component of every module.
    clocked : bool
        Whether the module has the ports ``clk`` and ``rst``.
    """
    config = component.config  # type: ignore[attr-defined]
    tile = tile_class(config) if isinstance(component, Soc) else type(component)
    told = {
        "format": FORMAT,
        "top": top,
        "parameters": config.to_dict(),
        "config_digest": config.digest,
        **({} if isinstance(config, AnalogConfig) else {"macro_latency": config.macro_latency}),
        "modules": modules,
        "ports": _ports(component, clocked),
        "streams": _streams(config, tile, component.signature.members),
    }
    if isinstance(component, Soc):
        told |= {"streams": _buses(config, tile), "register_map": _registers(config)}
    if tile is DcimTile:
        told["errors"] = {str(int(code)): code.name for code in ErrorCode}
        if config.select_bits:
            told["selects"] = {"beats": config.select_beats, "fields": _selects(config)}
    if tile is AnalogTile:
        told["errors"] = {str(int(code)): code.name for code in AnalogError}
    return told


def _ports(component: wiring.Component, clocked: bool) -> dict[str, dict]:
    ports = {name: {"direction": "input", "width": 1, "signed": False, "meaning": meaning}
             for name, meaning in _CLOCK.items() if clocked}
    for name, (value, is_input) in component_ports(component).items():
        ports[name] = {"direction": "input" if is_input else "output", "width": len(value),
                       "signed": value.shape().signed}
    return ports


def _streams(config, tile: type, members) -> dict[str, dict]:
    """Return the three ports of every stream, and where the fields of its payload lie."""
    told = {}
    for name, member in members.items():
        if member.is_signature and isinstance(member.signature, stream.Signature):
            told[name] = {
                "direction": "input" if member.flow == In else "output",
                **{part: f"{name}__{part}" for part in ("valid", "ready", "payload")},
                "fields": _payload(config, tile, name, member.signature.members["payload"].shape)}
    return told


def _buses(config, tile: type) -> dict[str, dict]:
    """Return the prefix of every AXI4-Stream, and where fields lie in TDATA, or are TLAST."""
    told = {}
    for name, plain in _streams(config, tile, tile_streams(config)).items():
        side = "s" if name in STREAMS else "m"
        told[name] = {"direction": plain["direction"], "prefix": f"{side}_axis_{name}",
                      "fields": [field for field in plain["fields"] if field["name"] != "last"]}
    return told


def _registers(config) -> dict:
    """Return version and registers of the map, by name."""
    return {"version": list(MAP_VERSION), "prefix": "s_axil", "registers": {
        register.name: {
            "address": register.address, "access": register.access.name,
            "fields": {field.name: [field.low, field.width] for field in register.fields}}
        for register in register_map(kind_of(config))}}


def _payload(config, tile: type, name: str, shape) -> list[dict]:
    if tile is DcimTile and name == "weights":
        return _weights(config)
    if tile is DcimTile and name == "acts":
        return [_field("activation", 0, config.act_bits, True, config.act_lanes)]
    if tile is AnalogTile and name in ("weights", "acts"):
        return [_field({"weights": "weight", "acts": "activation"}[name], 0, config.act_bits, True,
                       config.port)]
    return _fields(shape, "payload", 0)


def _field(name: str, offset: int, width: int, signed: bool, count: int = 1,
           stride: int = 0) -> dict:
    """Element i of a field is the bits ``offset + i*stride …``, ``width`` of them."""
    return {"name": name, "offset": offset, "width": width, "signed": signed, "count": count,
            "stride": stride or width}


def _fields(shape, name: str, offset: int) -> list[dict]:
    """Flatten a layout: names of nested fields are joined by dots."""
    if isinstance(shape, data.ArrayLayout) and not isinstance(shape.elem_shape, data.Layout):
        element = Shape.cast(shape.elem_shape)
        return [_field(name, offset, element.width, element.signed, shape.length)]
    if isinstance(shape, data.Layout):
        return [told for key, field in shape
                for told in _fields(field.shape, str(key) if name == "payload" else f"{name}.{key}",
                                    offset + field.offset)]
    plain = Shape.cast(shape)
    return [_field(name, offset, plain.width, plain.signed)]


def _weights(config: DcimConfig) -> list[dict]:
    """Return a beat of weights: ``load_rows`` rows of units, lowest sub-macro and column first."""
    units, size = config.load_rows * config.units, config.unit_bits
    fields = [_field("weight" if config.index_share == 1 else f"weight_{i}",
                     i * config.weight_bits, config.weight_bits, True, units, size)
              for i in range(config.index_share)]
    if config.index_bits:
        fields.append(_field("index", config.index_share * config.weight_bits, config.index_bits,
                             False, units, size))
    return fields


def _selects(config: DcimConfig) -> list[dict]:
    """Return a step of selects, which takes ``select_beats`` beats of the weight stream."""
    width, slots = config.sub_macros.bit_length() - 1, config.slots
    levels = [_field(f"level{i + 1}", i * width, width, False, slots, 2 * width)
              for i in range(2 if width else 0)]
    return [*levels, _field("enable", 2 * width * slots, 1, False,
                            config.sub_macros * config.cols)]
