"""A four-state simulator runs the exported files: whatever a memory held, no result is unknown.

Verilator has two states, so only here a lane that nothing ever wrote would show.
"""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from compile_interpreter import random_acts
from hw_deliberate import with_bug

from cimforge.spec.commands import Compute, LoadActs
from cimforge.spec.pattern import NmPattern
from cimforge.spec.yaml_config import load_config
from cimforge_hw.dcim.activation_buffer import ActivationBuffer
from cimforge_hw.emit import emit_tile
from cimforge_sw.compile import compile_layer
from cimforge_verif.vectors import make_vectors

BENCH = Path(__file__).resolve().parents[1] / "tb" / "dcim_tile_tb.v"
TINY = load_config("tiny").replace(act_port_bits=32)
CONFIGS = {"line": TINY, "serial": TINY.replace(act_slice=1, out_port=2),
           "pair": TINY.replace(select="pair", sub_macros=4, rows=2, load_rows=1, out_port=2,
                                act_slice=4, max_m=8)}
TOP = "my_tile"

pytestmark = pytest.mark.debian("iverilog")


def layer_with_tails(config):
    """Compile a layer whose last window needs fewer beats, and not the whole of the last one."""
    rng = np.random.default_rng(40)
    weight = rng.integers(-99, 99, (7, 41))
    weight[:, np.arange(41) % 4 >= 2] = 0
    layer = compile_layer(config, "tails", weight, NmPattern(2, 4), 3)
    loads = {command.beats for command in layer.commands if isinstance(command, LoadActs)}
    assert min(loads) < config.window_beats
    assert layer.inputs % config.act_lanes
    assert sum(isinstance(command, Compute) for command in layer.commands) > 2
    return make_vectors(config, layer, random_acts(rng, config, 3, 41))


def icarus(config, folder, changed=None):
    """Run the exported vectors, one bit of a file changed if told to; return what is printed."""
    vectors = layer_with_tails(config)
    paths = vectors.export_hex(folder)
    if changed:
        first, rest = paths[changed].read_text().split("\n", 1)
        paths[changed].write_text(f"{first[:-1]}{int(first[-1], 16) ^ 1:x}\n{rest}")
    emission = emit_tile(config, TOP)
    emission.write(folder)
    shutil.copy(BENCH, folder)
    macros = {"TOP": TOP, "CYCLES": vectors.counters["cycles"], "COMMANDS": len(vectors.words),
              "WEIGHTS": len(vectors.weights), "ACTS": len(vectors.acts),
              "RESULTS": len(vectors.results)}
    for name, stream in (("WEIGHT", "weights"), ("ACT", "acts"), ("RESULT", "results")):
        port = emission.sidecar["streams"][stream]["payload"]
        macros[f"{name}_BITS"] = emission.sidecar["ports"][port]["width"]
    arguments = [f"-D{name}={value}" for name, value in macros.items()]
    for command in (["iverilog", "-g2005", "-o", "tb.vvp", *arguments, BENCH.name, f"{TOP}.v"],
                    ["vvp", "-n", "tb.vvp"]):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120,
                              check=True)
    return done.stdout


@pytest.mark.parametrize("name", CONFIGS)
def test_exported_files_in_plain_verilog(name, tmp_path):
    said = icarus(CONFIGS[name], tmp_path)
    assert said.startswith("PASS: "), said


def test_lanes_that_nothing_wrote_are_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(ActivationBuffer, "_memory", with_bug(
        ActivationBuffer._memory, "first | (beat == i)", "beat == i"))
    said = icarus(CONFIGS["line"], tmp_path)
    assert "FAIL: " in said
    assert "xx" in said.lower()


@pytest.mark.parametrize("name", ["results", "acts", "weights"])
def test_a_changed_file_is_seen(tmp_path, name):
    assert "FAIL: " in icarus(TINY, tmp_path, changed=name)
