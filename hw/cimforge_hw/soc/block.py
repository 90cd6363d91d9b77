"""What every block of the wrapper has: a configuration of either tile, and widths from it."""

from amaranth.hdl import Shape
from amaranth.lib import wiring

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.config import DcimConfig
from cimforge.spec.registers import TileKind, kind_of
from cimforge_hw.analog.tile import AnalogTile, analog_streams
from cimforge_hw.dcim.tile import DcimTile, dcim_streams

__all__ = ["SocBlock", "payload_bits", "tdata_bytes", "tile_class", "tile_streams"]


class SocBlock(wiring.Component):
    """A component that is built from the configuration of either tile alone."""

    def __init__(self, config: DcimConfig | AnalogConfig, members: dict):
        self._config = config
        super().__init__(members)

    @property
    def config(self) -> DcimConfig | AnalogConfig:
        """Parameters this instance was built from."""
        return self._config


def tile_class(config: DcimConfig | AnalogConfig) -> type[wiring.Component]:
    """Return the component of a tile."""
    return DcimTile if kind_of(config) is TileKind.DIGITAL else AnalogTile


def tile_streams(config: DcimConfig | AnalogConfig) -> dict[str, wiring.Member]:
    """Return the four streams of a tile."""
    return dcim_streams(config) if kind_of(config) is TileKind.DIGITAL else analog_streams(config)


def payload_bits(config: DcimConfig | AnalogConfig, name: str) -> int:
    """Return the width of a stream's data: of results, without the flag ``last`` above them."""
    shape = tile_streams(config)[name].signature.members["payload"].shape
    return Shape.cast(shape).width - (name == "results")


def tdata_bytes(config: DcimConfig | AnalogConfig, name: str) -> int:
    """Return the bytes of a stream's TDATA; bits above the payload are ignored, or zero."""
    return -(-payload_bits(config, name) // 8)
