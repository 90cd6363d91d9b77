"""Estimates of models, the committed tables, and the command."""

import json
import math
from pathlib import Path

import pytest

import cimforge as cf
from cimforge.cli import main
from cimforge.cycles.bars import bars
from cimforge.cycles.model import estimate_shapes
from cimforge.cycles.plans import DONORS, accuracy_rows, mixed, transferred
from cimforge.report.estimate_page import estimate_page
from cimforge.spec.errors import DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.plan import Plan
from cimforge_sw.shapes import load_shapes

REPORTS = Path(__file__).resolve().parents[1] / "reports"


@pytest.fixture(scope="module")
def report():
    return json.loads((REPORTS / "estimate.json").read_text())


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["cimforge", "estimate", *arguments])
    return main()


def test_page_and_bars_are_made_of_the_records(report):
    assert bars(report["records"]) == report["bars"]
    assert estimate_page(report) == (REPORTS / "estimate.md").read_text()


def test_every_record_has_the_keys_of_silicon_json(report):
    for record in report["records"]:
        assert {"figure", "model", "design", "sparsity", "paper", "ours", "unit",
                "assumptions"} <= record.keys()
        assert math.isfinite(record["ours"])
    assert {r["figure"] for r in report["records"]} == {
        "latency_vs_best_fixed", "latency_vs_best_75_class", "latency_vs_dense", "slot_use",
        "latency_at_equal_accuracy"}


def test_records_are_what_the_models_cost(report):
    config = cf.load_config("default")
    for record in report["records"]:
        if (record["figure"], record["model"], record["plan"] if "plan" in record else "") == (
                "slot_use", "GPT-2-medium", "uniform 2:8"):
            cost = estimate_shapes(load_shapes("GPT-2-medium"), Plan.uniform("2:8"), config,
                                   record["tokens"])
            assert record["ours"] == cost.slot_use()
            assert record["sparsity"] == cost.sparsity == 0.75


def test_a_model_is_the_sum_of_its_layers():
    shapes, config = load_shapes("stdlib-mamba"), cf.load_config("default")
    plan = Plan("4:8", {"*x_proj": "2:8"})
    cost = estimate_shapes(shapes, plan, config, 16)
    assert len(cost.layers) == len(shapes.layers) == 40
    assert {str(layer.pattern) for layer in cost.layers if "x_proj" in layer.layer.name} == {"2:8"}
    assert cost.cycles == sum(layer.cycles for layer in cost.layers) > cost.resident_cycles
    assert cost.macs == 16 * sum(layer.kept for layer in cost.layers)
    assert cost.slot_use() <= cost.slot_use(best=True) + 1e-9 <= 1 + 1e-9
    assert math.isnan(cost.slot_use(least_inputs=4096))


def test_plans_near_seventy_percent():
    for name in DONORS:
        shapes = load_shapes(name)
        for patterns in mixed(shapes).values():
            kept = sum(layer.parameters * patterns[layer.name].density for layer in shapes.layers)
            assert kept / shapes.parameters == pytest.approx(0.3, abs=0.015)


def test_transfer_is_by_role_and_depth():
    donor, large = load_shapes("stdlib-llama"), load_shapes("Llama-2-7B")
    levels = [NmPattern(1 + i // 7, 8) for i in range(42)]  # the block's number
    levels[4] = NmPattern(8, 8)  # gate of the first
    got = transferred(large, donor, levels)
    assert str(got["model.layers.0.mlp.gate_proj"]) == "8:8"
    assert str(got["model.layers.0.mlp.up_proj"]) == "1:8"
    assert str(got["model.layers.31.mlp.gate_proj"]) == "6:8"
    with pytest.raises(DataError, match="42 layers, but the plan has 41 levels"):
        transferred(large, donor, levels[1:])
    with pytest.raises(DataError, match="stdlib-llama has no layer of the role 'in'"):
        transferred(load_shapes("Mamba-2.8B"), donor, levels)


def test_accuracy_rows_of_another_file(tmp_path):
    path = tmp_path / "accuracy.json"
    with pytest.raises(DataError, match=r"accuracy\.json: no such file, but wanted the accuracy"):
        accuracy_rows(path)
    path.write_text("[]")
    with pytest.raises(DataError, match="not a report of the accuracy table"):
        accuracy_rows(path)
    path.write_text('{"records": [{"plan": 3}]}')
    with pytest.raises(DataError, match="make accuracy writes it"):
        accuracy_rows(path)


def test_accuracy_rows_are_those_with_free_positions(tmp_path):
    path = tmp_path / "accuracy.json"
    path.write_text(json.dumps({"records": [
        {"method": method, "plan": "2:8 2:8"}
        for method in ("uniform", "uniform/share2", "uniform/share4", "uniform/tile", "flow-x")]}))
    assert [row["method"] for row in accuracy_rows(path)] == ["uniform", "flow-x"]
    records = json.loads((REPORTS / "accuracy.json").read_text())["records"]
    shared = [record for record in records if "/" in record["method"]]
    assert len(shared) == 2 * 18
    assert len(accuracy_rows(REPORTS / "accuracy.json")) == len(records) - len(shared)


def test_the_command(monkeypatch, capsys):
    assert run(monkeypatch, "stdlib-llama", "--plan", "2:8", "--tokens", "4", "--resident",
               "--layers", "--config", "default", "--config", "fixed_4_8") == 0
    text = capsys.readouterr().out
    assert "75.00% pruned" in text
    assert "mJ: weights resident" in text
    assert text.count("model.layers.5.mlp.down_proj") == 2
    assert "extrapolated" not in text


def test_macros_smaller_than_those_fitted_are_marked(monkeypatch, capsys, tmp_path):
    small = tmp_path / "small.yaml"
    small.write_text("base: default\nrows: 8\n")
    assert run(monkeypatch, "stdlib-llama", "--config", str(small), "--config", "default") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith(" *") for line in lines[2:4]] == [True, False]
    assert "no netlist of fewer than 16 rows was fitted" in lines[-1]


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "say which shapes: BART-large"),
    (["Llama-9"], "no shapes named 'Llama-9'"),
    (["Llama-2-7B", "--tokens", "9" * 23], "at most 1048576 tokens, not 9999"),
    (["Llama-2-7B", "--config", "tiny"], "at most max_k = 1024 inputs, not 4096"),
    (["Llama-2-7B", "--plan", "9:8"], "needs 1 <= N <= M, not 9:8"),
    (["Llama-2-7B", "--config", "huge"], "no preset named 'huge'"),
])
def test_what_cannot_be_used_is_one_message(monkeypatch, capsys, arguments, message):
    assert run(monkeypatch, *arguments) == 2
    assert message in capsys.readouterr().err
