"""The demo without its simulation: its gates, and the report others rely on."""

import json

import pytest

from cimforge import demo
from cimforge.report.demo_page import demo_page
from cimforge_verif import replay as replay_module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    assert demo.run_demo("default", out, rtl=False) == out / "report.txt"
    return out


def test_report(folder):
    report = json.loads((folder / "report.json").read_text())
    assert report["format"] == 1
    layers = {record["layer"]: record for record in report["records"]}
    score = layers.pop("*")
    assert len(layers) == 36
    assert {record["pattern"] for record in layers.values()} == {
        "1:1", "1:2", "2:4", "4:8", "5:8", "3:8", "1:4"}
    for record in layers.values():
        assert record["bit_exact"] is True
        assert record["cycles_counted"] is None
        assert record["slot_use"] >= record["slot_use_best_group"] - 0.01
        assert 0 < record["busy"] < record["busy_resident"] <= 1
    assert score["dense"] == pytest.approx(1)
    assert 0.7 < score["quantized"] < score["pruned"] < 1
    assert (folder / "report.txt").read_text() == demo_page(report)


def test_a_wrong_result_stops_the_demo(tmp_path, monkeypatch):
    """The gate between replay and torch can fail: one accumulator off by one."""
    from cimforge_verif import vectors
    honest = replay_module.replay

    def wrong(config, layer, x, **options):
        result = honest(config, layer, x, **options)
        result.y[3, 5] += 1
        return result
    monkeypatch.setattr(vectors, "replay", wrong)
    with pytest.raises(AssertionError, match=r"encoder\.layer\.0\.attention\.self\.query: replay "
                                             r"against torch"):
        demo.run_demo("default", tmp_path, rtl=False)
    assert not (tmp_path / "report.json").exists()
