"""The ADC study: cells are measured once, a page made of records, and what is measured."""

import json
from functools import cached_property
from pathlib import Path

import pytest
import torch
from sw_checkpoints import save_tiny, token_rows

import cimforge as cf
from cimforge.adc import run as adc_run
from cimforge.adc import subject as adc_subject
from cimforge.adc.cells import BITS, MAPPINGS, Cell, cells
from cimforge.adc.subject import AdcSubject
from cimforge.report.adc_page import adc_page, least_bits
from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.models import load_model

ENCODER, LLAMA = ("all-MiniLM-L6-v2",), ("stdlib-llama",)


class _Stub:
    """Stands for a model: clipping needs 7 bits, dropping low bits 5; measurements are counted."""

    measured: list[Cell] = []  # noqa: RUF012 (shared on purpose)

    def __init__(self, name):
        self.name, self.digest = name, f"digest-of-{name}"

    def measure(self, cell):
        self.measured.append(cell)
        enough = {"clip": 7, "shift": 5}.get(cell.rule, 0)
        lost = 0.1 * max(0, enough - cell.bits)
        value = 1.1 + lost if self.name.startswith("stdlib-") else 0.9 - lost
        return {"value": value, "texts": 3, "lossless_bits": 9, "seconds": 0.1}


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.setattr(adc_run, "AdcSubject", _Stub)
    monkeypatch.setattr(adc_run, "_fine_tuning", lambda: {
        "model": "m", "rule": "sqrt", "steps": 5, "compression": 4.0, "dense": 1.0, "d2s": 3.0,
        "recovered": 2.0, "fine_tuned": 1.5})
    _Stub.measured = []
    return _Stub.measured


def test_every_model_has_both_rules_at_all_resolutions():
    table = list(cells())
    assert len(set(table)) == len(table) == len(MAPPINGS) * (2 + 2 * len(BITS))
    assert set(MAPPINGS.values()) == {"linear", "monarch"}
    assert {3, 8} <= set(BITS)


def test_cells_are_measured_once_and_an_interrupted_run_goes_on(measured, tmp_path, monkeypatch):
    folder, wanted, real = tmp_path / "cells", list(cells(ENCODER)), _Stub.measure

    def interrupted(self, cell):
        if len(measured) == 5:
            raise KeyboardInterrupt
        return real(self, cell)

    with monkeypatch.context() as patch:
        patch.setattr(_Stub, "measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            adc_run.run_adc(tmp_path, folder, ENCODER)
    assert not (tmp_path / "adc.md").exists()
    page = adc_run.run_adc(tmp_path, folder, ENCODER).read_text()
    assert measured == wanted
    adc_run.run_adc(tmp_path, tmp_path / "elsewhere", LLAMA)  # the report keeps the encoder
    assert measured == [*wanted, *cells(LLAMA)]
    report = json.loads((tmp_path / "adc.json").read_text())
    assert [record["model"] for record in report["records"]] == 14 * [*ENCODER] + 14 * [*LLAMA]
    assert (tmp_path / "adc.md").read_text() == adc_page(report) != page
    assert all((tmp_path / "img" / f"adc-{name}.svg").stat().st_size > 5000
               for name in (*ENCODER, *LLAMA))


def test_another_model_or_text_is_measured_again(measured, tmp_path, monkeypatch):
    adc_run.run_adc(tmp_path, tmp_path / "cells", ENCODER)
    monkeypatch.setattr(_Stub, "__init__", lambda self, name: self.__dict__.update(
        name=name, digest="another"))
    adc_run.run_adc(tmp_path, tmp_path / "cells", ENCODER)
    assert len(measured) == 28


def test_the_page_says_how_many_bits_are_enough(measured, tmp_path):
    page = adc_run.run_adc(tmp_path, tmp_path / "cells").read_text()
    assert page.count("`clip` from 7 bits on, `shift` from 5 bits on") == 3
    assert "| 4 | 0.6000 | 0.8000 |" in page
    assert "| 4 | 1.4000 | 1.2000 |" in page
    assert "| 1.0000 | 3.0000 | 2.0000 | 1.5000 |" in page
    assert "42 of 42 cells" in page


def test_enough_bits_are_enough_from_there_on_up():
    def rows(values, higher):
        found = {("clip", bits): value for bits, value in values.items()} | {("lossless", 0): 1.0}
        return {key: {"value": value, "higher_is_better": higher} for key, value in found.items()}

    assert least_bits(rows({8: 0.995, 7: 0.98, 6: 1.0}, True), "clip") == 8
    assert least_bits(rows({8: 0.9, 7: 1.0}, True), "clip") is None
    assert least_bits(rows({8: 1.0, 7: 1.009, 6: 1.02}, False), "clip") == 7
    assert least_bits(rows({8: 1.0, 7: 1.1}, False), "clip", tolerance=0.2) == 7


def test_what_the_study_refuses(measured, tmp_path):
    with pytest.raises(ConfigError, match=r"model must be one of all-MiniLM.*, not gpt2"):
        adc_run.run_adc(tmp_path, tmp_path / "cells", ("gpt2",))
    adc_run.run_adc(tmp_path, tmp_path / "cells", ENCODER)
    (tmp_path / "adc.json").write_text("[]")
    with pytest.raises(DataError, match="not a report of the ADC study"):
        adc_run.run_adc(tmp_path, tmp_path / "cells", ENCODER)
    (tmp_path / "adc.json").unlink()
    path = Cell(*ENCODER, "clip", 4).path(tmp_path / "cells")
    for text in ("{", path.with_name("clip-5.json").read_text()):
        path.write_text(text)
        with pytest.raises(DataError, match=r"clip-4.json: not a result of the ADC study"):
            adc_run.run_adc(tmp_path, tmp_path / "cells", ENCODER)


@pytest.fixture(params=["linear", "monarch"])
def subject(request, tmp_path, monkeypatch):
    """Return the subject of a tiny Llama, dense or converted; its score is how near logits are."""
    model = load_model(save_tiny("llama", tmp_path))
    if request.param == "monarch":
        model = cf.d2s(model, cf.MonarchPlan("4x4 r2")).model

    class Tiny:
        digest, texts, held_out = "digest", (token_rows(3, 12), 1), [1, 2]

        def __init__(self, name, seed):
            assert seed == 0
            self.model = model

        @cached_property
        def stats(self):
            return cf.calibrate(model, token_rows(3, 12))

        def score(self, other):
            with torch.inference_mode():
                ours, theirs = (each.module(input_ids=torch.tensor(token_rows(2, 12)[:1])).logits
                                for each in (model, other))
            return float(1 - (ours - theirs).norm() / ours.norm())

    monkeypatch.setattr(adc_subject, "_Part", Tiny)
    monkeypatch.setitem(MAPPINGS, "tiny", request.param)
    return AdcSubject("tiny")


def test_a_subject_loses_nothing_with_enough_bits_and_much_with_few(subject):
    scores = {(rule, bits): subject.measure(Cell("tiny", rule, bits))["value"]
              for rule, bits in (("float", 0), ("lossless", 0), ("clip", 8), ("shift", 8),
                                 ("clip", 2), ("shift", 2))}
    assert scores["float", 0] == 1
    assert 0.9 < scores["lossless", 0] < 1
    assert scores["clip", 8] == scores["shift", 8] == scores["lossless", 0]
    assert max(scores["clip", 2], scores["shift", 2]) < scores["lossless", 0] - 0.05
    # Llama's longest columns: 56 inputs of the dense layer, 14 of a block of R.
    assert subject.lossless_bits == {"linear": 6, "monarch": 4}[MAPPINGS["tiny"]]


def test_the_report_that_ships_is_whole_and_sane():
    report = json.loads((Path(__file__).parents[1] / "reports/adc.json").read_text())
    found = {(r["model"], r["rule"], r["adc_bits"]): r for r in report["records"]}
    assert set(found) == {(cell.model, cell.rule, cell.bits) for cell in cells()}
    for name in MAPPINGS:
        exact = found[name, "lossless", 0]
        sign = 1 if exact["higher_is_better"] else -1
        worst = min(sign * found[name, rule, 3]["value"] for rule in ("clip", "shift"))
        assert worst < sign * exact["value"] - 0.02 * abs(exact["value"])
        for rule in ("clip", "shift"):
            if exact["lossless_bits"] <= 8:
                assert found[name, rule, 8]["value"] == exact["value"]
    tuned = report["fine_tuning"]
    assert tuned["dense"] < tuned["fine_tuned"] < tuned["recovered"] < tuned["d2s"]
