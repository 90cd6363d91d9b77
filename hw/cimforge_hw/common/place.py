"""Put a component into a module: as a submodule to simulate, as an instance to emit.

Amaranth writes one Verilog module per *instance* of a component: a macro of 128 equal columns
becomes 128 modules, megabytes that no tool shares. The emitter passes itself as the ``platform``;
:func:`place` then turns every child into an ``Instance`` of a module that is emitted once.
"""

from typing import Protocol, runtime_checkable

from amaranth import ClockSignal, Instance, Module, ResetInserter, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

__all__ = ["ComponentLibrary", "place", "port_name"]


@runtime_checkable
class ComponentLibrary(Protocol):
    """What :func:`place` needs of an emitter."""

    def require(self, kind: type[wiring.Component], config) -> tuple[str, wiring.Signature, bool]:
        """Return module name, signature and "has a clock" of a component, emitted only once."""


def port_name(path: tuple[str | int, ...]) -> str:
    """Return the name that Amaranth gives the port of a member: such as ``weights__valid``."""
    return "__".join(map(str, path))


def place(m: Module, name: str, kind: type[wiring.Component], config, platform, reset=None):
    """Add a ``kind(config)`` to ``m`` as ``name``; return the object that carries its ports.

    Parameters
    ----------
    m : Module
        Parent.
    name : str
        Name of the instance.
    kind : type of Component
        Constructed from the configuration alone.
    config : DcimConfig or AnalogConfig
    platform : ComponentLibrary or None
        As passed to the parent's ``elaborate``.
    reset : Value, optional
        One bit that resets the child as the domain's reset does.
    """
    if not isinstance(platform, ComponentLibrary):
        component = kind(config)
        m.submodules[name] = component if reset is None else ResetInserter(reset)(component)
        return component
    module, signature, clocked = platform.require(kind, config)
    interface = signature.create(path=(name,))
    ports: dict[str, Value] = {}
    for path, member, value in signature.flatten(interface):
        direction = "i" if member.flow == In else "o"
        ports[f"{direction}_{port_name(path)}"] = Value.cast(value)
    if clocked:
        together = ResetSignal() if reset is None else ResetSignal() | reset
        ports |= {"i_clk": ClockSignal(), "i_rst": together}
    m.submodules[name] = Instance(module, **ports)
    return interface
