"""The mode on wires, and the list of the modes that a configuration has."""

from amaranth import Signal, Value
from amaranth.lib import data

from cimforge.spec.commands import FIELDS
from cimforge.spec.config import DcimConfig
from cimforge.spec.mode import Mode

__all__ = ["ModeLayout", "is_mode", "mode_value"]

_WIDTHS = dict(FIELDS)


class ModeLayout(data.StructLayout):
    """N, log2 M and log2 G as a command carries them."""

    def __init__(self):
        super().__init__({name: _WIDTHS[name] for name in ("n", "m_log2", "group_log2")})


def mode_value(mode: Mode) -> int:
    """Return the bits of a mode in :class:`ModeLayout`."""
    shift_m = _WIDTHS["n"]
    shift_g = shift_m + _WIDTHS["m_log2"]
    return (mode.n | mode.m.bit_length() - 1 << shift_m | mode.group.bit_length() - 1 << shift_g)


def is_mode(config: DcimConfig, mode: Signal | data.View) -> Value:
    """Return a bit: the wires carry a mode of this configuration."""
    return Value.cast(mode).matches(*(mode_value(known) for known in config.modes))
