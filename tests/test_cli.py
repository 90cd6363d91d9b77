"""The command line: a caller's mistake is one message, exit code 2, and nothing half-written."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cimforge as cf
from cimforge.spec.pattern import NmPattern

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
    ("rows: [", r"bad\.yaml: not valid YAML"),
])
def test_bad_config(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    refused(cimforge("verilog", path, "-o", tmp_path / "rtl"), message)
    assert not (tmp_path / "rtl").exists()


def test_verilog_is_written_and_named(tmp_path):
    done = cimforge("verilog", "tiny", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dcim_tile.v").read_text().startswith(("/*", "module", "\n", "(*"))
    assert '"top": "dcim_tile"' in (tmp_path / "dcim_tile.json").read_text()


def test_program_with_a_flipped_byte(program):
    path = program / "program.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused(cimforge("sim", program), r"program\.bin")


def test_unknown_backend_and_layer(program):
    refused(cimforge("sim", program, "--backend", "fpga"),
            r"backend must be one of golden, cocotb, not 'fpga'")
    refused(cimforge("sim", program, "--layer", "conv*"), r"no layer matches 'conv\*'")


def test_sim_and_vectors(program, tmp_path):
    done = cimforge("sim", program)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"fc: \d+ cycles predicted\n", done.stdout)
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
