"""Latency at equal accuracy: FLOW-X within a fixed macro's cycles, and which plans count."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from sw_checkpoints import save_tiny, token_rows
from test_accuracy import _Subject

from cimforge.accuracy import run as accuracy_run
from cimforge.accuracy.between import FILE, between, run_between
from cimforge.accuracy.cells import MODELS, SEEDS, WITHIN
from cimforge.cycles.designs import BUFFERS, FLEXIBLE, designs
from cimforge.cycles.equal import OWN, equal_records
from cimforge.cycles.limits import TOKENS, cycle_limits
from cimforge.cycles.model import estimate_shapes
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.calibration import calibrate
from cimforge_sw.models import load_model
from cimforge_sw.select import Selector
from cimforge_sw.select.budget import Budget
from cimforge_sw.select.flow_x import _Search
from cimforge_sw.select.journal import Journal
from cimforge_sw.select.knapsack import Limit
from cimforge_sw.shapes import LayerShape, load_shapes

SHAPES = {"up": (512, 192), "down": (192, 512)}
LEVELS = [NmPattern(n, 8) for n in range(1, 9)]


def test_every_model_has_a_cell_for_each_class_of_fixed_macros():
    found = list(between())
    assert len(found) == len(set(found)) == len(SEEDS) * (2 * len(MODELS) + 1)
    for cell in found:
        design, pattern = WITHIN[cell.method]
        assert OWN[design] == pattern
        assert 0 < cell.share < 1
        assert cell.tag("abc") == f"abc.{cell.share}"


def test_cells_go_into_a_file_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setattr(accuracy_run, "Subject", _Subject)
    monkeypatch.setattr(_Subject, "measured", [])
    encoder = ("all-MiniLM-L6-v2",)
    path = run_between(tmp_path, tmp_path / "cells", encoder, (0,))
    run_between(tmp_path, tmp_path / "nowhere", encoder, (0, 1))  # the first seed from the report
    assert _Subject.measured == [*between(encoder, (0,)), *between(encoder, (1,))]
    assert path == tmp_path / FILE
    assert not (tmp_path / "accuracy.json").exists()
    records = json.loads(path.read_text())["records"]
    assert len(records) == 2 * len(_Subject.measured)
    assert {record["pattern_set"] for record in records} == {
        "N:8 within cycles of 4:8", "N:8 within cycles of 2:8"}
    with pytest.raises(ConfigError, match=r"model must be one of stdlib-llama, .*, not gpt2"):
        run_between(tmp_path, tmp_path / "cells", ("gpt2",))


def test_limits_are_between_the_least_and_the_fixed_macro_s():
    own = NmPattern(4, 8)
    limits = dict(zip((1.0, 0.0), (cycle_limits(SHAPES, LEVELS, "fixed_4_8", own, share)
                                   for share in (1.0, 0.0)), strict=True))
    assert len(limits[1.0]) == 2 * len(TOKENS)
    patterns = dict.fromkeys(SHAPES, own)
    model = _shapes()
    for i, tokens in enumerate(TOKENS):
        fixed = [estimate_shapes(model, patterns, designs(buffer)["fixed_4_8"], tokens)
                 for buffer in BUFFERS]
        ours = estimate_shapes(model, patterns, designs("equal_bits")[FLEXIBLE], tokens)
        least = estimate_shapes(model, dict.fromkeys(SHAPES, NmPattern(1, 8)),
                                designs("equal_bits")[FLEXIBLE], tokens)
        for j, key in enumerate(("cycles", "resident_cycles")):
            limit = limits[1.0][2 * i + j]
            assert limit.high == min(getattr(cost, key) for cost in fixed)
            assert limit.use[:, 3].sum() == getattr(ours, key)
            assert limits[0.0][2 * i + j].high == getattr(least, key)


def _shapes():
    """Return `SHAPES` as shapes of a model."""
    return SimpleNamespace(layers=[
        LayerShape(name=name, outputs=outputs, inputs=inputs, role=name, depth=0.0)
        for name, (outputs, inputs) in SHAPES.items()])


def test_levels_that_a_denser_one_beats_are_no_neighbours():
    objective = SimpleNamespace(blocks=lambda _module: None)
    variants = SimpleNamespace(model=SimpleNamespace(module=None))
    use = np.array([[10, 20, 30, 30, 30, 65, 70, 65], [10, 20, 30, 40, 50, 60, 70, 80]], float)
    for target, limits, wanted in ((0.0, [Limit(use, high=90)], [[1, 7], [3, 5]]),
                                   (0.0, [Limit(use, high=90), Limit(use[::-1], high=90)],
                                    [[3, 5], [3, 5]]),
                                   (0.5, [Limit(use, high=90)], [[3, 5], [3, 5]]),
                                   (0.0, [], [[3, 5], [3, 5]])):
        budget = Budget(SHAPES, LEVELS, target, slack=1.0)
        search = _Search(budget, variants, objective, limits, Journal())
        assert [search.neighbours(layer, 4) for layer in (0, 1)] == wanted


def test_a_search_within_limits_keeps_them_and_gets_better(tmp_path):
    model = load_model(save_tiny("llama", tmp_path / "model"))
    rows = token_rows(8, 12)
    selector = Selector(model, calibrate(model, rows), rows)
    limits = cycle_limits(selector.shapes, selector.options, "fixed_4_8", NmPattern(4, 8), 0.5)
    made = selector.within(limits, journal=tmp_path / "journal")
    patterns = made.plan.resolve(selector.shapes)
    chosen = [selector.options.index(patterns[name]) for name in selector.shapes]
    for limit in limits:
        assert limit.use[np.arange(len(chosen)), chosen].sum() <= limit.high
    assert made.details["losses"] == sorted(made.details["losses"], reverse=True)
    again = selector.within(limits, journal=tmp_path / "journal")
    assert again.plan == made.plan
    with pytest.raises(DataError, match="within 0 cycles"):
        selector.within([Limit(limits[0].use, high=0.0)])
    with pytest.raises(DataError, match="journal of another search"):
        selector.within(limits[:1], journal=tmp_path / "journal")


def _table(path, *rows):
    names = len(load_shapes("stdlib-llama").layers)
    records = [{"model": "stdlib-llama", "method": method, "pattern_set": candidates,
                "sparsity": 0.5, "seed": seed, "metric": "bits per byte", "digest": digest,
                "higher_is_better": False, "value": value, "quantized": True,
                "plan": " ".join([candidates] * names)}
               for method, candidates, seed, digest, value in rows]
    path.write_text(json.dumps({"records": records}))
    return path


def test_plans_of_a_second_table_count_where_they_are_comparable(tmp_path):
    own = [("uniform" if pattern != "1:1" else "dense", pattern, seed, "a", 1.0)
           for seed in (0, 1) for pattern in OWN.values()]
    table = _table(tmp_path / "accuracy.json", *own)

    def record(*rows):
        more = [_table(tmp_path / FILE, *rows)] if rows else []
        return next(r for r in equal_records(table, *more)
                    if (r["against"], r["tokens"], r["weights"], r["buffer"]) == (
                        "fixed_4_8", 128, "streamed", "equal_bits"))

    alone, better = record(), record(("flow-x", "1:8", 1, "a.2", 0.9))
    assert alone["seeds"] == [0, 1]
    assert better["seeds"] == [1]  # no plans within cycles for the other
    assert better["ours"] == pytest.approx(better["most"])
    assert better["ours"] > alone["ours"]
    for row in (("flow-x", "1:8", 0, "a", 1.1), ("flow-x", "1:8", 0, "b", 0.9),
                ("flow-x+update", "1:8", 0, "a", 0.9), ("uniform/share2", "1:8", 0, "a", 0.9)):
        assert record(row)["ours"] == pytest.approx(alone["ours"])
