"""What the emitter makes of the analog tile: the same bytes every time, every module once."""

import json
import re

import pytest
from hw_analog_bench import OTHER, SMALLEST, TINY, analog_ids
from test_hw_emit import digests_of_hash_seeds, module_ports, unpacked

from cimforge.spec.analog.commands import AnalogError, Drive, encode
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import ConfigError
from cimforge_hw.emit import emit_analog_tile

CONFIGS = [TINY, SMALLEST, OTHER]
_CACHE: dict[AnalogConfig, object] = {}


def emission(config):
    """Return what the emitter makes of a configuration, made once."""
    if config not in _CACHE:
        _CACHE[config] = emit_analog_tile(config)
    return _CACHE[config]


def test_every_hash_seed_gives_the_same_bytes():
    digests = digests_of_hash_seeds(
        "from cimforge_hw.emit import emit_analog_tile; "
        "from cimforge.spec.yaml_config import load_analog_config; "
        "e = emit_analog_tile(load_analog_config('tiny'))")
    assert digests == digests[:1] * 3


@pytest.mark.parametrize("config", CONFIGS, ids=analog_ids)
def test_sidecar_and_verilog_agree(config):
    made = emission(config)
    told = {name: (port["direction"], port["width"])
            for name, port in made.sidecar["ports"].items()}
    assert told == module_ports(made.verilog, "analog_tile")
    modules = re.findall(r"^module (\w+)", made.verilog, re.MULTILINE)
    assert sorted(modules) == sorted(made.sidecar["modules"])
    assert len(set(modules)) == len(modules)
    used = set(re.findall(r"^  (\w+) \\?\w+ ?\($", made.verilog, re.MULTILINE))
    assert used & set(modules) == set(modules) - {"analog_tile"}
    assert made.sidecar["parameters"] == config.to_dict()
    assert made.sidecar["config_digest"] == config.digest
    assert made.sidecar["errors"] == {str(int(code)): code.name for code in AnalogError}
    assert "macro_latency" not in made.sidecar
    assert json.loads(json.dumps(made.sidecar)) == made.sidecar


def test_one_column_is_written_however_many_there_are():
    columns = [len(re.findall(r"^  analog_tile_column ", emission(config).verilog, re.MULTILINE))
               for config in CONFIGS]
    assert columns == [config.array for config in CONFIGS]
    arrays = re.findall(r"^  analog_tile_array array_\d+ ", emission(OTHER).verilog, re.MULTILINE)
    assert len(arrays) == OTHER.arrays


def test_memories_have_no_initial_contents():
    text = emission(TINY).verilog
    memories = re.findall(r"^  reg (?:\[\d+:0\] )?(\S+) \[\d+:0\];", text, re.MULTILINE)
    assert len(memories) > 4
    assert "$readmem" not in text
    for block in re.findall(r"^  initial begin\n.*?^  end", text, re.MULTILINE | re.DOTALL):
        assert not any(f"{name}[" in block for name in memories)


def test_the_fields_of_the_streams_are_where_the_sidecar_says():
    streams = emission(OTHER).sidecar["streams"]
    ports = emission(OTHER).sidecar["ports"]
    for stream in streams.values():
        width = ports[stream["payload"]]["width"]
        assert width == max(f["offset"] + (f["count"] - 1) * f["stride"] + f["width"]
                            for f in stream["fields"])
    drive = Drive(array=2, row_mask=5, col_mask=9, src=77, dst=99, bits=3, src_rotation=4,
                  dst_block=2, round=True, depends=300)
    found, = unpacked(encode([drive]), streams["commands"]["fields"])
    for name, value in (("array", 2), ("row_mask", 5), ("src", 77), ("src_rotation", 4),
                        ("dst_block_log2", 1), ("round", 1), ("depends", 300)):
        assert found[name] == [value]
    assert [f["name"] for f in streams["results"]["fields"]] == ["lane", "last"]
    assert [(f["name"], f["count"], f["signed"]) for f in streams["weights"]["fields"]] == [
        ("weight", OTHER.port, True)]
    assert [f["name"] for f in streams["acts"]["fields"]] == ["activation"]


def test_a_top_that_is_no_name_is_refused():
    with pytest.raises(ConfigError, match="top must be a Verilog identifier"):
        emit_analog_tile(TINY, "a b")
