"""Four readers of the emitted Verilog; warnings are errors (waivers: ``tb/lint.py``).

The full-size tile takes Verilator ten seconds and more; `serial`, `pair` and the baselines are made
of the same modules as at reduced size, and are read there.
"""

import pytest

from tb.designs import BASELINES, top_of, verilog
from tb.lint import iverilog_errors, slang_errors, verilator_warnings, yosys_errors

TOP = "dcim_tile"
SMALL = ["tile/tiny", "tile/narrow", "tile/tiny_pair", "tile/single", "tile/wide"]
REDUCED = [f"tile/{name}-8x8" for name in ("serial", "pair", *BASELINES)]
ANALOG = [f"analog/{name}" for name in ("tiny", "small", "shared", "m32")]
SOC = ["soc/tiny", "soc/narrow", "soc/tiny_pair", "soc/single", "analog_soc/tiny"]
EVERY = [*SMALL, *REDUCED, "tile/default", *ANALOG, *SOC]

GOOD = """module dcim_tile(clk, a, y);
  input clk;
  input a;
  output y;
  reg y;
  always @(posedge clk) y <= a;
endmodule
"""
# What is broken, by the gate that must see it.
BROKEN = {
    "an unused port": (verilator_warnings, GOOD.replace("y <= a", "y <= 1'b1")),
    "an unused register": (verilator_warnings, GOOD.replace("  reg y;", "  reg y;\n  reg z;")),
    "a latch": (verilator_warnings, GOOD.replace("@(posedge clk)", "@* if (clk)")),
    "no such module": (verilator_warnings, GOOD.replace("reg y;", "reg y; nothing u();")),
    "bad syntax": (slang_errors, GOOD.replace("y <= a;", "y <= ;")),
    "unknown name": (slang_errors, GOOD.replace("y <= a;", "y <= b;")),
    "no such instance": (slang_errors, GOOD.replace("reg y;", "reg y; nothing u();")),
}
BROKEN_DEBIAN = {
    "bad syntax": (iverilog_errors, GOOD.replace("y <= a;", "y <= ;")),
    "no such module": (iverilog_errors, GOOD.replace("reg y;", "reg y; nothing u();")),
    "two drivers": (yosys_errors, GOOD.replace("reg y;", "wire y; assign y = a; assign y = clk;")
                    .replace("always @(posedge clk) y <= a;", "")),
    "a loop": (yosys_errors, GOOD.replace("reg y;", "wire y; assign y = ~y;")
               .replace("always @(posedge clk) y <= a;", "")),
    "missing child": (yosys_errors, GOOD.replace("reg y;", "reg y; nothing u();")),
}


@pytest.mark.verilator
@pytest.mark.parametrize("name", EVERY)
def test_verilator_wall(name):
    assert not verilator_warnings(verilog(name), top_of(name))


@pytest.mark.parametrize("name", EVERY)
def test_slang(name):
    assert not slang_errors(verilog(name), top_of(name))


@pytest.mark.debian("iverilog")
@pytest.mark.parametrize("name", EVERY)
def test_icarus(name):
    assert not iverilog_errors(verilog(name), top_of(name))


@pytest.mark.debian("yosys")
@pytest.mark.parametrize("name", [*SMALL, *REDUCED, "tile/default", *SOC])
def test_yosys(name):
    assert not yosys_errors(verilog(name), top_of(name))


@pytest.mark.verilator
@pytest.mark.parametrize("what", BROKEN)
def test_gates_fail_on_what_is_broken(what):
    gate, text = BROKEN[what]
    assert gate(text, TOP)
    assert not gate(GOOD, TOP)


@pytest.mark.debian("iverilog", "yosys")
@pytest.mark.parametrize("what", BROKEN_DEBIAN)
def test_debian_gates_fail_on_what_is_broken(what):
    gate, text = BROKEN_DEBIAN[what]
    assert gate(text, TOP)
    assert not gate(GOOD, TOP)
