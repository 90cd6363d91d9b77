"""Build and run on Verilator: every end a simulation can come to, and the bus models."""

import contextlib
import os
import time
from pathlib import Path

import numpy as np
import pytest

from cimforge.spec.errors import DataError, ToolError
from cimforge_verif.compare import Mismatch
from cimforge_verif.sim.build import build
from cimforge_verif.sim.run import SimulationError, run
from cimforge_verif.sim.throughput import throughput

BUILDS = Path(__file__).resolve().parents[1] / "build" / "sim"

# One register stage between two streams, and ways to break it.
VERILOG = """
module stage(clk, rst, fault, a__payload, a__valid, a__ready, z__payload, z__valid, z__ready);
  input clk, rst;
  input [1:0] fault;
  input [99:0] a__payload;
  input a__valid, z__ready;
  output a__ready, z__valid;
  output [99:0] z__payload;
  reg [99:0] data;
  reg full, twice;
  assign a__ready = (~full | z__ready) & ~twice;
  assign z__valid = full & ~(fault == 1 & twice);
  assign z__payload = data;
  always @(posedge clk)
    if (rst) begin full <= 0; twice <= 0; data <= 0; end
    else begin
      if ((fault == 1 | fault == 2) & full & ~z__ready) twice <= ~twice;
      if (fault == 2 & full & ~z__ready) data <= data + 1;
      if (a__ready) full <= a__valid;
      if (a__ready & a__valid) data <= fault == 3 & a__payload[3:0] == 7 ? 100'd0 : a__payload;
    end
endmodule
"""

BENCH = """
import os
import time
import cocotb
import numpy as np
from cocotb.triggers import Timer
from cimforge_verif.sim.bfm import (
    Bench, Scoreboard, Stream, StreamDriver, StreamMonitor, StreamSink, beats_of, ints_of)
from cimforge_verif.sim.stalls import bursts, random_stalls

@cocotb.test()
async def good(dut):
    await Timer(1, "ns")

@cocotb.test()
async def bad(dut):
    assert len(os.environ["WHERE"]) == 2, "one is not two"

@cocotb.test()
async def endless(dut):
    while True:
        await Timer(1, "ns")

@cocotb.test()
async def asleep(dut):
    time.sleep(1000)

async def move(dut, fault, count=200, surplus=0, rate=0.3):
    source, target = Stream(dut, "a"), Stream(dut, "z")
    board = Scoreboard("word")
    driver = StreamDriver(source, random_stalls(cocotb.RANDOM_SEED, rate))
    bench = Bench(dut, [source, target], [driver, StreamMonitor(target, board.observe),
                                          StreamSink(target, bursts(2, 3 if rate else 0))])
    dut.fault.value = fault
    await bench.reset()
    words = [i << 60 | i for i in range(count)]
    for word in words:
        board.expect(word)
    driver.send(beats_of(words, 100))
    driver.send(words[:surplus])
    await bench.run(lambda: board.matched == count, 20 * count)
    await bench.idle(20)
    board.close(count)
    return bench

@cocotb.test()
async def moves(dut):
    await move(dut, 0)
    assert list(ints_of(beats_of([3, 1 << 99], 100))) == [3, 1 << 99]

@cocotb.test()
async def back_to_back(dut):
    bench = await move(dut, 0, rate=0)
    assert bench.cycle == 200 + 2 + 20, bench.cycle  # offered after edge 0, one stage, watching

@cocotb.test()
async def drops_valid(dut):
    await move(dut, 1)

@cocotb.test()
async def changes_payload(dut):
    await move(dut, 2)

@cocotb.test()
async def wrong_word(dut):
    await move(dut, 3)

@cocotb.test()
async def too_many(dut):
    await move(dut, 0, surplus=2)
"""


@pytest.fixture(scope="module")
def stage():
    return build({"stage.v": VERILOG}, "stage", root=BUILDS)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    (tmp_path / "stage_bench.py").write_text(BENCH)
    (tmp_path / "broken_bench.py").write_text("import nothing_of_this_name")
    (tmp_path / "empty_bench.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    return "stage_bench"


@pytest.mark.verilator
def test_a_run_names_its_tests_and_its_seed(stage, bench):
    result = run(stage, bench, test_filter=r"\.(good|moves|back_to_back)$", seed=7, timeout_s=60)
    names = [test.name for test in result.tests]
    assert names == ["stage_bench.good", "stage_bench.moves", "stage_bench.back_to_back"]
    assert result.seed == 7
    assert "Seeding Python random module with 7" in result.log.read_text()


@pytest.mark.verilator
@pytest.mark.parametrize(("test", "message"), [
    ("bad", "one is not two"),
    ("drops_valid", "z: valid was dropped before beat"),
    ("changes_payload", "changed while it waited"),
    ("wrong_word", "word 7: got 0, expected"),
    ("too_many", "word 200 was not expected"),
])
def test_a_failing_test_is_named(stage, bench, test, message):
    with pytest.raises(Mismatch) as error:
        run(stage, bench, test_filter=rf"\.{test}$", timeout_s=60, env={"WHERE": "x"})
    text = str(error.value)
    assert f"stage_bench.{test}: " in text
    assert message in text
    assert "seed" in text
    assert "sim.log" in text


@pytest.mark.verilator
def test_a_bench_with_a_mistake_of_its_own_is_no_mismatch(stage, bench):
    with pytest.raises(SimulationError, match="WHERE"):
        run(stage, bench, test_filter=r"\.bad$", timeout_s=60)  # a KeyError


@pytest.mark.verilator
@pytest.mark.parametrize("test", ["endless", "asleep"])
def test_a_run_without_an_end_is_killed(stage, bench, test):
    with pytest.raises(SimulationError, match="did not end within 4 s"):
        run(stage, bench, test_filter=rf"\.{test}$", timeout_s=4)
    deadline = time.monotonic() + 5  # killed, but the kernel may still be at it
    while alive(stage / "stage"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(program):
    """Return the processes that run a program."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().split(b"\0")[0] == str(program).encode():
                found.append(path)
    return found


@pytest.mark.verilator
@pytest.mark.parametrize(("module", "message"), [
    ("broken_bench", "nothing_of_this_name"), ("empty_bench", "ran no test")])
def test_a_bench_without_tests_is_an_error(stage, bench, module, message):
    with pytest.raises(SimulationError, match=message):
        run(stage, module, timeout_s=20)


@pytest.mark.verilator
def test_a_filter_that_fits_nothing_is_an_error(stage, bench):
    with pytest.raises(SimulationError, match="ran no test"):
        run(stage, bench, test_filter="nowhere", timeout_s=20)


@pytest.mark.verilator
def test_verilog_that_does_not_build_shows_why(tmp_path):
    broken = VERILOG.replace("assign z__payload = data;", "assign z__payload = dota;")
    with pytest.raises(ToolError, match=r"(?s)building stage failed:.*dota.*build\.log"):
        build({"stage.v": broken}, "stage", root=tmp_path)


@pytest.mark.verilator
def test_throughput_counts_what_moved(stage):
    beats = np.full((4, 13), 5, dtype=np.uint8)
    measured = throughput(stage, {"a": beats}, ["z"], cycles=500, warm_up=10,
                          constants={"fault": 0}, timeout_s=60)
    assert measured.transfers == {"a": 500, "z": 500}
    assert measured.hz > 0


def test_an_unfinished_build_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a finished build"):
        run(tmp_path, "stage_bench")


def test_environment_of_this_process_is_untouched():
    assert "VERILATOR_ROOT" not in os.environ
