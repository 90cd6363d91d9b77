"""The flow with yosys and OpenSTA on small blocks: areas add up, energies agree, sums are exact."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from cimforge.spec.errors import DataError, ToolError
from cimforge.spec.pattern import NmPattern
from cimforge.spec.yaml_config import load_config
from cimforge.synth import yosys
from cimforge.synth.fanout import with_trees
from cimforge.synth.liberty import read_library
from cimforge.synth.netlist_text import netlist_verilog
from cimforge.synth.opensta import analyze
from cimforge.synth.power import EnergyModel
from cimforge.synth.run import OSU018, TILE, map_design, records_of
from cimforge.synth.trace import trace
from cimforge.synth.workload import (
    opened,
    run_columns,
    run_distribution,
    run_macro,
    run_merging,
    run_sub_macros,
)
from cimforge_hw.emit import emit_tile
from cimforge_sw.compile import compile_layer

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


def test_blocks_compose_to_a_flat_macro(library, tmp_path):
    config = TINY.replace(cols=2)
    macro = map_design(config, library, "macro", root=tmp_path)
    flat = yosys.synthesize(emit_tile(config, TILE, synthesis=True).verilog, "cim_tile_macro",
                            library, flat=True, adder="cim_tile_full_adder", root=tmp_path)
    composed, whole = macro.blocks()["cim_tile_macro"], with_trees(flat)
    # Flat, what all columns hold alike is one: a slice is pending, it is the first, all compute.
    assert 0 <= composed.flops - flat.flops <= 3 * config.sub_macros * config.cols
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


def stimuli(config, n, seed=0, kept=None):
    """Return the cycles of a random layer that keeps n of every M, three tiles of it."""
    rng = np.random.default_rng(seed)
    low = -(1 << config.weight_bits - 1)
    mode = next(m for m in config.modes if (m.n, m.group) == (n, config.sub_macros))
    weights = rng.integers(low, -low, (config.cols, 3 * config.k_tile(mode) // mode.m, mode.m))
    weights[:, :, n:] = 0
    weights = rng.permuted(weights, axis=2).reshape(config.cols, -1)
    if kept is not None:
        weights *= np.arange(weights.shape[1]) % 4 >= kept
    half = 1 << config.act_bits - 1
    inputs = rng.integers(-half, half, (5, weights.shape[1]))
    program = compile_layer(config, "random", weights, NmPattern(n, mode.m), 5,
                            group=config.sub_macros, mode=f"{n}:{mode.m}")
    return list(trace(config, program, inputs))


@pytest.mark.parametrize("changes", [
    {}, {"act_slice": 1}, {"act_slice": 2, "weight_banks": 1}, {"adder_stages": 1},
    {"select": "pair"}, {"index_share": 2, "load_rows": 1},
    {"index_coding": "one_hot"}])
def test_a_column_s_netlist_computes_exact_sums(library, tmp_path, changes):
    config = SMALL.replace(**changes)
    netlist = map_design(config, library, "column", root=tmp_path).netlists["cim_tile_column"]
    for n in {mode.n for mode in config.modes}:
        if config.index_share > 1 and n < config.max_m:
            continue  # needs positions that columns share
        sim = run_columns(netlist, config, stimuli(config, n))
        assert sim.cycles >= 15 * config.slices
        assert 0.01 < sum(sim.densities().values()) / len(sim.place) < 1


def test_one_exchanged_gate_is_noticed(macro):
    netlist = macro.netlists["cim_tile_column"]
    kinds = {"NOR2X1": "NAND2X1", "NAND2X1": "NOR2X1"}
    chosen = next(cell for cell in netlist.cells if cell.kind in kinds)
    wrong = [replace(cell, kind=kinds[cell.kind]) if cell is chosen else cell
             for cell in netlist.cells]
    with pytest.raises(DataError, match="computes other sums"):
        run_columns(replace(netlist, cells=wrong), SMALL, stimuli(SMALL, 2))


@pytest.mark.parametrize("act_slice", [4, 1])
def test_every_block_of_a_macro_runs(library, root, act_slice):
    config = SMALL.replace(act_slice=act_slice)
    macro = map_design(config, library, "macro", root=root)
    cycles = stimuli(config, 2)
    for kind, run in (("sub_macro", run_sub_macros), ("distribution", run_distribution),
                      ("merging", run_merging), ("macro", run_macro)):
        netlist = macro.netlists[f"cim_tile_{kind}"]
        sim = run(netlist, config, cycles)
        energy = EnergyModel(opened(netlist)).energy(sim.densities())
        assert sim.cycles == sum(1 for cycle in cycles if cycle.lines is not None)
        assert energy.total > 0 or kind == "sub_macro"  # too small to have trees


def test_the_distribution_s_netlist_gives_the_lines_of_the_trace(macro):
    """So the lines that drive the other blocks are those that the network would give."""
    netlist = macro.netlists["cim_tile_distribution"]
    cycles = [cycle for cycle in stimuli(SMALL, 2) if cycle.lines is not None]
    for cycle in cycles[:4]:
        sim = run_distribution(netlist, SMALL, [cycle])
        for (p, row), _ in np.ndenumerate(cycle.lines[..., 0]):
            bits = sim.values[[sim.place[bit] for bit in netlist.outputs[f"line__{p}__{row}"]], 0]
            wanted = (cycle.lines[p, row][:, None] >> np.arange(SMALL.act_slice) & 1).ravel()
            assert np.array_equal(bits & np.uint64(1), wanted)


def test_weights_that_toggle_less_cost_less(macro):
    netlist = macro.netlists["cim_tile_column"]
    model = EnergyModel(netlist)
    costs = [model.energy(run_columns(netlist, SMALL, stimuli(SMALL, SMALL.max_m, kept=least))
                          .densities()).total for least in (0, 3, 4)]
    assert costs[0] > costs[1] > costs[2] > 0
