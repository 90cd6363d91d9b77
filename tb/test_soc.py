"""Tiles on a bus, against cocotbext-axi's masters and sink."""

import json

import pytest

from cimforge_verif.sim.run import run
from tb.designs import config_of_design, top_of

pytestmark = pytest.mark.verilator

DESIGNS = ["soc/tiny", "soc/narrow", "analog_soc/tiny"]


@pytest.mark.parametrize("design", DESIGNS)
def test_soc(simulator, design):
    """Registers, programs under stalls, malformed packets, errors, resets."""
    result = run(simulator, "tb.soc_bench", top_of(design), timeout_s=600,
                 env={"CIMFORGE_CONFIG": json.dumps(config_of_design(design).to_dict())})
    print(f"{design}: {len(result.tests)} tests, seed {result.seed}")
