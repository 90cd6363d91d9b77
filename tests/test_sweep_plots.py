"""Pareto fronts, and the pictures of a sweep: every design is in them."""

import re

from cimforge.report.pareto import pareto
from cimforge.report.sweep_plots import sweep_plots


def test_every_design_is_a_dot_and_every_scored_one_in_its_row(tmp_path):
    """Points are lines of no length: what simplifies paths would drop them."""
    quantities = {key: {"unit": "u"} for key in ("area", "latency")}
    records = [{"model": "m", "tokens": 1, "plan": "2:8", "plan_kind": "uniform",
                "area": 2 + i % 17, "latency": 1 + i, "score": 1.5 if i < 150 else None,
                "metric": "bits per byte", "higher_is_better": False} for i in range(300)]
    made = {"sweep": "s", "records": records, "fronts": [["area", "latency"]],
            "quantities": quantities}
    name = sweep_plots(made, tmp_path)["m"]
    picture = (tmp_path / name).read_text()
    dots = [path.count("L") for path in re.findall(r'd="([^"]*)"[^>]*stroke-width: 2.6', picture)]
    assert dots == [300, 150]


def test_pareto():
    points = [{"n": n, "a": a, "b": b} for n, (a, b) in enumerate(
        [(3, 1), (1, 3), (2, 2), (2, 3), (1, 3), (3, 3), (2, None)])]
    assert [p["n"] for p in pareto(points, ["a", "b"])] == [1, 4, 2, 0]
    assert [p["n"] for p in pareto(points, ["a", "b"], larger=["b"])] == [1, 4]
    assert [p["n"] for p in pareto(points, ["a", "b"], larger=["a", "b"])] == [5]
    assert [p["n"] for p in pareto(points, ["a"])] == [1, 4]
    assert pareto([], ["a"]) == []
