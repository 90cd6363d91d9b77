"""``cimforge synth``: reports from JSON alone, and one message for whatever is missing."""

import json
import shutil
import sys

import pytest
from test_synth_liberty import LIBRARY

from cimforge import cli
from cimforge.report.synth_page import synth_page
from cimforge.spec.errors import DataError, ToolError
from cimforge.synth import run
from cimforge.synth.opensta import sta_version
from cimforge.synth.yosys import children, modules, yosys_version


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["cimforge", "synth", *map(str, arguments)])
    return cli.main()


@pytest.mark.parametrize(("ask", "package"), [(yosys_version, "yosys"), (sta_version, "opensta")])
def test_a_missing_tool_names_its_package(monkeypatch, tmp_path, ask, package):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=f"Debian package {package}"):
        ask()


def test_missing_tools_are_exit_code_2(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command(monkeypatch, "tiny", "--out", tmp_path / "reports") == 2
    assert "yosys is not installed" in capsys.readouterr().err
    assert not (tmp_path / "reports").exists()


def test_a_layer_of_no_model_is_one_message(monkeypatch, tmp_path, capsys):
    assert command(monkeypatch, "tiny", "--layer", "fc", "--out", tmp_path / "reports") == 2
    assert "--layer fc needs --model" in capsys.readouterr().err
    assert not (tmp_path / "reports").exists()


@pytest.fixture
def fake_tools(monkeypatch, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("yosys", "sta"):
        tool = folder / name
        tool.write_text(f"#!{shutil.which('sh')}\necho {name} of a test\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.usefixtures("fake_tools")
@pytest.mark.parametrize(("text", "wanted"), [
    (LIBRARY.replace("ff (", "latch ("), "flip-flop"),
    (LIBRARY.replace('"1uW"', '"1 hp"'), "leakage_power_unit"),
    (None, "cannot be read"),
    ("", "not Liberty"),
])
def test_a_bad_library_is_one_message(monkeypatch, tmp_path, capsys, text, wanted):
    library = tmp_path / "some.lib"
    if text is not None:
        library.write_text(text)
    code = command(monkeypatch, "tiny", "--liberty", library, "--out", tmp_path / "reports")
    said = capsys.readouterr().err
    assert (code, said.count("\n")) == (2, 1)
    assert wanted in said


@pytest.mark.usefixtures("fake_tools")
def test_without_debian_s_library_another_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "OSU018", tmp_path / "none.lib")
    with pytest.raises(DataError, match="qflow-tech-osu018"):
        run.default_library(None)


@pytest.mark.usefixtures("fake_tools")
def test_an_unknown_block_is_one_message(monkeypatch, tmp_path, capsys):
    library = tmp_path / "some.lib"
    library.write_text(LIBRARY)
    assert command(monkeypatch, "tiny", "--liberty", library, "--block", "cell",
                   "--out", tmp_path) == 2
    assert "--block must be one of column, sub_macro, macro, tile" in capsys.readouterr().err


def test_modules_and_their_children():
    text = ("module a(x);\n  b first (\n    .x(x)\n  );\n  b second (\n    .x(x)\n  );\nendmodule\n"
            "\nmodule b(x);\nendmodule\n")
    known = modules(text)
    assert list(known) == ["a", "b"]
    assert children(known["a"], known) == {"b": 2}


def test_sram_density_follows_the_square_of_the_node():
    value, source = run.sram_density(260)
    assert value == pytest.approx(3.75 * 4)
    assert "IHP" in source


def record(**more):
    return {"block": "Macro", "count": 1, "area": 1000.0, "storage_area": 400.0, "flops": 7,
            "storage_bits": 64, "storage_area_as_sram": 240.0, "sram_bits": 0, "delay_ns": 5.0,
            "path_levels": 9, "path_start": "a", "path_end": "b", "default_energy_pj": 2.0,
            "default_power_mw": 0.4, **more}


def report(**more):
    workload = {"of": "Column", "count": 8, "mode": "2:8 G=2", "passes": 2,
                "workload": "some.layer, 2:8", "sparsity": 0.75, "cycles": 80,
                "activity": 0.1, "energy_pj": 5.5, "clock_pj": 1.5, "default_energy_pj": 4.4,
                "energy_per_mac_pj": 0.25}
    return json.loads(json.dumps({
        "command": "cimforge synth tiny", "commit": "abc", "sram": "so dense",
        "tools": {"yosys": "Yosys 1", "sta": "2"}, "library": {"name": "lib", "voltage": 1.8},
        "records": [record(), workload], **more}))


def test_the_page_says_what_the_json_says():
    page = synth_page(report())
    assert "| Macro | 1 | 1000 | 400 | 7 | 0 | 5.00 | 9 | 2.00 | 0.400 |" in page
    assert "40% of Macro" in page
    assert "As SRAM: 240 um2, if so dense." in page
    assert ("| 8 Column | some.layer, 2:8 | 75.0% | 2:8 G=2, 2 passes | 80 | 0.100 | 5.5 | 1.5 | "
            "0.250 | 4.4 |") in page


def test_the_page_leaves_out_what_is_not_known():
    page = synth_page(report(records=[record(
        delay_ns=0.0, default_power_mw=None, storage_area_as_sram=None)], sram=None))
    assert "| none | 9 | 2.00 | none |" in page
    assert "SRAM:" not in page
    assert "real workload" not in page
