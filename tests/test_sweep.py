"""Sweeps without Dask: what they ask for, designs, the store, records, fronts, page."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest

import cimforge as cf
from cimforge import cli
from cimforge.cycles.model import estimate_shapes
from cimforge.report.sweep_page import sweep_page
from cimforge.spec.commands import LoadSelects, LoadWeights
from cimforge.spec.errors import CimforgeError, ConfigError, DataError, ToolError
from cimforge.spec.pattern import NmPattern
from cimforge.sweep import cluster, code, run
from cimforge.sweep.code import code_digest, sources
from cimforge.sweep.grid import designs
from cimforge.sweep.measure import FRONTS, QUANTITIES, Work, measure
from cimforge.sweep.request import load_sweep, sweep_names
from cimforge.sweep.run import run_sweep
from cimforge.sweep.store import Store, point_digest
from cimforge.sweep.task import run_task
from cimforge_sw.plan import Plan
from cimforge_sw.shapes import load_shapes

REPORTS = Path(__file__).resolve().parents[1] / "reports"
GOOD = {"models": "[stdlib-llama]", "plans": '["4:8", "2:8"]', "tokens": "[4, 16]",
        "axes": "{rows: [16, 32], index_share: [1, 2], select: [line, pair]}",
        "accuracy": "none.json"}
SCORES = str(REPORTS / "accuracy.json")


def write(folder, **changes):
    """Write a sweep that differs from the good one; None leaves a key out."""
    (folder / "none.json").write_text('{"records": []}')
    path = folder / "mine.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in {**GOOD, **changes}.items()
                            if value is not None))
    return path


@pytest.fixture
def measured(monkeypatch):
    """Do without Dask; return the tasks that were run."""
    done = []

    @contextmanager
    def nobody(*_):
        yield None

    def serial(_, tasks):
        for name in reversed(tasks):  # in another order than they were asked for
            done.append(name)
            yield name, run_task(code_digest(), *tasks[name])
    monkeypatch.setattr(run, "connected", nobody)
    monkeypatch.setattr(run, "outcomes", serial)
    return done


def report(folder):
    return json.loads((folder / "sweep.json").read_text())


@pytest.mark.parametrize("name", sweep_names())
def test_shipped_sweeps_have_many_designs(name):
    sweep = load_sweep(name)
    found, skipped = designs(sweep)
    assert len(found) >= 64
    assert {"sub_macros", "rows", "cols", "max_m", "index_share", "act_slice", "select",
            "weight_banks"} == sweep.axes.keys()
    assert all("index_share needs select: line" in each["reason"]
               or "max_m must be in 2..4 (2P)" in each["reason"] for each in skipped)


@pytest.mark.parametrize(("changes", "message"), [
    ({"colour": "red"}, r"unknown key\(s\): colour; a sweep has models, plans, tokens, base, axes"),
    ({"models": None}, "models is missing; a sweep has"),
    ({"axes": None}, "axes is missing"),
    ({"models": "[]"}, r"models must be a list of at least one value, .*\(line 1\)"),
    ({"models": "stdlib-llama"}, "models must be a list"),
    ({"models": "[stdlib-llama, stdlib-llama]"}, r"models: 'stdlib-llama' is there twice \(line 1"),
    ({"models": "[Llama-9]"}, "no shapes named 'Llama-9'; there are"),
    ({"models": "[nothing.yaml]"}, r"nothing\.yaml: cannot read the shapes"),
    ({"models": "[[a]]"}, r"models\[0\]: expected one value"),
    ({"plans": "[9:8]"}, r"plans\[0\] must be N:M, a .yaml file, or .* not '9:8' \(line 2\)"),
    ({"plans": "[nothing.yaml]"}, r"nothing\.yaml: cannot read the plan"),
    ({"plans": "[{recorded: flow-x}]"}, r"plans\[0\]: sparsity is missing \(line 2\)"),
    ({"plans": "[{recorded: flow-x, sparsity: much}]"}, "sparsity must be a number"),
    ({"plans": "[{recorded: a, sparsity: 1, of: b}]"}, r"plans\[0\]: unknown key\(s\): of"),
    ({"tokens": "[0]"}, r"tokens\[0\] must be an integer of at least 1, not '0' \(line 3\)"),
    ({"tokens": "[1, true]"}, r"tokens\[1\] must be an integer of at least 1, not 'true'"),
    ({"tokens": "16"}, "tokens must be a list"),
    ({"base": "huge"}, "no preset named 'huge'; there are default"),
    ({"base": "[default]"}, "base: expected one value"),
    ({"axes": "{}"}, "axes must name at least one parameter"),
    ({"axes": "[rows]"}, "axes: expected 'name: value' lines"),
    ({"axes": "{rowz: [1]}"}, r"axes: unknown parameter\(s\): rowz; there are sub_macros, rows"),
    ({"axes": "{rows: []}"}, r"axes\.rows must be a list of at least one value"),
    ({"axes": "{rows: [16, many]}"}, r"axes\.rows\[1\] must be an integer, not 'many' \(line 4\)"),
    ({"axes": "{rows: [1.5]}"}, r"axes\.rows\[0\] must be an integer, not '1\.5'"),
    ({"axes": "{rows: [true]}"}, r"axes\.rows\[0\] must be an integer, not 'true'"),
    ({"axes": "{rows: [!!python/name:os.system x]}"}, r"axes\.rows\[0\]: 'x' is no value"),
    ({"axes": "{select: [1]}"}, r"axes\.select\[0\] must be text, not '1'"),
    ({"axes": "{rows: [1], rows: [2]}"}, r"axes: 'rows' is given twice \(line 4\)"),
    ({"axes": "".join(f"{sign}{name}: {list(range(2, 602))}" for sign, name in (
        ("{", "max_k"), (", ", "act_depth"))) + "}"}, "asks for 1,440,000 points; at most 1,000,0"),
])
def test_what_is_no_sweep_is_one_message(tmp_path, changes, message):
    path = write(tmp_path, **changes)
    with pytest.raises(CimforgeError, match=message) as caught:
        load_sweep(path)
    assert str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize(("text", "message"), [
    ("", "mine.yaml: a sweep: expected 'name: value' lines"),
    ("- models", "mine.yaml: a sweep: expected 'name: value' lines"),
    ("models: [", "mine.yaml: not valid YAML: line 1"),
])
def test_what_is_no_mapping(tmp_path, monkeypatch, capsys, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    monkeypatch.setattr("sys.argv", ["cimforge", "sweep", str(tmp_path / "mine.yaml"), "--out",
                                     str(tmp_path / "out")])
    assert cli.main() == 2
    error = capsys.readouterr().err
    assert error.startswith("cimforge: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_unknown_sweep_and_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="no sweep named 'all'; there are macro, or give"):
        load_sweep("all")
    with pytest.raises(ConfigError, match=r"no\.yaml: cannot read the sweep: No such file"):
        load_sweep(tmp_path / "no.yaml")


def test_what_cannot_be_is_listed_with_its_reason(tmp_path, measured):
    path = write(tmp_path, axes="{rows: [16, 24], select: [line, pair], index_share: [1, 2], "
                                "load_rows: [0, 4]}")
    done = run_sweep(path, tmp_path / "out")
    skipped = report(tmp_path / "out")["skipped"]
    reasons = {each["design"]: each["reason"] for each in skipped}
    assert reasons["rows=24 select=line index_share=1 load_rows=0"].startswith(
        "rows must be a power of two, not 24")
    assert "index_share needs select: line" in reasons[
        "rows=16 select=pair index_share=2 load_rows=0"]
    assert reasons["rows=16 select=line index_share=1 load_rows=4"] == (
        "the same as rows=16 select=line index_share=1 load_rows=0")
    assert len(skipped) == done.skipped == 16 - 3
    assert done.points == len(report(tmp_path / "out")["records"]) == 3 * 4
    page = (tmp_path / "out" / "sweep.md").read_text()
    assert "| rows must be a power of two, not 24 | 8 |" in page


def test_a_grid_without_a_design_and_designs_that_run_nothing(tmp_path, measured):
    with pytest.raises(ConfigError, match=r"none of 2 combinations .* rows=3: rows must be a pow"):
        run_sweep(write(tmp_path, axes="{rows: [3, 5]}"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match=r"none of 1 designs runs any of the models; max_k=64: "
                                          r"stdlib-llama, 4:8, 4 tokens: a layer of 96 x 192 "):
        run_sweep(write(tmp_path, axes="{max_k: [64]}"), tmp_path / "out")
    assert not (tmp_path / "out" / "sweep.json").exists()


def test_a_design_that_cannot_run_one_model_is_listed(tmp_path, measured):
    path = write(tmp_path, models="[stdlib-llama, BERT-large]", tokens="[1, 2]",
                 axes="{max_k: [1024, 65536]}")
    done = run_sweep(path, tmp_path / "out")
    assert (done.points, done.skipped) == (16, 4)
    assert all(each["design"].startswith("max_k=1024: BERT-large, ") and "4096" in each["reason"]
               for each in report(tmp_path / "out")["skipped"])


def test_figures_are_those_of_estimate_and_of_the_compiled_programs(tmp_path, measured):
    run_sweep(write(tmp_path), tmp_path / "out")
    shapes, records = load_shapes("stdlib-llama"), report(tmp_path / "out")["records"]
    assert len(records) == 6 * 4
    for record in records:
        config = cf.load_config("default").replace(
            **{key: record[key] for key in ("rows", "index_share", "select")})
        cost = estimate_shapes(shapes, Plan.uniform(record["plan"]), config, record["tokens"])
        for key in ("cycles", "resident_cycles", "macs", "sparsity"):
            assert record[key] == getattr(cost, key)
        assert record["slot_use"] == pytest.approx(cost.slot_use(), abs=1e-12)
        assert record["cells"] == 4 * record["rows"] * 32
        assert record["config"] == config.digest


@pytest.mark.parametrize("changes", [{}, {"weight_banks": 1}, {"act_depth": 4}, {"cols": 8},
                                     {"select": "pair"}])
def test_weight_loads_are_those_of_the_commands(changes):
    import numpy as np

    class Layer:
        weight, pattern = np.tile(np.array([3, 0, 0, -5], dtype=np.int8), (20, 16)), NmPattern(2, 4)

    config = cf.load_config("tiny").replace(**changes)
    layer = cf.compile({"fc": Layer()}, config, tokens=9).layers["fc"]
    loads = sum(isinstance(command, LoadWeights) for command in layer.commands)
    steps = sum(command.steps for command in layer.commands if isinstance(command, LoadSelects))
    figures, = measure(config, [Work(((20, 64, "2:4", 3),), 9)])
    assert figures["weight_loads"] == 3 * loads
    assert figures["weight_bits"] == 3 * config.weight_beat_bits * (
        loads * config.weight_beats + steps * config.select_beats)
    assert bool(steps) == (config.select == "pair")
    assert figures.keys() == QUANTITIES.keys()
    assert {key for front in FRONTS for key in front} <= QUANTITIES.keys()


def test_scores_are_of_recorded_plans_and_of_cells_that_select_freely(tmp_path, measured):
    path = write(tmp_path, models="[stdlib-llama, Llama-2-7B]", tokens="[4]", accuracy=SCORES,
                 plans="['2:8', '5:8', {recorded: flow-x, sparsity: 0.75, seed: 1}, "
                       "{recorded: flow, sparsity: 0.5, patterns: published}]")
    run_sweep(path, tmp_path / "out")
    records = report(tmp_path / "out")["records"]
    rows = {(row["method"], row["pattern_set"], row["sparsity_target"], row["seed"]): row["value"]
            for row in json.loads((REPORTS / "accuracy.json").read_text())["records"]
            if row["model"] == "stdlib-llama" and row["quantized"]}
    wanted = {"2:8": rows["uniform", "2:8", 0.75, 0], "5:8": None,
              "flow-x 0.75 #1": rows["flow-x", "N:8", 0.75, 1],
              "flow 0.5 of published": rows["flow", "published", 0.5, 0]}
    for record in records:
        free = record["select"] == "line" and record["index_share"] == 1
        small = record["model"] == "stdlib-llama"
        assert record["score"] == (wanted[record["plan"]] if free and small else None)
        assert (record["score"] is None) == (record["metric"] is None)
        kind = ("uniform" if ":" in record["plan"] else "recorded" if small else "transferred")
        assert record["plan_kind"] == kind
    assert "the same and bits per byte" in (tmp_path / "out" / "sweep.md").read_text()


@pytest.mark.parametrize(("changes", "message"), [
    ({"plans": "[{recorded: flow-x, sparsity: 0.9}]"},
     "plan flow-x 0.9: not recorded on stdlib-llama; there are dense 0 of 1:1, uniform 0.5 of 1:2"),
    ({"plans": "[{recorded: flow-x, sparsity: 0.9}]", "models": "[Llama-2-7B]"},
     "not recorded on stdlib-llama, whose plans Llama-2-7B gets; there are"),
    ({"plans": "[{recorded: uniform/share2, sparsity: 0.75, patterns: '2:8'}]"},
     "plan uniform/share2 0.75 of 2:8: not recorded on stdlib-llama"),
    ({"plans": "[{recorded: flow-x, sparsity: 0.5}]", "models": "[toy.yaml]"},
     "plan flow-x 0.5: nothing is recorded on toy; transferred plans are for Llama-2-7B"),
    ({"accuracy": "nothing.json"}, r"nothing\.json: no such file, but wanted the accuracy"),
    ({"plans": "[plan.yaml]"}, r"'decoder\.\*' matches none of 42 layers"),
])
def test_plans_that_do_not_fit(tmp_path, measured, changes, message):
    (tmp_path / "toy.yaml").write_text(
        "model: toy\nsource: a test\nstacks:\n- times: 1\n  prefix: b{}\n"
        "  layers: {up: {outputs: 8, inputs: 8}}\n")
    (tmp_path / "plan.yaml").write_text('default: "2:4"\nlayers: {"decoder.*": "4:8"}\n')
    with pytest.raises(DataError, match=message):
        run_sweep(write(tmp_path, **{"accuracy": SCORES, **changes}), tmp_path / "out")
    assert not measured
    assert not (tmp_path / "out").exists()


def test_a_plan_file_and_a_base_file_beside_the_sweep(tmp_path, measured):
    (tmp_path / "plan.yaml").write_text('default: "2:4"\nlayers: {"*down_proj": "4:8"}\n')
    (tmp_path / "base.yaml").write_text("base: default\ncols: 8\n")
    run_sweep(write(tmp_path, plans="[plan.yaml]", base="base.yaml"), tmp_path / "out")
    made = report(tmp_path / "out")
    assert made["base"]["cols"] == 8
    assert {(r["plan"], r["plan_kind"], r["score"]) for r in made["records"]} == {
        ("plan.yaml", "file", None)}


def test_only_what_changed_is_measured(tmp_path, measured):
    run_sweep(write(tmp_path), tmp_path / "out")
    assert len(measured) == 6
    first = (tmp_path / "out" / "sweep.json").read_bytes()
    measured.clear()
    assert run_sweep(write(tmp_path), tmp_path / "out").reused == 24
    assert not measured
    assert (tmp_path / "out" / "sweep.json").read_bytes() == first
    axes = "{rows: [16, 64], index_share: [1, 2], select: [line, pair]}"
    done = run_sweep(write(tmp_path, axes=axes), tmp_path / "out")
    assert (done.points, done.reused) == (24, 12)
    assert {name.split()[0] for name in measured} == {"rows=64"}
    measured.clear()
    done = run_sweep(write(tmp_path, axes=axes, base="serial"), tmp_path / "out")
    assert done.reused == 0
    done = run_sweep(write(tmp_path), tmp_path / "out")  # what was there first still is
    assert done.reused == 24
    assert (tmp_path / "out" / "sweep.json").read_bytes() == first


def test_other_code_or_tables_are_other_points(monkeypatch, tmp_path, measured):
    run_sweep(write(tmp_path), tmp_path / "out")
    config, work = cf.load_config("tiny"), Work(((4, 4, "1:2", 1),), 1)
    before, digest = point_digest(code_digest(), config, work), code_digest()
    assert point_digest(digest, config, Work(((4, 4, "1:2", 1),), 2)) != before
    assert point_digest(digest, config, Work(((4, 4, "2:2", 1),), 1)) != before
    assert point_digest(digest, config.replace(rows=8), work) != before
    known = sources()
    assert {"cimforge.spec.timing", "cimforge.sweep.measure", "cimforge_sw.compile.lanes"} <= (
        known.keys())
    assert "cimforge.sweep.run" not in known
    changed = tmp_path / "lanes.py"
    changed.write_bytes(known["cimforge_sw.compile.lanes"].read_bytes() + b"\n")
    monkeypatch.setattr(code, "sources", lambda: {**known, "cimforge_sw.compile.lanes": changed})
    after = code_digest.__wrapped__()
    assert after != digest
    (tmp_path / "cost" / "shapes").mkdir(parents=True)
    monkeypatch.setattr(code, "shipped", lambda _: tmp_path / "cost")
    empty = code_digest.__wrapped__()
    (tmp_path / "cost" / "shapes" / "new.yaml").write_text("model: new")
    assert code_digest.__wrapped__() == empty
    (tmp_path / "cost" / "new.yaml").write_text("mux: 1")
    assert code_digest.__wrapped__() != empty
    with pytest.raises(ToolError, match="another version of cimforge"):
        run_task(digest + "0", config.to_dict(), [work])


def test_a_damaged_result_is_measured_again(tmp_path, measured):
    run_sweep(write(tmp_path), tmp_path / "out")
    first = (tmp_path / "out" / "sweep.json").read_bytes()
    path = sorted((tmp_path / "out").glob("store/*/*.json"))[5]
    whole = path.read_text()
    path.write_text(whole[:-20])
    measured.clear()
    done = run_sweep(write(tmp_path), tmp_path / "out")
    assert (done.damaged, done.points - done.reused, len(measured)) == (1, 1, 1)
    assert "1 damaged results replaced" in done.text
    assert path.read_text() == whole
    assert (tmp_path / "out" / "sweep.json").read_bytes() == first


def test_every_damage_is_seen(tmp_path):
    store, outcome = Store(tmp_path), {"figures": dict.fromkeys(QUANTITIES, 1)}
    store.save("ab", outcome)
    path = store.path("ab")
    whole = path.read_text()
    assert store.load(["ab", "cd"]) == ({"ab": outcome}, 0)
    for damaged in (whole[:-20], whole.replace('"cells": ', '"cells": 1'), "[]", "", "\0", "3",
                    '{"outcome": 3}', whole.replace('"point": "', '"point": "0'), "[" * 100_000):
        path.write_text(damaged)
        assert store.load(["ab"]) == ({}, 1)
    path.unlink()
    path.mkdir()
    assert store.load(["ab"]) == ({}, 1)


def test_a_result_of_other_quantities_is_none(tmp_path):
    store = Store(tmp_path)
    whole = dict.fromkeys(QUANTITIES, 1)
    for digest, outcome in (("a", {"figures": {"cycles": 1}}), ("b", {"cannot": 3}),
                            ("c", {"figures": {**whole, "cycles": float("nan")}}),
                            ("d", {"figures": whole}), ("e", {"cannot": "too wide"})):
        store.save(digest, outcome)
    found, damaged = store.load("abcdef")
    assert (sorted(found), damaged) == (["d", "e"], 3)


def test_an_error_of_a_task_names_the_design(monkeypatch):
    class Future:
        def result(self):
            raise ToolError("a worker has another version")

    with pytest.raises(ToolError, match=r"^rows=16: a worker has another version$"):
        cluster._result("rows=16", Future())


def test_output_that_cannot_be_written(tmp_path, measured):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        run_sweep(write(tmp_path), tmp_path / "file" / "out")
    assert not measured
    with pytest.raises(ConfigError, match="--workers is for this machine"):
        run_sweep(write(tmp_path), tmp_path / "out", "tcp://127.0.0.1:1", 2)


def test_a_machine_without_dask(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    monkeypatch.setattr("sys.argv", ["cimforge", "sweep", str(write(tmp_path)), "--out",
                                     str(tmp_path / "out")])
    assert cli.main() == 2
    assert "cimforge: a sweep needs Dask, which is not installed: pip" in capsys.readouterr().err


def test_page_and_pictures_are_made_of_the_json(tmp_path, measured):
    run_sweep(write(tmp_path), tmp_path / "out")
    made = report(tmp_path / "out")
    assert sweep_page(made, {"stdlib-llama": "mine-stdlib-llama.svg"}) == (
        tmp_path / "out" / "sweep.md").read_text()
    picture = (tmp_path / "out" / "img" / "mine-stdlib-llama.svg").read_text()
    assert "resident latency" in picture
    assert "nan" not in picture
    assert {"format", "commit", "machine", "command", "records"} <= made.keys()
    assert [(r["plan"], r["tokens"]) for r in made["records"][::6]] == [
        ("4:8", 4), ("4:8", 16), ("2:8", 4), ("2:8", 16)]
