"""What a build is named by, when it is made again, and which signals it keeps visible."""

import dataclasses
import multiprocessing
from pathlib import Path

import pytest

from cimforge.spec.errors import DataError, ToolError
from cimforge_verif.sim import build as module
from cimforge_verif.sim.build import STAMP, BuildPlan, build, read_rtl
from cimforge_verif.sim.control import control_file, module_ports
from cimforge_verif.sim.toolchain import Toolchain

VERILOG = """
/* module ghost(x); input x; endmodule */
module column_8(clk, line, sum);
  input clk;
  wire clk;
  (* keep = 1 *) input [63:0] line;
  output signed [18:0] sum, carry; // output [1:0] hidden;
  reg inputs;
endmodule
module top(input wire clk, input [3:0] a__payload, output reg \\z.odd );
endmodule
"""
PLAN = BuildPlan(top="top", sources=(("top.v", VERILOG),), arguments=("-O3",), control="",
                 make=(("OPT_FAST", "-O2"),), tools="verilator 5.48")


@pytest.fixture
def compiled(monkeypatch):
    """Replace the compiler; return the list of folders it was called for."""
    calls = []
    monkeypatch.setattr(module, "toolchain", lambda: Toolchain(Path("wheel"), "tools 1"))
    monkeypatch.setattr(module, "_compile", lambda plan, folder, tools: calls.append(folder))
    return calls


def test_ports_of_every_style_are_found():
    assert module_ports(VERILOG) == {"column_8": ["clk", "line", "sum", "carry"],
                                     "top": ["clk", "a__payload", "z.odd"]}


def test_control_file_lists_ports_of_the_top_and_of_chosen_modules():
    text = control_file([VERILOG], "top")
    assert text.splitlines()[0] == "`verilator_config"
    assert 'public_flat_rw -module "top" -var "a__payload"' in text
    assert "column" not in text
    text = control_file([VERILOG], "top", ["col*"])
    assert 'public_flat_rw -module "column_8" -var "line"' in text


@pytest.mark.parametrize("top", ["missing", "ghost"])
def test_control_file_refuses_an_unknown_top(top):
    with pytest.raises(DataError, match=f"no module '{top}'.* column_8, top"):
        control_file([VERILOG], top)


@pytest.mark.parametrize("change", [
    dict(top="other"), dict(sources=(("top.v", VERILOG + " "),)), dict(arguments=("-O1",)),
    dict(control="x"), dict(make=()), dict(tools="verilator 5.49"),
])
def test_digest_follows_everything_that_shapes_a_build(change):
    assert dataclasses.replace(PLAN, **change).digest != PLAN.digest
    assert dataclasses.replace(PLAN).name == PLAN.name


def test_a_build_is_made_once(tmp_path, compiled):
    first = build({"top.v": VERILOG}, "top", root=tmp_path)
    assert build({"top.v": VERILOG}, "top", root=tmp_path) == first
    assert compiled == [first]
    assert build({"top.v": VERILOG}, "top", root=tmp_path, lean=False) != first
    assert build({"top.v": VERILOG}, "top", root=tmp_path, defines={"A": 1}) != first


def test_an_interrupted_build_is_made_again(tmp_path, compiled):
    folder = build({"top.v": VERILOG}, "top", root=tmp_path)
    (folder / STAMP).unlink()
    (folder / "half.o").write_text("cut")
    assert build({"top.v": VERILOG}, "top", root=tmp_path) == folder
    assert compiled == [folder, folder]
    assert not (folder / "half.o").exists()


def test_a_failed_build_leaves_no_stamp(tmp_path, compiled, monkeypatch):
    def fail(plan, folder, tools):
        raise ToolError("no")
    monkeypatch.setattr(module, "_compile", fail)
    with pytest.raises(ToolError, match="no"):
        build({"top.v": VERILOG}, "top", root=tmp_path)
    assert not list(tmp_path.glob(f"*/{STAMP}"))


@pytest.mark.parametrize("root", ["/proc/none", "file", "file/below"])
def test_a_folder_that_cannot_be_written_is_one_error(tmp_path, compiled, root):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ToolError, match="builds cannot be written: "):
        build({"top.v": VERILOG}, "top", root=tmp_path / root)
    assert not compiled


def build_in_process(root, log):
    def compile_slowly(plan, folder, tools):
        with log.open("a") as file:
            file.write("x")
        multiprocessing.Event().wait(0.3)
    module.toolchain = lambda: Toolchain(Path("wheel"), "tools 1")
    module._compile = compile_slowly
    build({"top.v": VERILOG}, "top", root=root)


def test_two_processes_share_one_build(tmp_path):
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=build_in_process, args=(tmp_path / "b", tmp_path / "log"))
            for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "log").read_text() == "x"


def test_verilog_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="no Verilog"):
        read_rtl([])
    with pytest.raises(DataError, match="cannot read Verilog"):
        read_rtl([tmp_path / "none.v"])
