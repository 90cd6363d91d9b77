"""The layer bench on a stand-in for the tile, which answers each activation beat with itself.

It obeys the tile's ports and nothing else, so what is tested is the bench: that it passes what is
right and names what is wrong.
"""

from pathlib import Path

import numpy as np
import pytest

from cimforge.spec.bits import bits_of, bytes_of
from cimforge.spec.commands import Opcode
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge_verif.batch.layers import batch_layers
from cimforge_verif.compare import Mismatch
from cimforge_verif.sim.layers import cycle_limit, simulate_layers
from cimforge_verif.vectors import VectorSet

BUILDS = Path(__file__).resolve().parents[1] / "build" / "sim"
CONFIG = DcimConfig(sub_macros=1, rows=2, cols=4, max_m=1, acc_bits=24, max_k=16,
                    act_port_bits=96, act_depth=4, acc_depth=4)
COMMANDS, WEIGHTS, BEATS = 3, 5, 40

# The first command word is a fault: 0 none, 1 lost beat, 2 surplus beat, 3 error, 4 stalls of the
# results are not counted.
VERILOG = f"""
module dcim_tile(clk, rst, clear, commands__payload, commands__valid, commands__ready,
    weights__payload, weights__valid, weights__ready, acts__payload, acts__valid, acts__ready,
    results__payload, results__valid, results__ready, error, error_position, busy,
    counters__cycles, counters__compute, counters__macs, counters__idle_slots,
    counters__load_weights, counters__load_acts, counters__stall);
  input clk, rst, clear;
  input [127:0] commands__payload;
  input [{CONFIG.weight_beat_bits - 1}:0] weights__payload;
  input [95:0] acts__payload;
  input commands__valid, weights__valid, acts__valid, results__ready;
  output commands__ready, weights__ready, acts__ready, results__valid, busy;
  output [96:0] results__payload;
  output [3:0] error;
  output [31:0] error_position, counters__cycles, counters__compute, counters__macs,
    counters__idle_slots, counters__load_weights, counters__load_acts, counters__stall;
  reg [31:0] cycles, weights, acts, stall;
  reg [7:0] fault;
  reg [95:0] data;
  reg full, started, again, holds, over;
  wire accept = commands__valid & commands__ready;
  wire ends = holds & commands__ready;
  wire waits = (started & commands__ready & ~commands__valid & ~ends)
    | (weights__ready & ~weights__valid) | (acts__ready & ~acts__valid)
    | (results__valid & ~results__ready & fault != 4);
  assign commands__ready = ~holds | (acts == {BEATS} & ~full);
  assign weights__ready = weights != {WEIGHTS};
  assign acts__ready = started & acts != {BEATS} & (~full | results__ready) & ~again;
  assign results__valid = full;
  assign results__payload = {{acts[0], data}};
  assign busy = full | holds;
  assign error = fault == 3 ? 4'd2 : 4'd0;
  assign error_position = 32'd1;
  assign counters__cycles = cycles;
  assign counters__load_weights = weights;
  assign counters__load_acts = acts;
  assign counters__stall = stall;
  assign counters__compute = 0;
  assign counters__macs = 0;
  assign counters__idle_slots = 0;
  always @(posedge clk)
    if (rst) begin
      cycles <= 0; weights <= 0; acts <= 0; stall <= 0;
      fault <= 0; full <= 0; started <= 0; again <= 0; data <= 0; holds <= 0; over <= 0;
    end else begin
      if (commands__valid & ~started) begin
        started <= 1; fault <= commands__payload[7:0];
      end
      if ((started | commands__valid) & acts != {BEATS}) begin
        cycles <= cycles + 1;
      end
      if (accept) holds <= commands__payload[3:0] == 6; else if (ends) holds <= 0;
      if (ends) over <= 1;
      if (((started & ~over) | accept) & waits) stall <= stall + 1;
      if (weights__valid & weights__ready) weights <= weights + 1;
      if (again & results__ready) again <= 0;
      else if (acts__ready | (full & results__ready)) begin
        full <= acts__valid & ~(fault == 1 & acts == 3);
        again <= acts__valid & fault == 2 & acts == {BEATS - 1};
      end
      if (acts__ready & acts__valid) begin data <= acts__payload; acts <= acts + 1; end
    end
endmodule
"""


def vectors(name="first", fault=0, seed=1, wrong=False, flag=None, **counters):
    rng = np.random.default_rng(seed)
    results = rng.integers(-(1 << 23), 1 << 23, (BEATS, 4))
    acts = bytes_of(bits_of(results, 24).reshape(BEATS, -1))
    last = np.arange(BEATS, dtype=np.uint8) % 2 ^ 1
    if wrong:
        results[7, 2] += 1
    if flag is not None:
        last[flag] ^= 1
    words = np.zeros((COMMANDS, 16), np.uint8)
    words[0, 0], words[-1, 0] = fault, Opcode.END
    weights = rng.integers(0, 1, (WEIGHTS, -(-CONFIG.weight_beat_bits // 8))).astype(np.uint8)
    expected = {"cycles": BEATS + 1, "load_weights": WEIGHTS, "load_acts": BEATS}
    return VectorSet(config=CONFIG, layer=name, words=words, weights=weights, acts=acts,
                     results=results, last=last, y=results,
                     x=results, counters=expected | counters)


@pytest.fixture(params=["cocotb", "batch"])
def simulate(request):
    """Run vector sets under cocotb, or through the library."""
    def start(*layers, **options):
        rtl = {"tile.v": VERILOG}
        if request.param == "cocotb":
            return simulate_layers(CONFIG, rtl, layers, root=BUILDS, timeout_s=90, **options)
        if (progress := options.pop("progress", None)) is not None:
            options["progress"] = lambda name: progress(name, BEATS, BEATS)
        return batch_layers(CONFIG, rtl, layers, top="dcim_tile", root=BUILDS, **options)
    return start


@pytest.mark.verilator
def test_layers_pass_and_report(simulate):
    seen = []
    both = vectors(), vectors("second", seed=2)
    results = simulate(*both, progress=lambda *at: seen.append(at))
    assert [result.name for result in results] == ["first", "second"]
    assert (results[1].results == vectors(seed=2).results).all()
    assert results[0].counters["cycles"] == BEATS + 1
    assert results[0].last.tolist() == [1, 0] * (BEATS // 2)
    assert ("second", BEATS, BEATS) in seen


@pytest.mark.verilator
@pytest.mark.parametrize("stalls", [0.3, {"results": 0.5}])
def test_layers_pass_with_stalls(simulate, stalls):
    result, = simulate(vectors(), stalls=stalls, seed=3)
    assert BEATS + 1 < result.counters["cycles"] <= BEATS + 1 + result.counters["stall"]


@pytest.mark.verilator
@pytest.mark.parametrize(("arguments", "message"), [
    (dict(wrong=True), "result beat 7 of 40: first difference at lane 2"),
    (dict(fault=1), "result beat 3 of 40: first difference"),
    (dict(fault=2), "surplus result beat 40 after all 40"),
    (dict(fault=3), "the tile reports MODE for command 1"),
    (dict(cycles=BEATS), "counter cycles: expected 40, got 41"),
    (dict(flag=9), "result beat 9 of 40: expected the flag last = 1, got 0"),
])
def test_what_is_wrong_is_named(simulate, arguments, message):
    with pytest.raises(Mismatch) as error:
        simulate(vectors("good"), vectors("bad", **arguments))
    assert "layer bad, cycle " in str(error.value)
    assert message in str(error.value)


@pytest.mark.verilator
def test_a_stall_that_is_not_counted_is_found(simulate):
    with pytest.raises(Mismatch, match=r"layer bad.*: counter stall: expected \d+, got \d+;"):
        simulate(vectors("good"), vectors("bad", fault=4), stalls=0.3, seed=3)


@pytest.mark.verilator
def test_a_result_that_never_comes_is_found(simulate):
    missing = vectors("short")
    extra = np.concatenate([missing.results, missing.results[:1]])
    short = VectorSet(**{name: getattr(missing, name) for name in (
        "config", "layer", "words", "weights", "acts", "y", "x", "counters")}, results=extra,
        last=np.append(missing.last, 1).astype(np.uint8))
    with pytest.raises(Mismatch, match=r"layer short.*not done after \d+ cycles[;:]"):
        simulate(short)


def test_vectors_of_another_configuration_are_refused():
    with pytest.raises(DataError, match="first: vectors made for configuration"):
        simulate_layers(CONFIG.replace(act_depth=8), {"tile.v": VERILOG}, [vectors()])


@pytest.mark.parametrize("stalls", [1.0, -0.5, {"weight": 0.1}])
def test_impossible_stalls_are_refused(stalls):
    with pytest.raises(DataError, match="stalls must be"):
        simulate_layers(CONFIG, {"tile.v": VERILOG}, [vectors()], stalls=stalls)


def test_the_limit_grows_with_the_stalls():
    assert cycle_limit(vectors(), 0.0) < cycle_limit(vectors(), 0.2) < cycle_limit(vectors(), 0.8)
