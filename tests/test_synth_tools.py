"""The flow with yosys and OpenSTA on small blocks: areas add up, energies agree, sums are exact."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from cimforge.spec.errors import DataError, ToolError
from cimforge.spec.yaml_config import load_config
from cimforge.synth import yosys
from cimforge.synth.fanout import with_trees
from cimforge.synth.liberty import read_library
from cimforge.synth.netlist_text import netlist_verilog
from cimforge.synth.opensta import analyze
from cimforge.synth.power import EnergyModel
from cimforge.synth.run import OSU018, TILE, map_design, records_of
from cimforge.synth.workload import Workload, run_column
from cimforge_hw.emit import emit_tile

TINY = load_config("tiny")
SMALL = TINY.replace(rows=2, cols=2, weight_bits=4, act_bits=4, act_slice=4, max_k=512)

pytestmark = pytest.mark.debian("yosys", "sta", str(OSU018))


@pytest.fixture(scope="module")
def library():
    return read_library(OSU018)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("synth")


@pytest.fixture(scope="module")
def macro(library, root):
    return map_design(SMALL, library, "macro", root=root)


def test_blocks_compose_to_a_flat_macro(macro, library, root):
    flat = yosys.synthesize(emit_tile(SMALL, TILE).verilog, "cim_tile_macro", library, flat=True,
                            root=root)
    composed, whole = macro.blocks()["cim_tile_macro"], with_trees(flat)
    assert composed.flops == pytest.approx(flat.flops, rel=0.02)  # constants reach a few of them
    assert composed.area == pytest.approx(whole.area, rel=0.05)
    delays = [analyze(text, "cim_tile_macro", library, clocked=True).delay for text in
              (macro.timing_verilog("cim_tile_macro"), netlist_verilog(whole))]
    assert delays[0] == pytest.approx(delays[1], rel=0.1)


def test_storage_is_what_the_configuration_says(macro):
    blocks = macro.blocks()
    bits = SMALL.weight_banks * SMALL.rows * SMALL.unit_bits
    assert blocks["cim_tile_column"].storage_bits == bits
    assert blocks["cim_tile_column"].count == SMALL.sub_macros * SMALL.units
    assert blocks["cim_tile_macro"].storage_bits == bits * SMALL.sub_macros * SMALL.units
    assert 0 < blocks["cim_tile_macro"].storage_area < blocks["cim_tile_macro"].area


def test_records_of_a_macro(macro, library):
    records = records_of(macro, library, 180)
    top = records[-1]
    assert top["block"] == "Macro"
    assert top["delay_ns"] >= max(r["delay_ns"] for r in records if r["block"] == "Distribution")
    assert "column_0/" in top["path_end"]  # the slowest stage is in a column
    assert top["storage_area_as_sram"] < top["storage_area"]
    assert records_of(macro, library)[-1]["storage_area_as_sram"] is None


def test_area_is_what_yosys_says(macro, root):
    for module, block in macro.blocks().items():
        folder, = root.glob(f"{module}-" + "?" * 12)
        said = re.search(r"Chip area for .*?: ([\d.]+)", (folder / "area.txt").read_text())
        assert block.own_area - block.tree_area == pytest.approx(float(said[1]) if said else 0)


def test_a_second_run_maps_nothing(macro, library, root, monkeypatch):
    monkeypatch.setattr(yosys, "_run", None)
    again = map_design(SMALL, library, "macro", root=root)
    assert again.blocks() == macro.blocks()


def test_another_library_is_mapped_again(macro, library, root, monkeypatch, tmp_path):
    other = tmp_path / "other.lib"
    other.write_text(OSU018.read_text() + "\n/* another */\n")
    calls = []
    monkeypatch.setattr(yosys, "_run", lambda folder, top: calls.append(top) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        map_design(SMALL, read_library(other), "macro", root=root)
    assert calls


def test_a_design_that_is_no_verilog(library, root):
    with pytest.raises(ToolError, match="yosys cannot map broken"):
        yosys.synthesize("module broken(a);\n  nonsense\nendmodule\n", "broken", library, root=root)


def test_a_module_that_is_not_there(library, root):
    with pytest.raises(DataError, match="no module 'other'"):
        yosys.synthesize("module one(a);\nendmodule\n", "other", library, root=root)


def test_switching_energy_is_opensta_s(macro, library):
    for module in ("cim_tile_column", "cim_tile_merging"):
        netlist = macro.netlists[module]
        said = analyze(netlist_verilog(netlist), module, library, clocked="clk" in netlist.inputs,
                       activity=(0.3, 0.5))
        ours = EnergyModel(netlist).uniform(0.3)
        assert ours.switching == pytest.approx(said.switching, rel=0.01)
        assert netlist.leakage == pytest.approx(said.leakage, rel=0.01)


def test_internal_energy_is_half_of_opensta_s(library, tmp_path):
    """Debian's version charges a toggle with both edges; a chain of inverters shows just that."""
    chain = "".join(f"  INVX1 g{i} (.A(n{i}), .Y(n{i + 1}));\n" for i in range(20))
    wires = "".join(f"  wire n{i};\n" for i in range(1, 20))
    text = (f"module chain(n0, n20);\n  input n0;\n  output n20;\n{wires}{chain}endmodule\n")
    cells = {f"g{i}": {"type": "INVX1", "connections": {"A": [i + 2], "Y": [i + 3]}}
             for i in range(20)}
    path = tmp_path / "chain.json"
    path.write_text(json.dumps({"modules": {"chain": {
        "ports": {"n0": {"direction": "input", "bits": [2]},
                  "n20": {"direction": "output", "bits": [22]}},
        "cells": cells, "netnames": {}}}}))
    netlist = yosys.Netlist.load(path, "chain", library)
    said = analyze(text, "chain", library, clocked=False)
    assert EnergyModel(netlist).uniform(0.1).internal == pytest.approx(said.internal / 2, rel=0.02)
    assert said.levels == 20


def work(config, n, seed=5):
    """Return a random layer of three tiles that keeps to n of every M."""
    rng = np.random.default_rng(seed)
    blocks = 3 * (config.slots // n)
    low = -(1 << config.weight_bits - 1)
    weights = rng.integers(low, -low, (64, blocks, config.max_m))
    weights[:, :, n:] = 0
    weights = rng.permuted(weights, axis=2).reshape(64, -1)
    half = 1 << config.act_bits - 1
    return Workload("random", n, weights, rng.integers(-half, half, (5, weights.shape[1])))


@pytest.mark.parametrize("changes", [{}, {"act_slice": 1}, {"act_slice": 2, "weight_banks": 1}])
def test_a_column_s_netlist_computes_exact_sums(library, tmp_path, changes):
    config = SMALL.replace(**changes)
    netlist = map_design(config, library, "column", root=tmp_path).netlists["cim_tile_column"]
    for n in (1, config.max_m):
        sim = run_column(netlist, config, work(config, n))
        assert sim.cycles >= 15 * config.slices
        assert 0.01 < sum(sim.densities().values()) / len(sim.place) < 1


def test_one_exchanged_gate_is_noticed(macro):
    netlist = macro.netlists["cim_tile_column"]
    wrong = [replace(cell, kind="XNOR2X1") if cell.kind == "XOR2X1" else cell
             for cell in netlist.cells]
    with pytest.raises(DataError, match="computes other sums"):
        run_column(replace(netlist, cells=wrong), SMALL, work(SMALL, 2))


def test_weights_that_toggle_less_cost_less(macro):
    netlist = macro.netlists["cim_tile_column"]
    some = work(SMALL, SMALL.max_m)
    kept = [np.arange(some.weights.shape[1]) % 4 >= least for least in (0, 3, 4)]
    costs = [EnergyModel(netlist).energy(run_column(
        netlist, SMALL, replace(some, weights=some.weights * k)).densities()).total for k in kept]
    assert costs[0] > costs[1] > costs[2] > 0


@pytest.mark.parametrize("changed", [
    {"n": 1}, {"weights": np.zeros((63, 64), int)}, {"weights": np.zeros((64, 4), int)}])
def test_a_layer_that_does_not_fit(macro, changed):
    bad = replace(work(SMALL, 2), **changed)
    bad = replace(bad, inputs=np.zeros((5, bad.weights.shape[1]), int))
    with pytest.raises(DataError, match=r"has more than 1 weights|wanted at least 64 and 2"):
        run_column(macro.netlists["cim_tile_column"], SMALL, bad)


