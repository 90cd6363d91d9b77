"""Models by their shapes, the report's records and page, and the pictures."""

import dataclasses
import json
import re
import xml.etree.ElementTree as ET

import pytest

from cimforge.monarch import records as monarch_records
from cimforge.monarch.pictures import pictures
from cimforge.monarch.records import bars, example_records, model_records
from cimforge.monarch.study import PAPER_POINT, Study, rule_of
from cimforge.report.analog_plots import draw_gantt, draw_mapping
from cimforge.report.monarch_page import monarch_page
from cimforge.spec.analog.timing import Span, Timeline
from cimforge.spec.errors import ConfigError
from cimforge_sw.analog.drives import RULES
from cimforge_sw.analog.factors import Matrix
from cimforge_sw.analog.mappings import dense, sparse
from cimforge_sw.analog.models import WORKLOADS, workload


@pytest.fixture(scope="module")
def small():
    """Every model's records, as if it had one layer of each kind."""
    seen, found = {}, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monarch_records, "workload", _one_layer)
        for name in WORKLOADS:
            found += model_records(name, seen, lambda _: None)
    assert len(seen) == 4  # BERT and GPT-2 have the same shapes
    return found + example_records()


def _one_layer(name, padded):
    load = workload(name, padded)
    first = tuple(m for m in load.matrices if re.match(r"(0|e0|d0)\.", m.name))
    return dataclasses.replace(load, matrices=first)


def test_shapes_of_the_models():
    for name, arrays in (("BERT-large", 24 * 192), ("GPT-2-medium", 24 * 192),
                         ("BART-large", 12 * 448)):
        load = workload(name, padded=True)
        assert sum(-(-m.outputs // 256) * -(-m.inputs // 256) for m in load.matrices) == arrays
        assert len({matrix.name for matrix in load.matrices}) == len(load.matrices)
    cross = {m.name: m.shared for m in workload("BART-large", padded=False).matrices}
    assert (cross["d0.cross.q"], cross["d0.cross.k"], cross["d0.cross.v"]) == (
        "", "d0.cross", "d0.cross")
    assert cross["d0.self.q"] == cross["d0.self.k"] == "d0.self"


def test_flops_of_bert_large():
    """12.6 M products of linear layers and 1.05 M of attention, over 1.3 M and 1.05 M."""
    assert workload("BERT-large", padded=True).flops_ratio == pytest.approx(5.78, abs=0.005)
    assert workload("BERT-large", padded=False).flops_ratio > 6.9


def test_unknown_model():
    with pytest.raises(ConfigError, match=r"model must be one of BERT-large, .*, not 'GPT-3'"):
        workload("GPT-3", padded=True)


def test_example_has_the_paper_s_latencies(small):
    found = {r["mapping"]: (r["paper"], round(r["ours"], 3)) for r in small
             if r["model"] == "example" and r["paper"]}
    assert found == {"sparse": (1.59, 1.575), "dense": (1.73, 1.730)}


def test_every_record_has_the_keys_that_others_rely_on(small):
    keys = {"figure", "model", "mapping", "adcs", "normalization", "paper", "ours", "unit",
            "assumptions"}
    assert all(keys <= record.keys() for record in small)
    figures = {record["figure"] for record in small}
    assert {"arrays_vs_linear", "arrays_vs_sparse", "utilization", "latency_vs_linear",
            "energy_vs_linear", "flops_vs_dense"} <= figures
    identity = [tuple(sorted((key, str(value)) for key, value in record.items()
                             if key not in ("ours", "cycles", "linear_cycles", "uj_per_token")))
                for record in small]
    assert len(set(identity)) == len(identity)
    assert {r["paper"] for r in small} == {None, 0.87, 0.73, 0.788, 5.7, 1.59, 1.73, 1.74}
    assert json.loads(json.dumps(small, allow_nan=False)) == small


def test_a_bar_that_is_missed_says_so(small):
    found = {bar["bar"]: bar for bar in bars(small)}
    assert found["FLOPs, BERT-large, padded"]["met"] is False  # of one layer, with 24 of attention
    assert found["useful utilization, dense, trimmed"]["met"]
    hybrid = "sweep: hybrid over the best other, everywhere"
    assert found[hybrid]["met"] is False  # sparse, on more arrays, is before it
    better = [dict(r, ours=r["ours"] * 99) if r["mapping"] == "hybrid" else r for r in small]
    assert {bar["bar"]: bar for bar in bars(better)}[hybrid]["met"]
    slower = [dict(r, ours=r["ours"] / 9) if r["figure"] == "latency_vs_linear" else r
              for r in small]
    missed = [bar["bar"] for bar in bars(slower) if not bar["met"]]
    assert sum("latency vs linear" in bar for bar in missed) == 4


def test_page_is_made_of_the_records(small):
    page = monarch_page({"records": small, "bars": bars(small), "command": "make paper-monarch",
                         "commit": "abc"})
    example = next(r for r in small if r["model"] == "example" and r["paper"] == 1.73)
    assert f"1.73 (figure 7) | - | - | - | {example['ours']:.3f} |" in page
    assert "| **no** |" in page
    assert "nan" not in page
    for name in re.findall(r"\]\(img/([\w-]+\.svg)\)", page):
        assert name.startswith("monarch-")


def test_pictures_of_the_page(small, tmp_path):
    made = pictures(tmp_path, small)
    page = monarch_page({"records": small, "bars": [], "command": "", "commit": ""})
    assert {path.name for path in made} == set(re.findall(r"\(img/([\w-]+\.svg)\)", page))
    for path in made:
        assert ET.parse(path).getroot().tag.endswith("svg")


def test_picture_of_a_mapping(tmp_path):
    squares = [Matrix(name, 64, 64, 8, 8) for name in "ab"]
    text = draw_mapping(tmp_path / "m.svg", dense(squares, 64), title="both").read_text()
    assert "both: 1 arrays" not in text
    assert "both: 1 array, 50.0% of the cells in blocks" in text
    text = draw_mapping(tmp_path / "m.svg", sparse(squares, 64), most=3).read_text()
    assert "sparse: 4 arrays, the first 3" in text


def test_gantt(tmp_path):
    found = Timeline(end=40, spans=[Span(0, None, None, (1, 4)),
                                    Span(1, (5, 8), (10, 25), (26, 29), array=2)])
    text = draw_gantt(tmp_path / "g.svg", found, title="here", group="in drive".split().__getitem__
                      ).read_text()
    for label in ("here", "array 2", "load", "retire", "drive", "cycles"):
        assert f">{label}<" in text


def test_rules_and_saturation():
    study = Study([Matrix(str(n), 1024, 1024, 32, 32) for n in range(8)])
    assert rule_of("lossless") is RULES["lossless"]
    work = study.work["dense"]
    assert study.saturation(work, "lossless") == 0
    assert study.saturation(work, "paper_rows8") == pytest.approx(0.25 ** 8)
    assert 0.4 < study.saturation(work, "paper") < 0.9
    assert study.hybrid("interval", PAPER_POINT, "paper") is study.hybrid(
        "interval", PAPER_POINT, "paper")
