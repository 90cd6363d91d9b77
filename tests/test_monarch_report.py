"""The committed report: its bars, its page, and the figures that texts quote from it."""

import json
import re
from pathlib import Path

import pytest

from cimforge.cli import main
from cimforge.monarch import run as monarch_run
from cimforge.monarch.records import EXAMPLE, bars
from cimforge.report.monarch_page import monarch_page
from cimforge.spec.analog.config import lossless_bits

ROOT = Path(__file__).resolve().parents[1]
REPORTS = ROOT / "reports"


@pytest.fixture(scope="module")
def report():
    return json.loads((REPORTS / "monarch.json").read_text())


def _ours(report, figure, model="BERT-large", **where):
    """Return the one figure of a model."""
    found = [r["ours"] for r in report["records"] if (r["figure"], r["model"]) == (figure, model)
             and all(r.get(key) == value for key, value in where.items())]
    assert len(found) == 1
    return found[0]


def test_every_bar_is_met_and_made_of_the_records(report):
    assert bars(report["records"]) == report["bars"]
    assert [bar["bar"] for bar in report["bars"] if not bar["met"]] == []
    assert {bar["bar"]: bar["wanted"] for bar in report["bars"]
            if bar["bar"].startswith(("arrays", "useful", "FLOPs"))} == {
        "arrays vs linear, dense, padded": 0.89, "arrays vs sparse, dense, padded": 0.79,
        "useful utilization, dense, trimmed": 0.95, "FLOPs, BERT-large, padded": 5.78}
    assert {bar["wanted"] for bar in report["bars"]
            if bar["bar"].startswith(("latency", "energy"))} == {2}


def test_the_page_is_that_of_the_records(report):
    assert (REPORTS / "monarch.md").read_text() == monarch_page(report)


def test_figures_that_texts_quote(report):
    page = (REPORTS / "monarch.md").read_text()
    cost = (ROOT / "docs" / "monarch-cost.md").read_text()
    point = {"adcs": 8, "t_settle": 7, "normalization": "per_array", "latency": "interval",
             "rule": "paper"}
    sparse, dense = (_ours(report, "latency_vs_linear", EXAMPLE, mapping=name, **point)
                     for name in ("sparse", "dense"))
    assert f"give {sparse:.3f} and {dense:.3f}, the paper's 1.59 and 1.73" in page
    assert f"sparse {sparse:.3f} and dense {dense:.3f} times" in cost
    arrays = {name: _ours(report, "arrays", mapping=name, blocks="padded")
              for name in ("linear", "sparse", "dense")}
    assert (f"would save {1 - arrays['dense'] / 0.788 / arrays['linear']:.1%} and "
            f"{1 - arrays['dense'] / 0.788 / arrays['sparse']:.1%}.".replace("%", " %")) in page
    assert f"saved: {1 - arrays['dense'] / arrays['linear']:.1%}".replace("%", " %") in cost
    needs = ", ".join(f"{lossless_bits(rows, 1)} for {rows}" for rows in (64, 32, 16))
    assert f"{lossless_bits(256, 1)} for 256 cells, {needs}." in page
    flops = _ours(report, "flops_vs_dense", mapping="monarch", blocks="padded")
    assert f"{flops:.2f}x fewer (the paper" in (ROOT / "docs" / "monarch.md").read_text()


def test_hybrid_is_what_the_page_says_it_is(report):
    """Scatter in time, dense_shared in energy, but for the example; dashes where it says so."""
    found = {}
    for r in report["records"]:
        if r["figure"] in ("latency_vs_linear", "energy_vs_linear") and r["model"] != EXAMPLE:
            key = tuple(str(r.get(name)) for name in (
                "figure", "model", "adcs", "t_settle", "normalization", "blocks", "rule", "latency",
                "technology"))
            found.setdefault(key, {})[r["mapping"]] = r["ours"]
    for key, ours in found.items():
        missing = "paper_rows8" in key or ("energy_vs_linear" in key and "padded" in key)
        assert ("hybrid" not in ours) == missing, key
        if not missing:
            same = "scatter" if key[0] == "latency_vs_linear" else "dense_shared"
            assert ours["hybrid"] == ours[same], key
    arrays = [_ours(report, "arrays", mapping=name, blocks="trimmed")
              for name in ("sparse", "dense_shared")]
    assert round(arrays[0] / arrays[1]) == 7


@pytest.mark.parametrize(("figure", "code"), [(None, 0), ("useful", 1), ("energy_vs_linear", 1)])
def test_a_missed_bar_is_exit_code_1(report, figure, code, tmp_path, monkeypatch, capsys):
    worse = [dict(r, ours=r["ours"] / 4) if r["figure"] == figure and r["mapping"] == "dense"
             else r for r in report["records"]]
    monkeypatch.setattr(monarch_run, "model_records", lambda name, *_: [
        r for r in worse if r["model"] == name])
    monkeypatch.setattr(monarch_run, "example_records", lambda: [
        r for r in worse if r["model"] == EXAMPLE])
    monkeypatch.setattr(monarch_run, "pictures", lambda *_: [])
    monkeypatch.setattr("sys.argv", ["cimforge", "paper-monarch", "--out", str(tmp_path)])
    assert main() == code
    out = capsys.readouterr().out
    assert bool(re.search("^MISSED", out, re.MULTILINE)) == bool(code)
    assert ("**no**" in (tmp_path / "monarch.md").read_text()) == bool(code)
