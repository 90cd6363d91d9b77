"""The FLOW bench: both sides run on small matrices, its gates notice, its report adds up."""

import json

import pytest

from cimforge import bench_flow
from cimforge.spec.errors import DataError

SIDE = {"statistics": 1.0, "masks": 1.0, "total": 2.0, "kept": 8, "threads": 2, "peak": 32}


def test_both_sides_run_and_keep_half():
    both = bench_flow.compare_flow({"tall": (96, 64), "wide": (8, 512)})
    for side in both.values():
        assert side["kept"] == (96 * 64 + 8 * 512) // 2
        assert side["total"] == pytest.approx(side["statistics"] + side["masks"])
        assert min(side["statistics"], side["masks"], side["peak"]) > 0


def test_a_side_that_fails_is_an_error():
    with pytest.raises(DataError, match="the ours side of the FLOW bench failed") as caught:
        bench_flow.compare_flow({"bad": (4, -4)})
    assert "Traceback" in str(caught.value)


def test_sides_that_keep_different_numbers_are_an_error(monkeypatch):
    monkeypatch.setattr(bench_flow, "_run_process",
                        lambda side, *_: {**SIDE, "kept": 8 if side == "ours" else 9})
    with pytest.raises(DataError, match="keeps 8 weights, the published procedure 9"):
        bench_flow.compare_flow()


def test_the_faster_run_of_each_side_counts(monkeypatch, tmp_path):
    def run(side, threads, _):
        seconds = {("ours", 0): 2.0, ("ours", 1): 3.0, ("published", 0): 40.0,
                   ("published", 1): 30.0}
        return {**SIDE, "total": seconds[side, threads]}

    monkeypatch.setattr(bench_flow, "_run_process", run)
    text = bench_flow.run_bench_flow(tmp_path, {"only": (2, 4)})
    assert "15.0x" in text
    records = {r["what"]: r for r in
               json.loads((tmp_path / "bench_flow.json").read_text())["records"]}
    assert records["total"]["ratio"] == 15.0
    assert records["peak memory"]["of_largest_layer"] == 1.0
