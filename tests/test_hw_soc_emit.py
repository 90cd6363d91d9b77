"""The wrapper's Verilog: ports as the description says, the same bytes every time."""

import re

import pytest
from hw_support import BASE, SMALLEST, WIDEST
from test_hw_emit import digests_of_hash_seeds, module_ports

from cimforge.spec import registers as contract
from cimforge.spec.errors import ConfigError
from cimforge.spec.yaml_config import load_analog_config, load_config
from cimforge_hw.emit import emit_soc
from cimforge_hw.soc.block import tdata_bytes

CONFIGS = {"dcim_soc": load_config("tiny").replace(acc_bits=20, out_port=1, max_k=16),
           "analog_soc": load_analog_config("tiny")}


@pytest.mark.parametrize("top", CONFIGS)
def test_description_and_verilog_have_the_same_ports(top):
    made = emit_soc(CONFIGS[top])
    assert made.top == top
    told = {name: (port["direction"], port["width"])
            for name, port in made.sidecar["ports"].items()}
    assert told == module_ports(made.verilog, top)
    modules = re.findall(r"^module (\w+)", made.verilog, re.MULTILINE)
    assert sorted(modules) == sorted(made.sidecar["modules"])
    assert all(name.startswith(top) for name in modules)
    for name, stream in made.sidecar["streams"].items():
        data, keep = (told[f"{stream['prefix']}_{part}"] for part in ("tdata", "tkeep"))
        ends = [f["offset"] + (f["count"] - 1) * f["stride"] + f["width"] for f in stream["fields"]]
        assert data[1] == 8 * keep[1], name
        assert data[1] - 7 <= max(ends) <= data[1], name
        assert data[0] == stream["direction"]


@pytest.mark.parametrize("config", [*CONFIGS.values(), BASE, SMALLEST, *WIDEST])
def test_streams_are_as_wide_as_the_contract_says(config):
    told = contract.tdata_bytes(config)
    assert told == {name: tdata_bytes(config, name) for name in (*contract.STREAMS, "results")}


def test_every_hash_seed_gives_the_same_bytes():
    digests = digests_of_hash_seeds(
        "from cimforge_hw.emit import emit_soc; "
        "from cimforge.spec.yaml_config import load_config; e = emit_soc(load_config('tiny'))")
    assert digests == digests[:1] * 3


def test_what_is_no_configuration_is_refused():
    with pytest.raises(ConfigError, match="config must be a DcimConfig or an AnalogConfig"):
        emit_soc("tiny")
    with pytest.raises(ConfigError, match="top must be a Verilog identifier, not 'a b'"):
        emit_soc(CONFIGS["dcim_soc"], "a b")
