"""The closed form of the area against netlists that it was not fitted to."""

import json
from pathlib import Path

import pytest

from cimforge.silicon.calibrate import HELD_OUT, calibrate, errors
from cimforge.silicon.run import fitted
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.files import shipped
from cimforge.synth.liberty import read_library
from cimforge.synth.run import OSU018, map_design
from cimforge_sw.cost.area import load_technology, macro_area

NETLISTS = json.loads(Path("reports/designs.json").read_text())
SHIPPED = shipped("cost") / "silicon" / "osu018.yaml"


def test_held_out_designs_are_within_5_percent():
    technology = load_technology()
    found = errors(technology, NETLISTS["records"])
    judged = {name: found[name] for name in HELD_OUT}
    assert max(map(abs, judged.values())) == pytest.approx(technology.uncertainty, abs=1e-4)
    assert technology.uncertainty < 0.05, judged


def test_the_technology_that_ships_is_fitted_to_the_records_that_ship():
    assert SHIPPED.read_text() == fitted(NETLISTS)


def test_what_is_held_out_does_not_shape_the_fit():
    def fit(records):
        return calibrate(records, 120.0, 7.0, 180)

    records = NETLISTS["records"]
    without = [r for r in records if r["design"] not in HELD_OUT]
    assert fit(records).terms == fit(without).terms
    assert len({r["design"] for r in without}) >= 10


def test_a_wrong_cost_is_noticed():
    technology = load_technology()
    terms = {**technology.terms,
             "Column": {**technology.terms["Column"], "full adder": 150.0}}
    wrong = type(technology)(technology.name, 180, terms, technology.sram_bit, 0.0)
    assert max(map(abs, errors(wrong, NETLISTS["records"]).values())) > 0.05


def test_storage_is_what_netlists_store():
    technology = load_technology()
    for record in NETLISTS["records"]:
        if record["what"] == "macro" and record["design"] in HELD_OUT:
            area = macro_area(DcimConfig(**record["config"]), technology)
            assert area.storage == pytest.approx(record["storage_area"], rel=0.1)
            assert area.with_sram == pytest.approx(record["area_with_sram"], rel=0.06)


@pytest.mark.debian("yosys", str(OSU018))
@pytest.mark.parametrize("changes", [
    dict(sub_macros=2, rows=16, cols=8, max_m=4), dict(sub_macros=2, rows=16, cols=8, act_slice=2)])
def test_netlists_made_now_are_within_5_percent(changes, tmp_path):
    config = DcimConfig(**changes)
    library = read_library(OSU018)
    blocks = map_design(config, library, "macro", root=tmp_path).blocks()
    mapped = next(block.area for block in blocks.values() if block.kind == "Macro")
    assert macro_area(config, load_technology()).total == pytest.approx(mapped, rel=0.05)


@pytest.mark.parametrize(("text", "message"), [
    ("- 1", "no technology: wanted name"), ("name: x\nnode_nm: many\n", "no technology: wanted"),
    ("{", "no technology: wanted"),
])
def test_files_that_are_no_technology(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"mine.yaml: {message}"):
        load_technology(str(path))


def test_technologies_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match=r"^no technology named 'mine'; there are osu018, or give"):
        load_technology("mine")
    with pytest.raises(DataError, match=r"no.yml: cannot be read: No such file or directory$"):
        load_technology(tmp_path / "no.yml")


def test_a_technology_that_lacks_a_term(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SHIPPED.read_text().replace("full adder:", "half adder:"))
    with pytest.raises(DataError, match=r"mine.yaml: Column lacks full adder"):
        load_technology(str(path))
