"""What the AXI channels of a tile on a bus do, watched in every cycle, apart from the masters."""

from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

from cimforge.spec.registers import STREAMS

__all__ = ["Channel", "watch"]

#: Ports that must not change while a channel that the design drives waits.
_KEPT = {"b": ("bresp",), "r": ("rdata", "rresp"), "results": ("tdata", "tkeep", "tlast")}


class Channel:
    """A channel, and what happened on it so far.

    Attributes
    ----------
    transfers, packets : int
        Of beats; of beats with TLAST.
    nulls : int
        Transfers without data.
    waits : int
        Cycles in which it was offered and not taken.
    gaps : int
        Cycles without an offer, inside a packet.
    inside : bool
        A packet has begun and not ended.
    """

    def __init__(self, dut: Any, name: str, start: str, parts: str):
        self.name = name
        self.valid, self.ready = (getattr(dut, f"{start}{parts}{end}") for end in (
            "valid", "ready"))
        self.last, self.keep = ((getattr(dut, f"{start}{end}") for end in ("tlast", "tkeep"))
                                if parts == "t" else (None, None))
        self._kept = [getattr(dut, start + port) for port in _KEPT.get(name, ())]
        self.transfers = self.packets = self.nulls = self.waits = self.gaps = 0
        self.forget()

    def __repr__(self) -> str:
        return (f"{self.transfers} transfers, {self.packets} packets, {self.nulls} nulls, "
                f"{self.waits} waits, {self.gaps} gaps")

    def forget(self) -> None:
        """Begin anew, after a reset."""
        self._held: list[int] | None = None
        self.inside = False

    def edge(self) -> None:
        """Look at this cycle; what is offered must stay as it is until it is taken."""
        if not self.valid.value:
            assert self._held is None, f"{self.valid._name} was dropped before the transfer"
            self.gaps += self.inside
            return
        now = [int(port.value) for port in self._kept]
        assert self._held in (None, now), f"{self.valid._name}: {self._held} became {now}"
        if not self.ready.value:
            self._held = now if self._kept else None
            self.waits += 1
            return
        self._held = None
        self.transfers += 1
        if self.last is not None:
            ends = bool(self.last.value)
            self.inside = not ends
            self.packets += ends
            self.nulls += self.keep.value == 0


async def _follow(dut: Any, channels: list[Channel]) -> None:
    edge = RisingEdge(dut.clk)
    while True:
        await edge
        in_reset = bool(dut.rst.value)
        for channel in channels:
            if in_reset:
                channel.forget()
            else:
                channel.edge()


def watch(dut: Any) -> dict[str, Channel]:
    """Start to watch all channels; what is wrong fails the test. Returns them by name."""
    channels = [Channel(dut, name, "s_axil_", name) for name in ("aw", "w", "b", "ar", "r")]
    channels += [Channel(dut, name, f"s_axis_{name}_", "t") for name in STREAMS]
    channels.append(Channel(dut, "results", "m_axis_results_", "t"))
    cocotb.start_soon(_follow(dut, channels))
    return {channel.name: channel for channel in channels}
