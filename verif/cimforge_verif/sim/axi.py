"""The driver's transport in a cocotb bench: cocotbext-axi's masters and sink."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from cocotb.triggers import RisingEdge
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from cimforge.spec.registers import STREAMS
from cimforge_verif.driver import BusError

__all__ = ["CocotbTransport"]


class CocotbTransport:
    """Masters on every port of the wrapper.

    Parameters
    ----------
    dut : handle of the top
        A tile on a bus, with ports ``clk`` and ``rst``.

    Attributes
    ----------
    axil : AxiLiteMaster
    sources : dict of str to AxiStreamSource
    sink : AxiStreamSink
    accesses : int
        Register accesses so far.
    """

    def __init__(self, dut: Any):
        self.dut, self.accesses = dut, 0
        self.axil = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        self.sources = {name: AxiStreamSource(
            AxiStreamBus.from_prefix(dut, f"s_axis_{name}"), dut.clk, dut.rst) for name in STREAMS}
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis_results"), dut.clk, dut.rst)
        for model in self._models().values():  # they write a line for every transfer
            model.log.setLevel(logging.WARNING)
        for model in (self.axil.write_if, self.axil.read_if):
            model.log.setLevel(logging.WARNING)

    def _models(self) -> dict[str, Any]:
        write, read = self.axil.write_if, self.axil.read_if
        return {"aw": write.aw_channel, "w": write.w_channel, "b": write.b_channel,
                "ar": read.ar_channel, "r": read.r_channel, **self.sources, "results": self.sink}

    def stall(self, pattern: Callable[[str], Iterator[bool] | None]) -> None:
        """Let every channel wait where its pattern, made from its name, is true; None: never."""
        for name, model in self._models().items():
            model.set_pause_generator(pattern(name))
            model.pause = False

    async def read32(self, address: int) -> int:
        """Read a word."""
        self.accesses += 1
        answer = await self.axil.read(address, 4)
        if answer.resp:
            raise BusError("reading", address, answer.resp)
        return int.from_bytes(answer.data, "little")

    async def write32(self, address: int, value: int) -> None:
        """Write a word."""
        await self.write_bytes(address, value.to_bytes(4, "little"))

    async def write_bytes(self, address: int, data: bytes) -> None:
        """Write some bytes of a word: only their strobes are set."""
        self.accesses += 1
        answer = await self.axil.write(address, data)
        if answer.resp:
            raise BusError("writing", address, answer.resp)

    def send(self, stream: str, beats: np.ndarray) -> None:
        """Queue a packet."""
        self.sources[stream].send_nowait(AxiStreamFrame(np.ascontiguousarray(beats).tobytes()))

    def received(self) -> list[np.ndarray]:
        """Return the result packets that ended since the last call, null bytes removed."""
        width = self.sink.byte_lanes
        packets = []
        while not self.sink.empty():
            data = bytes(self.sink.recv_nowait(compact=True).tdata)
            packets.append(np.frombuffer(data, dtype=np.uint8).reshape(-1, width))
        return packets

    async def interrupt(self, cycles: int) -> bool:
        """Wait for ``irq``."""
        edge = RisingEdge(self.dut.clk)
        for _ in range(cycles):
            await edge
            if self.dut.irq.value == 1:
                return True
        return False
