"""The accuracy table: cells are measured once, verdicts tell better from worse, pages show both."""

import json
from pathlib import Path

import pytest

from cimforge.accuracy import run as accuracy_run
from cimforge.accuracy.cells import MODELS, PATTERNS, SEEDS, TARGETS, Cell, cells, sharing
from cimforge.accuracy.records import rows as table_rows
from cimforge.accuracy.shape import plan_shape
from cimforge.accuracy.subject import Subject
from cimforge.report.accuracy_page import accuracy_page, accuracy_plots, verdicts
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.zoo import training_record

_ROOT = Path(__file__).parents[1]
#: What other programs read.
_KEYS = {"model", "method", "pattern_set", "sparsity_target", "sparsity", "seed", "metric",
         "higher_is_better", "value", "quantized"}
_PLANS = {"flow": {"a": "1:8", "b": "7:8", "c": "1:1"},
          "flow-x": {"a": "4:8", "b": "3:8", "c": "2:8"}}


class _Subject:
    """Stands for a model: scores follow from the cell, and every measurement is counted."""

    measured: list[Cell] = []  # noqa: RUF012 (shared on purpose)

    def __init__(self, name, seed):
        self.name, self.seed, self.digest = name, seed, f"{name}-{seed}"

    def measure(self, cell, _folder, progress):
        progress(1, 1)
        self.measured.append(cell)
        better = {"flow-x": 0.05, "owl": 0.01, "dense": 0.3, "flow-x+update": 0.06,
                  "uniform+update": 0.02, "2:8/share2": -0.1, "4:8/tile": 0.1}.get(
                      cell.method, 0.0)
        sign = -1 if cell.model.startswith("stdlib-") else 1
        score = 0.8 - cell.target / 4 + better + 0.001 * cell.seed
        return {"sparsity": cell.target, "score": sign * score + (2 if sign < 0 else 0),
                "score_int8": score - 0.01, "seconds_select": 0.0, "seconds_score": 0.0,
                **plan_shape({name: NmPattern.parse(pattern) for name, pattern in
                              _PLANS.get(cell.method, {"a": "4:8"}).items()},
                             [0.1, 0.2, 0.3][:len(_PLANS.get(cell.method, "a"))],
                             [0.5, 0.5, 0.5][:len(_PLANS.get(cell.method, "a"))])}


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.setattr(accuracy_run, "Subject", _Subject)
    _Subject.measured = []
    return _Subject


def test_the_table_is_what_the_issue_asks_for():
    table = list(cells())
    assert len(set(table)) == len(table)
    for model in MODELS:
        for seed in SEEDS:
            mine = {(cell.method, cell.target) for cell in table
                    if (cell.model, cell.seed) == (model, seed)}
            assert ("dense", 0.0) in mine
            assert set(PATTERNS.items()) <= mine
            assert {(method, target) for method in ("owl", "flow", "flow-line", "flow-x")
                    for target in TARGETS} <= mine
            shared = {f"{pattern}/{who}" for pattern in ("4:8", "2:8")
                      for who in ("share2", "share4", "tile")} if seed == SEEDS[0] else set()
            assert {method for method, _ in mine if sharing(method) != "free"} == shared
    assert TARGETS == (0.5, 0.6, 0.625, 0.7, 0.75)
    assert len(SEEDS) == 3


def test_cells_are_measured_once_and_an_interrupted_run_goes_on(measured, tmp_path, monkeypatch):
    cell_folder, models, seeds = tmp_path / "cells", ("all-MiniLM-L6-v2",), (0, 1)
    wanted = list(cells(models, seeds))
    real = _Subject.measure

    def interrupted(self, *arguments):
        if len(self.measured) == 7:
            raise KeyboardInterrupt
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(_Subject, "measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            accuracy_run.run_accuracy(tmp_path, cell_folder, models, seeds)
    assert not (tmp_path / "accuracy.md").exists()
    page = accuracy_run.run_accuracy(tmp_path, cell_folder, models, seeds)
    assert measured.measured == wanted
    first = page.read_text()
    accuracy_run.run_accuracy(tmp_path, cell_folder, models, seeds)
    assert measured.measured == wanted
    assert page.read_text() == first
    records = json.loads((tmp_path / "accuracy.json").read_text())["records"]
    assert len(records) == 2 * len(wanted)
    assert _KEYS <= records[0].keys()
    assert all(not isinstance(value, (dict, list)) for value in records[0].values())


def test_a_report_is_kept_and_added_to(measured, tmp_path):
    encoder, llama = ("all-MiniLM-L6-v2",), ("stdlib-llama",)
    accuracy_run.run_accuracy(tmp_path, tmp_path / "cells", encoder, (0,))
    accuracy_run.run_accuracy(tmp_path, tmp_path / "elsewhere", llama, (0,))
    accuracy_run.run_accuracy(tmp_path, tmp_path / "nowhere", encoder, (0,))  # from the report
    assert measured.measured == [*cells(encoder, (0,)), *cells(llama, (0,))]
    records = json.loads((tmp_path / "accuracy.json").read_text())["records"]
    assert {record["model"] for record in records} == {*encoder, *llama}
    page = (tmp_path / "accuracy.md").read_text()
    assert f"{len(records) // 2} of {len(list(cells()))} cells measured" in page
    (tmp_path / "accuracy.json").write_text("[]")
    with pytest.raises(DataError, match="not a report of the accuracy table"):
        accuracy_run.run_accuracy(tmp_path, tmp_path / "cells", encoder, (0,))


def test_models_and_seeds_that_the_table_does_not_have_are_refused_at_once(measured, tmp_path):
    for models, seeds, message in (
            (("gpt2",), (0,), "model must be one of stdlib-llama, .*, not gpt2"),
            (MODELS, (7,), "seed must be one of 0, 1, 2, not 7")):
        with pytest.raises(ConfigError, match=message):
            accuracy_run.run_accuracy(tmp_path, tmp_path / "cells", models, seeds)
    (tmp_path / "file").write_text("")
    for out, folder in (("file/below", "cells"), ("reports", "file/below")):
        with pytest.raises(DataError, match=r"file/below: cannot be written: .* is a file"):
            accuracy_run.run_accuracy(tmp_path / out, tmp_path / folder, MODELS, (0,))
    assert not measured.measured


def test_a_verdict_is_clear_only_against_whatever_is_best_with_each_seed(measured, tmp_path):
    report = _records(measured, tmp_path)
    for record in report["records"]:
        if (record["model"], record["method"], record["sparsity_target"], record["seed"]) == (
                "all-MiniLM-L6-v2", "flow", 0.5, 1):
            record["value"] += 0.2  # better than FLOW-X with one seed, not on average
        if (record["model"], record["method"], record["sparsity_target"], record["seed"]) == (
                "all-MiniLM-L6-v2", "flow", 0.5, 0):
            record["value"] -= 0.5
    rows = {(row["model"], row["target"]): row for row in verdicts(table_rows(report["records"]))}
    row = rows["all-MiniLM-L6-v2", 0.5]
    assert row["margin"] > 0
    assert not row["clear"]


def test_cells_of_another_model_are_measured_again_and_damaged_ones_are_named(measured, tmp_path):
    cell = Cell("all-MiniLM-L6-v2", "2:4", 0.5, 0)
    record = cell.save(tmp_path, "one", measured("m", 0).measure(cell, None, lambda *_: None))
    assert cell.load(tmp_path, "one") == record
    assert cell.load(tmp_path, "other") is None
    path = cell.path(tmp_path)
    for text in ("{", "[]", "[" * 100_000, json.dumps(record)[:-50]):
        path.write_text(text)
        with pytest.raises(DataError, match=r"2of4-0\.5-0\.json: not a result .*remove it"):
            cell.load(tmp_path, "one")
    for key in record:
        path.write_text(json.dumps({k: v for k, v in record.items() if k != key}))
        with pytest.raises(DataError, match=f"no '{key}'"):
            cell.load(tmp_path, "one")
    for changes in ({"seed": 1}, {"method": "flow"}, {"score": "1.0"}, {"score_int8": None},
                    {"plan": 3}, {"sparsity": float("nan")}, {"least": True}):
        path.write_text(json.dumps(record | changes))
        (key, value), = changes.items()
        with pytest.raises(DataError, match=f"not a result of this cell .*: {key} is {value!r}"):
            cell.load(tmp_path, "one")


def test_a_damaged_cell_ends_a_run_before_its_report_is_written(measured, tmp_path):
    """The last of all cells, before the first is measured."""
    path = list(cells(("all-MiniLM-L6-v2",), (0,)))[-1].path(tmp_path / "cells")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"digest": "all-MiniLM-L6-v2-0", "score": 1, "score_int8": 1}))
    with pytest.raises(DataError, match=r"-0\.json: .*no 'model'.*remove it"):
        accuracy_run.run_accuracy(tmp_path, tmp_path / "cells", ("all-MiniLM-L6-v2",), (0,))
    assert not measured.measured


def test_a_report_with_a_score_that_is_no_number_is_refused(measured, tmp_path):
    accuracy_run.run_accuracy(tmp_path, tmp_path / "cells", ("all-MiniLM-L6-v2",), (0,))
    report = json.loads((tmp_path / "accuracy.json").read_text())
    report["records"][0]["value"] = "0.5"
    (tmp_path / "accuracy.json").write_text(json.dumps(report))
    with pytest.raises(DataError, match="not a report of the accuracy table"):
        accuracy_run.run_accuracy(tmp_path, tmp_path / "cells", ("all-MiniLM-L6-v2",), (0,))


def _records(measured, tmp_path, **changes):
    accuracy_run.run_accuracy(tmp_path, tmp_path / "cells", MODELS, (0, 1))
    report = json.loads((tmp_path / "accuracy.json").read_text())
    for record in report["records"]:
        record["value"] += changes.get(record["method"], 0.0)
    return report


def test_verdicts_know_which_way_is_better(measured, tmp_path):
    rows = verdicts(table_rows(_records(measured, tmp_path)["records"]))
    assert len(rows) == len(MODELS) * len(TARGETS)
    for row in rows:
        assert row["best_method"] == "owl"
        assert row["margin"] == pytest.approx(0.04)
        assert row["clear"]
        assert row["spread"] == pytest.approx(0.0005)


def test_a_verdict_can_go_against_flow_x(measured, tmp_path):
    report = _records(measured, tmp_path, owl=0.1)
    rows = {(row["model"], row["target"]): row for row in verdicts(table_rows(report["records"]))}
    lost = rows["all-MiniLM-L6-v2", 0.5]
    assert (lost["margin"], lost["clear"]) == (pytest.approx(-0.06), False)
    assert rows["stdlib-llama", 0.5]["margin"] > 0  # there, 0.1 more is worse
    page = accuracy_page(report)
    assert "| all-MiniLM-L6-v2 | 50.0% | 0.7255 | 0.7855 | OWL-style, N:8 | -0.0600 |" in page
    assert "no |" in page


def test_the_page_says_why_selections_differ(measured, tmp_path):
    page = accuracy_page(_records(measured, tmp_path))
    assert "| stdlib-mamba | FLOW, published candidates | 0.125 | 1.000 | 0.386 | +1.00 | +0.00 |" \
        in page
    assert "| stdlib-mamba | FLOW-X | 0.250 | 0.500 | 0.102 | -1.00 | +0.00 |" in page


def test_the_page_says_what_its_text_repeats(measured, tmp_path):
    """The dense scores that the table starts from are those of the training records."""
    report = _records(measured, tmp_path)
    page = accuracy_page(report)
    assert set(report["held_out"]) == {"stdlib-llama", "stdlib-mamba"}
    for name in report["held_out"]:
        record = training_record(name)
        spans = record["held_out"]["spans"]
        assert 0.2 < spans["repeated"] < 0.4
        assert spans["without_repeated"] > record["bits_per_byte"]["test"]
        assert (f"{spans['repeated']:.1%} of its bytes are in files that repeat training files"
                in page)
        assert f"dense is {spans['without_repeated']:.4f} instead of" in page
        shipped = json.loads((_ROOT / "reports" / "accuracy.json").read_text())["records"]
        dense = [row["value"] for row in shipped if (row["model"], row["method"]) == (name, "dense")
                 and not row["quantized"]]
        assert dense == pytest.approx([spans["bits_per_byte"]] * len(dense), rel=1e-6)
        assert dense
    del report["held_out"]  # a report of before
    assert "repeat training files" not in accuracy_page(report)


def test_the_page_says_which_plans_prune_more_than_was_asked_for(measured, tmp_path):
    report = _records(measured, tmp_path)
    assert "at most 0.1 percentage points more." in accuracy_page(report)
    for record in report["records"]:
        if (record["model"], record["method"], record["sparsity_target"]) == (
                "all-MiniLM-L6-v2", "uniform", 0.6):
            record["sparsity"] = 0.6042
    page = accuracy_page(report)
    assert page.count("force higher: uniform N:8 or best mix 60.42% for 60.0%.") == 1


def test_updated_weights_have_verdicts_of_their_own(measured, tmp_path):
    page = accuracy_page(_records(measured, tmp_path))
    assert "| all-MiniLM-L6-v2 | 50.0% | 0.7350 | 0.6950 | uniform N:8 or best mix | +0.0400 |" \
        in page.partition("With SparseGPT's update, FLOW-X choosing for it")[2]


def test_the_page_says_what_shared_positions_cost(measured, tmp_path):
    """Only there: no other table has the cells, and a report without them has no such section."""
    report = _records(measured, tmp_path)
    before, _, section = accuracy_page(report).partition("## Positions shared by outputs")
    assert "| all-MiniLM-L6-v2 | 2:8 | 0.6125 | 0.5125 | 0.6125 | 0.6125 |" in section
    assert "| stdlib-llama | 4:8 | 1.3250 | 1.3250 | 1.3250 | 1.2250 |" in section
    assert ("The loss against dense, both in INT8, is with 2 outputs 1.0 to 1.2 times, with 4 "
            "outputs 1.0 to 1.0 times and with pairs in 32 outputs 0.8 to 1.0 times that with "
            "free positions.") in section
    report["records"] = [record for record in report["records"] if "/" not in record["method"]]
    assert len(report["records"]) == 2 * (len(list(cells(MODELS, (0, 1)))) - 18)
    assert accuracy_page(report).splitlines()[3:] == before.rstrip().splitlines()[3:]


def test_pictures_show_every_method(measured, tmp_path):
    report = _records(measured, tmp_path)
    paths = accuracy_plots(report, tmp_path / "again")
    assert [path.name for path in paths] == [f"accuracy-{model}.svg" for model in MODELS]
    text = paths[2].read_text()
    for title in ("FLOW-X", "OWL-style", "uniform", "published", "cosine"):
        assert title in text
    assert text == accuracy_plots(report, tmp_path / "img")[2].read_text()


def test_a_subject_measures_what_its_plan_says():
    subject = Subject("all-MiniLM-L6-v2", 0)
    result = subject.measure(Cell(subject.name, "2:4", 0.5, 0), None, lambda *_: None)
    assert result["sparsity"] == pytest.approx(0.5)
    assert set(result["plan"].split()) == {"2:4"}
    assert (result["least"], result["most"], result["rank_presence"]) == (0.5, 0.5, 0)
    assert 0.7 < result["score_int8"] < result["score"] < 0.85
    two, tile = (subject.measure(Cell(subject.name, f"4:8/{who}", 0.5, 0), None, lambda *_: None)
                 for who in ("share2", "tile"))
    assert two["sparsity"] == tile["sparsity"] == pytest.approx(0.5)
    assert two["plan"] == tile["plan"] == result["plan"].replace("2:4", "4:8")
    assert 0.5 < tile["score"] < two["score"] < 0.8
    dense = subject.measure(Cell(subject.name, "dense", 0.0, 0), None, lambda *_: None)
    assert dense["score"] == pytest.approx(1, abs=1e-5)
    assert Subject("all-MiniLM-L6-v2", 1).texts != subject.texts
    assert not set(subject.texts[0]) & set(subject.held_out)
