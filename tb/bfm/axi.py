"""What every AXI output of a tile on a bus must do, watched in every cycle."""

from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

__all__ = ["watch_outputs"]

# (valid, ready, what must not change while it waits)
_OUTPUTS = (
    ("s_axil_bvalid", "s_axil_bready", ("s_axil_bresp",)),
    ("s_axil_rvalid", "s_axil_rready", ("s_axil_rdata", "s_axil_rresp")),
    ("m_axis_results_tvalid", "m_axis_results_tready",
     ("m_axis_results_tdata", "m_axis_results_tkeep", "m_axis_results_tlast")),
)


async def _watch(dut: Any, valid: Any, ready: Any, payload: list[Any]) -> None:
    edge, held = RisingEdge(dut.clk), None
    while True:
        await edge
        if dut.rst.value == 1:
            held = None
            continue
        if valid.value == 0:
            assert held is None, f"{valid._name} was dropped before the transfer"
            continue
        now = [int(port.value) for port in payload]
        assert held is None or held == now, f"{valid._name}: {held} became {now} while it waited"
        held = None if ready.value == 1 else now


def watch_outputs(dut: Any) -> None:
    """Start a watch on every output channel; a violation fails the test."""
    for valid, ready, payload in _OUTPUTS:
        cocotb.start_soon(_watch(dut, getattr(dut, valid), getattr(dut, ready),
                                 [getattr(dut, name) for name in payload]))
