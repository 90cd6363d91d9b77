"""A selected plan instead of the shipped one through the demo: FLOW at 60 % on a real encoder."""

import json

import pytest

import cimforge as cf
from cimforge import demo
from cimforge.spec.errors import DataError
from cimforge_sw.sentences import calibration_sentences


@pytest.mark.verilator
def test_a_flow_plan_runs_through_the_demo_and_its_rtl_bit_exactly(tmp_path):
    """As ``make demo``: all layers on the golden blocks, one transformer layer on the RTL."""
    model = cf.load_model(demo.MODEL)
    stats = cf.calibrate(model, calibration_sentences()[:64])
    selection = cf.flow(model, stats, 0.6, cf.load_config("default"))
    selection.plan.save(tmp_path / "plan.yaml")
    demo.run_demo("default", tmp_path / "demo", plan=tmp_path / "plan.yaml")
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    layers = {record["layer"]: record for record in report["records"]}
    score = layers.pop("*")
    assert score["sparsity"] == pytest.approx(selection.sparsity)
    assert score["sparsity"] >= 0.6
    assert len(layers) == 36
    assert all(record["bit_exact"] for record in layers.values())
    assert len({record["pattern"] for record in layers.values()}) > 1
    simulated = {name: record for name, record in layers.items()
                 if record["cycles_counted"] is not None}
    assert len(simulated) == 6  # four matrices of attention, two of the MLP
    assert all(name.startswith(demo.RTL_LAYERS) for name in simulated)
    for record in simulated.values():
        assert record["cycles_counted"] == record["cycles_predicted"]


def test_a_plan_of_another_model_is_refused_before_the_work(tmp_path):
    cf.Plan(cf.Plan.uniform("2:4").default, {"model.layers.0.*": cf.Plan.uniform("1:4").default}
            ).save(tmp_path / "plan.yaml")
    with pytest.raises(DataError, match="matches none of 36 layers"):
        demo.run_demo("default", tmp_path / "demo", rtl=False, plan=tmp_path / "plan.yaml")
