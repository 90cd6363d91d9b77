"""The command line: a caller's mistake is one message, exit code 2, and nothing half-written."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sw_checkpoints import save_tiny

import cimforge as cf
from cimforge import bench, cli
from cimforge.spec.pattern import NmPattern
from cimforge_verif.compare import Mismatch
from cimforge_verif.sim import layers as sim_layers
from cimforge_verif.sim.run import SimulationError

ROOT = Path(__file__).resolve().parents[1]


class Layer:
    """What the compiler needs of a layer."""

    def __init__(self, weight):
        self.weight, self.pattern = weight, NmPattern(2, 4)


def cimforge(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "cimforge", *map(str, arguments)], cwd=ROOT, check=False,
        env={"PYTHONPATH": ".:hw:sw:verif", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin",
             **environment},
        capture_output=True, text=True)


@pytest.fixture
def program(tmp_path):
    """Folder with a program of one 2:4 layer for the tiny tile."""
    weight = np.tile(np.array([3, 0, 0, -5], dtype=np.int8), (6, 4))
    made = cf.compile({"fc": Layer(weight)}, cf.load_config("tiny"), tokens=3)
    cf.save_program(made, tmp_path / "program")
    return tmp_path / "program"


def refused(done, message):
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(message, done.stderr.replace("\n", " ")), done.stderr


def test_unknown_preset(tmp_path):
    refused(cimforge("verilog", "huge", "-o", tmp_path / "rtl"),
            r"^cimforge: no preset named 'huge'; there are default, dense, .*tiny")
    assert not (tmp_path / "rtl").exists()


@pytest.mark.parametrize(("text", "message"), [
    ("rows: 3", r"bad\.yaml: rows must be a power of two, not 3"),
    ("rowz: 4", r"bad\.yaml: unknown parameter\(s\): rowz"),
    ("- rows", r"bad\.yaml: expected parameters as 'name: value'"),
    ("cols: 4\nrows: [", r"bad\.yaml: not valid YAML: line 2: expected the node content"),
    ("rows: 4\nrows: 8", r"bad\.yaml: 'rows' is given twice \(line 2\)"),
])
def test_bad_config(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    refused(cimforge("verilog", path, "-o", tmp_path / "rtl"), message)
    assert not (tmp_path / "rtl").exists()


def test_verilog_is_written_and_named(tmp_path):
    done = cimforge("verilog", "tiny", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\nmodule dcim_tile(" in (tmp_path / "dcim_tile.v").read_text()
    assert '"top": "dcim_tile"' in (tmp_path / "dcim_tile.json").read_text()


def test_verilog_of_the_analog_tile(tmp_path):
    done = cimforge("verilog", "tiny", "--analog", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\nmodule analog_tile(" in (tmp_path / "analog_tile.v").read_text()
    assert '"top": "analog_tile"' in (tmp_path / "analog_tile.json").read_text()
    refused(cimforge("verilog", "huge", "--analog", "-o", tmp_path / "rtl"),
            "no preset named 'huge'; there are default, minilm, paper, tiny")


@pytest.mark.parametrize(("option", "top"), [((), "dcim_soc"), (("--analog",), "analog_soc")])
def test_verilog_of_a_tile_on_a_bus(tmp_path, option, top):
    done = cimforge("verilog", "tiny", "--soc", *option, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"\nmodule {top}(" in (tmp_path / f"{top}.v").read_text()
    told = json.loads((tmp_path / f"{top}.json").read_text())
    assert told["streams"]["results"]["prefix"] == "m_axis_results"
    assert told["register_map"]["registers"]["CONTROL"]["fields"]["SOFT_RESET"] == [2, 1]
    assert told["errors"]["1"] == "OPCODE"
    assert "CIMFORGE_CONTROL_OFFSET 0x20u" in (tmp_path / "cimforge_regs.h").read_text()
    told = [f"{path}: {path.stat().st_size} bytes"
            for path in (tmp_path / f"{top}.v", tmp_path / f"{top}.json",
                         tmp_path / "cimforge_regs.h")]
    assert done.stdout.splitlines() == told


def test_a_bus_around_what_cannot_be(tmp_path):
    for option, presets in (((), "default"), (("--analog",), "default, minilm, paper, tiny")):
        refused(cimforge("verilog", "huge", "--soc", *option, "-o", tmp_path / "rtl"),
                f"no preset named 'huge'; there are .*{presets}")
    bad = tmp_path / "bad.yaml"
    bad.write_text("base: tiny\nrows: 3\n")
    refused(cimforge("verilog", bad, "--soc", "-o", tmp_path / "rtl"),
            r"bad\.yaml: rows must be a power of two, not 3")
    refused(cimforge("verilog", bad, "--soc", "--analog", "-o", tmp_path / "rtl"), r"bad\.yaml")
    assert not (tmp_path / "rtl").exists()
    refused(cimforge("verilog", "tiny", "--soc", "-o", bad), "bad.yaml")


def test_program_with_a_flipped_byte(program):
    path = program / "program.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused(cimforge("sim", program), r"program\.bin")


def test_unknown_backend_and_layer(program):
    refused(cimforge("sim", program, "--backend", "fpga"),
            r"backend must be one of golden, cocotb, batch, not 'fpga'")
    refused(cimforge("sim", program, "--layer", "conv*"), r"no layer matches 'conv\*'")


def test_sim_and_vectors(program, tmp_path):
    done = cimforge("sim", program)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"fc: golden, \d+ cycles predicted\n", done.stdout)
    done = cimforge("vectors", program, "--out", tmp_path / "v", "--readmemh")
    assert done.returncode == 0, done.stderr
    again = cf.load_vectors(tmp_path / "v" / "fc", cf.load_config("tiny"))
    assert len(again.results)
    assert list((tmp_path / "v" / "fc").glob("*.hex"))


def test_vectors_of_another_configuration(program, tmp_path):
    assert cimforge("vectors", program, "--out", tmp_path).returncode == 0
    with pytest.raises(ValueError, match="made for"):
        cf.load_vectors(tmp_path / "fc", cf.load_config("default"))


def test_unknown_option_and_command(program):
    refused(cimforge("sim", program, "--fast"), "--fast")
    refused(cimforge("frobnicate"), "frobnicate")


def test_missing_checkpoint(tmp_path):
    refused(cimforge("compile", tmp_path / "nothing", "--out", tmp_path / "out"), "nothing")
    assert not (tmp_path / "out").exists()


def test_demo_without_a_compiler_stops_before_the_work(tmp_path):
    bare = tmp_path / "bin"
    bare.mkdir()
    refused(cimforge("demo", "--out", tmp_path / "demo", PATH=str(bare)), r"g\+\+")
    assert not (tmp_path / "demo").exists()


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_tiny("bert", tmp_path_factory.mktemp("checkpoint") / "bert")


def test_ctrl_c_says_so_and_is_130():
    """A command of ours that waits: which one was interrupted makes no difference to main()."""
    code = ("import signal, sys, time\nfrom cimforge import cli\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # off in background jobs
            "@cli.app.command()\n"
            "def wait():\n    print('ready', flush=True)\n    time.sleep(60)\n"
            "sys.exit(cli.main())")
    with subprocess.Popen(
            [sys.executable, "-c", code, "wait"], cwd=ROOT, env={"PYTHONPATH": ".:hw:sw:verif"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        try:
            _, error = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert (process.returncode, error) == (130, "cimforge: interrupted\n")


def ended(code, tmp_path):
    """Return exit code and error stream of a program that interrupts itself."""
    setup = ("import signal, sys, cimforge.__main__ as entry\n"
             "signal.signal(signal.SIGINT, signal.default_int_handler)\n")
    done = subprocess.run(
        [sys.executable, "-c", setup + code, "wait"], cwd=ROOT, check=False, timeout=60,
        env={"PYTHONPATH": f".:hw:sw:verif:{tmp_path}"}, capture_output=True, text=True)
    return done.returncode, done.stderr


def test_ctrl_c_before_the_command_line_is_loaded(tmp_path):
    code = ("class Early:\n"
            "    def find_spec(self, name, *_):\n"
            "        if name == 'cimforge.cli':\n            raise KeyboardInterrupt\n"
            "sys.meta_path.insert(0, Early())\nsys.exit(entry.main())")
    assert ended(code, tmp_path) == (130, "cimforge: interrupted\n")


def test_ctrl_c_waits_for_an_import_to_end(tmp_path):
    """In the middle of one, it came out as an abort of torch or as a RecursionError."""
    (tmp_path / "slow_to_import.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(0.3)\n"
        f"open({str(tmp_path / 'whole')!r}, 'w').close()\n")
    code = ("from cimforge import cli\n"
            "@cli.app.command()\n"
            "def wait():\n    import slow_to_import, time\n    time.sleep(60)\n"
            "sys.exit(entry.main())")
    assert ended(code, tmp_path) == (130, "cimforge: interrupted\n")
    assert (tmp_path / "whole").exists()


def test_an_ignored_ctrl_c_stays_ignored(tmp_path):
    code = ("import os\nfrom cimforge import cli\n"
            "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
            "@cli.app.command()\n"
            "def wait():\n    os.kill(os.getpid(), signal.SIGINT)\n"
            "sys.exit(entry.main())")
    assert ended(code, tmp_path) == (0, "")


def main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["cimforge", *map(str, arguments)])
    return cli.main()


def test_rtl_that_differs_is_1_and_a_broken_simulation_2(program, monkeypatch, capsys):
    def fail(error):
        def simulate_layers(*_, **__):
            raise error
        monkeypatch.setattr(sim_layers, "simulate_layers", simulate_layers)
        return main(monkeypatch, "sim", program, "--backend", "cocotb")

    assert fail(Mismatch("fc: first difference at beat 0, lane 1")) == 1
    error = capsys.readouterr().err
    assert error.endswith("cimforge: mismatch: fc: first difference at beat 0, lane 1\n")
    assert fail(SimulationError("the simulator crashed")) == 2
    assert capsys.readouterr().err.endswith("cimforge: the simulator crashed\n")
    with pytest.raises(AssertionError, match="a bug"):  # no difference: nothing to hide
        fail(AssertionError("a bug"))


def test_a_full_disk_is_one_message(program, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "some/file")
    monkeypatch.setattr(sim_layers, "simulate_layers", full)
    assert main(monkeypatch, "sim", program, "--backend", "cocotb") == 2
    assert capsys.readouterr().err.endswith(
        "cimforge: [Errno 28] No space left on device: 'some/file'\n")


@pytest.mark.parametrize(("options", "message"), [
    (["sim", "--seed", "-1"], "'--seed'.*greater than or equal to 0|'--seed'.*x>=0"),
    (["vectors", "--out", "v", "--seed", "-1"], "'--seed'"),
    (["sim", "--stalls", "0.5"], "stalls must be 0 with backend 'golden'.*not 0.5"),
    (["sim", "--stalls", "1", "--backend", "cocotb"], "stalls must be a probability .*not 1"),
    (["sim", "--stalls", "nan", "--backend", "cocotb"], "stalls must be a probability .*not nan"),
    (["compile", "--tokens", "0"], "'--tokens'"),
])
def test_bad_numbers_are_refused_before_anything_is_read(tmp_path, options, message):
    refused(cimforge(options[0], tmp_path / "nothing", *options[1:]), message)
    assert not list(tmp_path.iterdir())


def test_outputs_that_cannot_be_written(program, bert, tmp_path):
    (tmp_path / "file").write_text("")
    for command in (["vectors", program], ["compile", tmp_path / "no model"], ["demo"],
                    ["verilog", "tiny"], ["bench"]):
        option = "-o" if command[0] == "verilog" else "--out"
        refused(cimforge(*command, option, tmp_path / "file" / "below"),
                r"cimforge: .*file/below.*: cannot be written: ")


def test_compile_finds_a_plan_and_a_tile_that_do_not_fit_before_calibration(bert, tmp_path):
    """The checkpoint has no tokenizer, so that calibration could not even begin."""
    plan = tmp_path / "plan.yaml"
    plan.write_text("default: 2:4\nlayers: {decoder.*: 4:8}\n")
    refused(cimforge("compile", bert, "--plan", plan, "--out", tmp_path / "out"),
            r"'decoder\.\*' matches none of 12 layers")
    config = tmp_path / "small.yaml"
    config.write_text("base: tiny\nmax_k: 32\n")
    refused(cimforge("compile", bert, "--config", config, "--out", tmp_path / "out"),
            r"output\.dense: the configuration takes at most max_k = 32 inputs, not 48")
    config.write_text("base: tiny\nmax_m: 1\nact_depth: 2\n")
    refused(cimforge("compile", bert, "--config", config, "--out", tmp_path / "out"),
            r"query: 32 inputs take at least 4 windows .* holds act_depth = 2")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("data", "message"), [
    (b"text\n\xff\xfe", r"texts: expected UTF-8 text, a text per line; byte 5 is 0xff"),
    (b"a\0b", "texts: expected UTF-8 text, a text per line, not binary data"),
    (b"\n \n", "texts: expected a text per line, but it has none"),
])
def test_calibration_texts_that_are_none(bert, tmp_path, data, message):
    (tmp_path / "texts").write_bytes(data)
    refused(cimforge("compile", bert, "--calib", tmp_path / "texts", "--out", tmp_path / "out"),
            message)


def test_compile_of_a_file(program):
    refused(cimforge("compile", program / "program.bin"),
            r"program\.bin: is a file; expected a Hugging Face checkpoint folder")


def test_bench_compares_free_patterns_on_both_selects():
    """Each column of 32 has a pattern of its own: as many steps, unless a denser mode is taken."""
    rows = {(what, unit): (value, baseline) for what, _, value, unit, baseline, *_ in
            bench.select_rows()}
    assert [what for what, unit in rows if unit == "steps"] == [
        "free 2:4, own mode 2:4 G=2", "free 2:4, fastest mode 1:1 G=2",
        "free 1:8, own mode 1:8 G=2", "free 1:8, fastest mode 1:2 G=2"]
    for (what, unit), (value, baseline) in rows.items():
        if unit == "steps":
            assert (value, baseline) == (32 if "own" in what else 1, 1)
        else:
            assert value > baseline * (6 if "own" in what else 1)
