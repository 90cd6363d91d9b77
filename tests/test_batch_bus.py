"""The batch backend's masters and sink, on a stand-in for a tile on a bus that can misbehave.

It obeys the ports and nothing else: words of memory, and results that are the activations doubled.
"""

import numpy as np
import pytest
from hw_support import BASE

from cimforge.spec.errors import ConfigError, DataError, ToolError
from cimforge.spec.registers import Response, tdata_bytes
from cimforge_verif.batch.build import BUS, build_library
from cimforge_verif.batch.bus import BatchTransport
from cimforge_verif.compare import Mismatch
from cimforge_verif.driver import CHANNELS, BusError, TileDriver, complete
from cimforge_verif.sim.build import BUILDS

# A beat of activations is as wide as one of results here.
CONFIG = BASE.replace(act_port_bits=64)
SIZES = tdata_bytes(CONFIG)
SCRATCH, FAULT = 0x0C, 0x10
# What writing a number to FAULT does.
NONE, DROP_B, CHANGE_R, DROP_RESULT, SILENT, HALF_A_BEAT = range(6)


def _stream(name):
    bits = 8 * SIZES[name]
    return (f"  input [{bits - 1}:0] s_axis_{name}_tdata; input [{SIZES[name] - 1}:0] "
            f"s_axis_{name}_tkeep; input s_axis_{name}_tlast, s_axis_{name}_tvalid; "
            f"output s_axis_{name}_tready;\n")


def _ports():
    lite = ("awaddr awprot awvalid awready wdata wstrb wvalid wready bresp bvalid bready araddr "
            "arprot arvalid arready rdata rresp rvalid rready")
    names = ["clk", "rst", "irq", *(f"s_axil_{name}" for name in lite.split())]
    for stream in ("s_axis_commands", "s_axis_weights", "s_axis_acts", "m_axis_results"):
        names += [f"{stream}_{part}" for part in ("tdata", "tkeep", "tlast", "tvalid", "tready")]
    return ", ".join(names)


VERILOG = f"""
module dcim_soc({_ports()});
  input clk, rst; output irq;
  input [11:0] s_axil_awaddr, s_axil_araddr; input [2:0] s_axil_awprot, s_axil_arprot;
  input s_axil_awvalid, s_axil_wvalid, s_axil_bready, s_axil_arvalid, s_axil_rready;
  input [31:0] s_axil_wdata; input [3:0] s_axil_wstrb;
  output s_axil_awready, s_axil_wready, s_axil_arready;
  output reg s_axil_bvalid, s_axil_rvalid;
  output reg [1:0] s_axil_bresp, s_axil_rresp; output reg [31:0] s_axil_rdata;
{_stream("commands")}{_stream("weights")}{_stream("acts")}
  output [{8 * SIZES["results"] - 1}:0] m_axis_results_tdata;
  output [{SIZES["results"] - 1}:0] m_axis_results_tkeep;
  output m_axis_results_tlast, m_axis_results_tvalid; input m_axis_results_tready;
  reg [31:0] words [0:15]; reg have_aw, have_w; reg [11:0] address; reg [31:0] data;
  reg [3:0] strobe; reg [7:0] waited; integer i;
  reg full, last, keep; reg [63:0] beat;
  wire [7:0] fault = words[4][7:0];
  wire write = have_aw & have_w & ~s_axil_bvalid & fault != {SILENT};
  assign s_axil_awready = ~have_aw & ~rst, s_axil_wready = ~have_w & ~rst;
  assign s_axil_arready = ~s_axil_rvalid & fault != {SILENT} & ~rst;
  assign s_axis_commands_tready = 1, s_axis_weights_tready = 1;
  assign s_axis_acts_tready = ~full;
  assign irq = waited == 20;
  assign m_axis_results_tvalid = full & ~(fault == {DROP_RESULT} & waited[0]);
  assign m_axis_results_tdata = beat << 1, m_axis_results_tlast = last;
  assign m_axis_results_tkeep = {{keep, {{7{{keep & fault != {HALF_A_BEAT}}}}}}};
  always @(posedge clk) begin
    if (s_axil_awvalid & s_axil_awready) begin have_aw <= 1; address <= s_axil_awaddr; end
    if (s_axil_wvalid & s_axil_wready) begin
      have_w <= 1; data <= s_axil_wdata; strobe <= s_axil_wstrb;
    end
    if (write) begin
      have_aw <= 0; have_w <= 0; s_axil_bvalid <= 1; s_axil_bresp <= {{2{{|address[11:6]}}}};
      for (i = 0; i < 4; i = i + 1)
        if (strobe[i] & ~|address[11:6]) words[address[5:2]][8*i +: 8] <= data[8*i +: 8];
    end
    if (s_axil_bvalid & (s_axil_bready | fault == {DROP_B})) s_axil_bvalid <= 0;
    if (s_axil_arvalid & s_axil_arready) begin
      s_axil_rvalid <= 1; s_axil_rdata <= words[s_axil_araddr[5:2]];
      s_axil_rresp <= {{2{{|s_axil_araddr[11:6]}}}};
    end else if (s_axil_rvalid & s_axil_rready) s_axil_rvalid <= 0;
    else if (fault == {CHANGE_R}) s_axil_rdata <= s_axil_rdata + 1;
    if (s_axis_acts_tvalid & s_axis_acts_tready) begin
      full <= 1; beat <= s_axis_acts_tdata; last <= s_axis_acts_tlast; keep <= &s_axis_acts_tkeep;
    end else if (m_axis_results_tready) full <= 0;
    waited <= waited == 20 ? 0 : waited + 1;
    if (rst) begin
      have_aw <= 0; have_w <= 0; s_axil_bvalid <= 0; s_axil_rvalid <= 0; full <= 0; waited <= 0;
      for (i = 0; i < 16; i = i + 1) words[i] <= 0;
    end
  end
endmodule
"""
pytestmark = pytest.mark.verilator


@pytest.fixture
def bus():
    library = build_library({"dcim_soc.v": VERILOG}, "dcim_soc", kind=BUS, root=BUILDS)
    return BatchTransport(library, CONFIG, limit=200)


def packets_of(rng, count):
    """Return random packets of activations."""
    return [rng.integers(0, 128, (int(rng.integers(1, 9)), SIZES["acts"]), dtype=np.uint8)
            for _ in range(count)]


def doubled(packets):
    """Return what the stand-in makes of them."""
    return [packet.view("<u8").__lshift__(1).view(np.uint8) for packet in packets]


def check_equal(got, expected):
    """See the same packets in the same order."""
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_registers_and_packets(bus, stall):
    rng = np.random.default_rng(2)
    bus.stall(dict.fromkeys(CHANNELS, stall), seed=1)
    for word in range(3):
        complete(bus.write32(SCRATCH, 0x01020304 * word))
        assert complete(bus.read32(SCRATCH)) == 0x01020304 * word
    complete(bus.write_bytes(SCRATCH + 1, b"\xAA\xBB"))
    assert complete(bus.read32(SCRATCH)) == 0x02BBAA08
    packets = packets_of(rng, 20)
    for packet in packets:
        bus.send("acts", packet)
    before = bus.cycles
    bus.step(2000)
    assert bus.cycles == before + 2000
    check_equal(bus.received(), doubled(packets))
    assert bus.received() == []
    assert bus.accesses == 8


def test_a_channel_that_waits_takes_longer(bus):
    def cycles(**stalls):
        bus.stall(stalls, seed=3)
        before = bus.cycles
        for _ in range(20):
            complete(bus.write32(SCRATCH, 1))
            complete(bus.read32(SCRATCH))
        return bus.cycles - before

    least = cycles()
    for name in ("aw", "w", "b", "ar", "r"):
        assert cycles(**{name: 0.8}) > least + 40, name
    assert cycles() == least
    packet = np.ones((50, SIZES["acts"]), np.uint8)
    for stalls in ({"acts": 0.9}, {"results": 0.9}):
        bus.stall(stalls, seed=3)
        bus.send("acts", packet)
        bus.step(110)
        assert not bus.received(), stalls
        bus.stall({}, seed=3)
        bus.step(110)
        check_equal(bus.received(), doubled([packet]))


def test_beats_without_data(bus):
    """A null beat ends a packet, and is no data."""
    beats = np.ones((3, SIZES["acts"]), np.uint8)
    bus.send("acts", beats, keep=np.array([[True], [True], [False]]).repeat(SIZES["acts"], axis=1))
    bus.step(20)
    check_equal(bus.received(), doubled([beats[:2]]))


def test_the_interrupt(bus):
    assert not complete(bus.interrupt(10))
    assert complete(bus.interrupt(100))
    assert bus.cycles < 30


@pytest.mark.parametrize(("fault", "message"), [
    (CHANGE_R, r"reading 0x00c, cycle \d+: channel r did not keep what it offered"),
    (DROP_B, r"writing 0x00c, cycle \d+: channel b did not keep what it offered"),
    (DROP_RESULT, r"waiting, cycle \d+: channel results did not keep what it offered"),
    (HALF_A_BEAT, r"waiting, cycle \d+: channel results .* or sent half a beat")])
def test_a_tile_that_breaks_the_protocol_is_noticed(bus, fault, message):
    def use():
        bus.send("acts", np.ones((20, SIZES["acts"]), np.uint8))
        if fault in (DROP_RESULT, HALF_A_BEAT):
            bus.step(200)
        for word in range(20):
            if fault == DROP_B:
                complete(bus.write32(SCRATCH, word))
            complete(bus.read32(SCRATCH))

    complete(bus.write32(FAULT, fault))
    bus.stall({} if fault == HALF_A_BEAT else {"b": 0.7, "r": 0.7, "results": 0.7}, seed=2)
    with pytest.raises(Mismatch, match=message):
        use()
    bus.reset()
    assert complete(bus.read32(SCRATCH)) == 0
    assert complete(bus.interrupt(100))


def test_what_never_answers_is_one_error_and_a_reset_helps(bus):
    complete(bus.write32(FAULT, SILENT))
    with pytest.raises(ToolError, match="writing 0x00c was not answered within 200 cycles"):
        complete(bus.write32(SCRATCH, 1))
    bus.reset()
    complete(bus.write32(FAULT, SILENT))
    with pytest.raises(ToolError, match="reading 0x00c was not answered within 200 cycles"):
        complete(bus.read32(SCRATCH))
    for _ in range(2):  # a late answer must not pass for that of another access
        with pytest.raises(ToolError, match="reading 0x00c was never answered, and nothing can be"):
            complete(bus.write32(SCRATCH, 1))
    bus.send("acts", np.ones((1, SIZES["acts"]), np.uint8))
    bus.reset()
    bus.step(20)
    assert bus.received() == [], "a reset forgets what was queued"
    complete(bus.write32(SCRATCH, 5))
    assert complete(bus.read32(SCRATCH)) == 5


def test_what_is_given_wrong_is_one_error(bus):
    with pytest.raises(BusError, match="reading 0x040 was answered with DECERR") as caught:
        complete(bus.read32(0x40))
    assert caught.value.response is Response.DECERR
    with pytest.raises(DataError, match="addresses have 12 bits, 0x1000 has more"):
        complete(bus.read32(0x1000))
    with pytest.raises(DataError, match="3 bytes from 0x00e on are not within a word"):
        complete(bus.write_bytes(0x0E, b"abc"))
    with pytest.raises(DataError, match=r"acts must be uint8 of shape \(1 or more, 8\), not uint8 "
                                        r"of shape \(0, 8\)"):
        bus.send("acts", np.zeros((0, 8), np.uint8))
    with pytest.raises(DataError, match="packets are sent on commands, weights, acts, not on 'x'"):
        bus.send("x", np.zeros((1, 8), np.uint8))
    with pytest.raises(DataError, match=r"keep must be of shape \(1, 8\), not \(1, 4\)"):
        bus.send("acts", np.zeros((1, 8), np.uint8), np.ones((1, 4)))
    with pytest.raises(DataError, match="registers have 32 bits, 0x10000000000 does not fit"):
        complete(bus.write32(SCRATCH, 1 << 40))
    with pytest.raises(DataError, match="cycles must be an integer of at least 0, not -1"):
        complete(bus.interrupt(-1))
    for stalls in ({"acts": 1.0}, {"bs": 0.1}):
        with pytest.raises(ConfigError, match="a stall is a channel of aw, w, b, ar, r, commands"):
            bus.stall(stalls, 1)
    with pytest.raises(DataError, match="no tile here: ID is 0x00000000"):
        complete(TileDriver(bus, CONFIG).open())


def test_a_library_of_something_else_is_one_error(tmp_path):
    (tmp_path / "bus.so").write_bytes(b"no library")
    with pytest.raises(ToolError, match=r"bus\.so: cannot be loaded"):
        BatchTransport(tmp_path / "bus.so", CONFIG)
