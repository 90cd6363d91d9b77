"""Tiles on a bus, against cocotbext-axi's masters and sink."""

import json
import re

import pytest

from cimforge_verif.compare import Mismatch
from cimforge_verif.sim.build import build
from cimforge_verif.sim.run import SimulationError, run
from tb.designs import BUILDS, config_of_design, top_of, verilog

pytestmark = pytest.mark.verilator

DESIGNS = ["soc/tiny", "soc/narrow", "analog_soc/tiny"]

#: What is broken: the module, what its Verilog says, what instead, the tests that must notice.
BROKEN = {
    "done before the results have left": (
        "dcim_soc_control", r"assign done = [^;]*;", "assign done = close;", "ten_thousand"),
    "commands that nobody let in": (
        "dcim_soc_control", r"assign open = [^;]*;", "assign open = 1'h1;",
        "one_program_per_start"),
    "a cut packet stays open": (
        "dcim_soc", r"(dcim_soc_result_port results_port \([^;]*\.flush\()[^)]*\)", r"\g<1>1'h0)",
        "soft_reset_in_flight"),
    "the tile is never cleared": (
        "dcim_soc", r"(dcim_soc_dcim_tile tile \([^;]*\.clear\()[^)]*\)", r"\g<1>1'h0)",
        "illegal_programs"),
}


def start(folder, design, **options):
    """Run the bench on a build."""
    return run(folder, "tb.soc_bench", top_of(design), timeout_s=600,
               env={"CIMFORGE_CONFIG": json.dumps(config_of_design(design).to_dict())}, **options)


@pytest.mark.parametrize("design", DESIGNS)
def test_soc(simulator, design):
    """Registers, programs under stalls, malformed packets, errors, resets."""
    result = start(simulator, design)
    print(f"{design}: {len(result.tests)} tests, seed {result.seed}")


@pytest.mark.parametrize("what", BROKEN)
def test_the_bench_notices(what):
    module, old, new, tests = BROKEN[what]
    text = verilog("soc/tiny")
    body = re.search(rf"^module {module}\(.*?^endmodule", text, re.MULTILINE | re.DOTALL)[0]
    spoilt, count = re.subn(old, new, body)
    assert count == 1, f"{old} is {count} times in {module}"
    folder = build({"dcim_soc.v": text.replace(body, spoilt)}, "dcim_soc", root=BUILDS)
    with pytest.raises((Mismatch, SimulationError), match="tests failed"):
        start(folder, "soc/tiny", test_filter=tests)
