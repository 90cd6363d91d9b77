"""The ladder of simulators: each one runs, and a harness with other results has no speed."""

import dataclasses

import numpy as np
import pytest

import cimforge as cf
from cimforge.bench_estimate import estimate_rows
from cimforge.bench_speed import HARNESS, amaranth_hz, busy_vectors, draw_speed, pairs, speed_rows
from cimforge_hw.emit import emit_tile
from cimforge_verif.compare import Mismatch

TINY = cf.load_config("tiny").replace(act_depth=64)  # 384 inputs fit


def test_amaranth_s_simulator_runs():
    assert amaranth_hz(TINY, busy_vectors(TINY, 1), cycles=20) > 1


def test_the_rate_of_estimates_has_rows():
    units = [unit for _, _, value, unit, *_ in estimate_rows(16) if value > 0]
    assert units == ["layers/s", "s", "layers/s"]


@pytest.mark.verilator
def test_every_simulator_has_a_row(tmp_path):
    rows = speed_rows("tiny", TINY, tokens=1, cycles=100, turns=1, repeat=1)
    speeds = {what: (value, ratio) for what, _, value, unit, _, ratio, _ in rows
              if unit == "cycles/s"}
    assert list(speeds) == ["Amaranth's simulator", "cocotb, defaults", "cocotb, lean", HARNESS,
                            "batch backend"]
    assert min(value for value, _ in speeds.values()) > 1
    assert speeds["batch backend"][1] > 0
    assert {what for what, _, _, unit, *_ in rows if unit == "MACs/s"} == set(speeds)
    assert draw_speed(tmp_path / "speed.svg", rows).read_text().count("batch backend") == 1


@pytest.mark.verilator
def test_a_harness_with_other_results_is_not_measured():
    made = busy_vectors(TINY, 1)
    other = dataclasses.replace(made, weights=np.ascontiguousarray(made.weights[::-1]))
    rtl = {"dcim_tile.v": emit_tile(TINY).verilog}
    with pytest.raises(Mismatch):
        list(pairs(rtl, other, turns=1, repeat=1))
