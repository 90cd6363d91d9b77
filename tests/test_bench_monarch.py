"""The D2S bench: its records add up, and its page is made of them alone."""

import json

import pytest
from sw_checkpoints import save_tiny, token_rows

import cimforge as cf
from cimforge import bench_monarch
from cimforge_sw import sentences


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny("bert", tmp_path_factory.mktemp("bert"))


@pytest.fixture
def report(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sentences, "calibration_sentences", lambda: token_rows(1, rows=60))
    monkeypatch.setattr(sentences, "held_out_sentences", lambda: token_rows(2))
    page = bench_monarch.run_bench_monarch(tmp_path / "out", str(folder), ["4x4 r2", "4x4 r8"])
    report = json.loads((tmp_path / "out" / "monarch_fidelity.json").read_text())
    assert page == (tmp_path / "out" / "monarch_fidelity.md").read_text()
    assert page == bench_monarch.monarch_page(report)
    return report, page


def test_records_and_page(report, folder):
    report, page = report
    assert (report["format"], report["command"]) == (1, "python -m cimforge.bench_monarch")
    assert len(report["records"]) == 2 * 13
    totals = [record for record in report["records"] if record["layer"] == "*"]
    some, every = totals
    assert (some["rule"], every["rule"]) == ("4x4 r2", "4x4 r8")
    assert some["cosine_recovered"] > some["cosine"]
    assert every["output_error"] < 1e-5  # rank 8 of 8 x 8 slices is every matrix
    assert every["cosine"] == pytest.approx(1, abs=1e-5)
    layers = report["records"][:12]
    assert some["params"] == sum(layer["params"] for layer in layers)
    assert some["compression"] == some["dense_params"] / some["params"] == pytest.approx(
        some["speedup"])
    assert some["output_error"] == pytest.approx(sum(r["output_error"] for r in layers) / 12)
    model = cf.load_model(folder)
    again = cf.d2s(model, cf.MonarchPlan("4x4 r2"), token_rows(1, rows=60))
    assert [record["output_error"] for record in layers] == [
        layer.errors.output for layer in again.layers.values()]
    assert f"| 4x4 r2 | {some['compression']:.2f}x fewer" in page
    assert "| `encoder.layer.*.attention.self.query` | 32 x 32 |" in page
    assert page.count("| `encoder.layer.*.output.dense` | 32 x 48 |") == 2
