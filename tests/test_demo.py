"""The demo without its simulation: its gates, and the report others rely on."""

import json
from types import SimpleNamespace

import pytest

import cimforge as cf
from cimforge import demo
from cimforge.report.demo_page import demo_page
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge_verif import replay as replay_module
from cimforge_verif.compare import Mismatch


@pytest.fixture(scope="module", autouse=True)
def worked_once():
    """What comes before the gates is the same in every demo of one tile: once is enough."""
    def once(function):
        known = {}

        def remembered(*arguments, **options):
            key = next((a.digest for a in arguments if isinstance(a, DcimConfig)), "")
            if key not in known:
                known[key] = function(*arguments, **options)
            return known[key]
        return remembered
    with pytest.MonkeyPatch.context() as patch:
        for place, name in ((cf, "calibrate"), (cf, "compile"), (demo, "_software"),
                            (demo, "_inputs")):
            patch.setattr(place, name, once(getattr(place, name)))
        yield


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


def test_a_golden_model_that_differs_stops_the_demo(tmp_path, monkeypatch):
    """The report says replay = golden = torch: the blocks' own replay must be asked."""
    honest = replay_module.golden_replay

    def wrong(*arguments):
        result = honest(*arguments)
        result.y[0, 1] -= 1
        return result
    monkeypatch.setattr(replay_module, "golden_replay", wrong)
    with pytest.raises(Mismatch, match="query: replay against golden: first difference at token 0, "
                                       "output 1"):
        demo.run_demo("default", tmp_path, rtl=False)
    assert not (tmp_path / "report.json").exists()


def test_weights_of_four_bits_are_quantized_for_the_tile(tmp_path, monkeypatch):
    config = tmp_path / "narrow.yaml"
    config.write_text("base: default\nweight_bits: 4\nact_bits: 4\nact_slice: 4\n")
    monkeypatch.setattr(cf, "cosine_to", lambda *_: 1.0)

    def seen(quantized, *_, **__):
        largest = max(abs(layer.weight).max() for layer in quantized.layers.values())
        raise DataError(f"{quantized.weight_bits} and {quantized.act_bits} bits, up to {largest}")
    monkeypatch.setattr(cf, "compile", seen)
    with pytest.raises(DataError, match="4 and 4 bits, up to 7"):
        demo.run_demo(str(config), tmp_path / "demo", rtl=False)


def test_a_tile_that_the_layers_do_not_fit_is_refused_before_calibration(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("too late")
    monkeypatch.setattr(cf, "calibrate", refuse)  # the tiny tile's own: nothing is remembered
    with pytest.raises(DataError, match=r"output\.dense: the configuration takes at most max_k = "
                                        r"1024 inputs, not 1536"):
        demo.run_demo("tiny", tmp_path / "demo", rtl=False)
    assert not (tmp_path / "demo").exists()


def test_cycles_that_were_not_predicted_are_a_mismatch():
    result = SimpleNamespace(name="fc", counters={"cycles": 12}, simulated=20, seconds=2)
    assert demo._counted(result, 12)["simulated_cycles_per_second"] == 10
    with pytest.raises(Mismatch, match="fc: 12 cycles counted, 11 predicted"):
        demo._counted(result, 11)
