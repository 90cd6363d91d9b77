"""Netlists by hand: what is lost is noticed, toggles and energy are what one counts on paper."""

import json
from collections import Counter

import pytest
from test_synth_liberty import LIBRARY

from cimforge.spec.errors import DataError
from cimforge.synth.activity import Simulator
from cimforge.synth.fanout import FANOUT, with_trees
from cimforge.synth.liberty import read_library
from cimforge.synth.netlist import Netlist
from cimforge.synth.netlist_text import STUB, netlist_verilog
from cimforge.synth.power import EnergyModel

BUFFER = """
  lu_table_template (slope) { variable_1 : total_output_net_capacitance; index_1 ("0, 10"); }
  cell (BUF) { area : 2; pin (A) { direction : input; capacitance : 4; }
    pin (Y) { direction : output; function : "A"; timing () { related_pin : "A";
      rise_transition (slope) { values ("1, 2"); } } } }
"""


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "small.lib"
    text = LIBRARY.replace('ff (IQ, IQN) { next_state : "D"', 'ff (IQ, IQN) { next_state : "(D)"')
    path.write_text(text.rstrip().removesuffix("}") + BUFFER + "}\n")
    return read_library(path)


def cell(kind, **pins):
    return {"type": kind, "connections": {name: [bit] for name, bit in pins.items()}}


def toggler():
    """Return a flip-flop that inverts itself: nets 2 = clk, 3 = q, 4 = d."""
    return {"ports": {"clk": {"direction": "input", "bits": [2]},
                      "q": {"direction": "output", "bits": [3]}},
            "cells": {"i": cell("INV", A=3, Y=4), "f": cell("DFF", CK=2, D=4, Q=3)},
            "netnames": {"q": {"bits": [3], "hide_name": 0}}}


def loaded(tmp_path, library, module, **others):
    path = tmp_path / "netlist.json"
    path.write_text(json.dumps({"modules": {"top": module, **others}}))
    return Netlist.load(path, "top", library)


def test_area_flops_and_counts(tmp_path, library):
    netlist = loaded(tmp_path, library, toggler())
    assert netlist.counts == {"DFF": 1, "INV": 1}
    assert (netlist.area, netlist.flops) == (7.5, 1)


@pytest.mark.parametrize("lost", ["i", "f"])
def test_a_removed_cell_is_noticed(tmp_path, library, lost):
    module = toggler()
    del module["cells"][lost]
    with pytest.raises(DataError, match="which nothing drives"):
        loaded(tmp_path, library, module)


def test_two_drivers_are_noticed(tmp_path, library):
    module = toggler()
    module["cells"]["j"] = cell("INV", A=2, Y=4)
    with pytest.raises(DataError, match="both drive net 4"):
        loaded(tmp_path, library, module)


def test_toggles_are_counted(tmp_path, library):
    sim = Simulator(loaded(tmp_path, library, toggler()))
    sim.clock()
    sim.forget()
    for _ in range(10):
        sim.clock()
    assert sim.densities()[3] == sim.densities()[4] == 1.0
    assert sim.densities()["0"] == 0.0


def test_a_loop_of_gates_is_an_error(tmp_path, library):
    module = toggler()
    module["cells"]["f"] = cell("BUF", A=4, Y=3)
    with pytest.raises(DataError, match="combinational loop"):
        Simulator(loaded(tmp_path, library, module))


@pytest.mark.parametrize("lanes", [0, 63, 65])
def test_lanes_are_whole_words(tmp_path, library, lanes):
    with pytest.raises(DataError, match="multiple of 64"):
        Simulator(loaded(tmp_path, library, toggler()), lanes)


def test_energy_by_hand(tmp_path, library):
    energy = EnergyModel(loaded(tmp_path, library, toggler())).uniform(0.5)
    half, unit = 1.2 ** 2 / 2, 2e-15  # half of V squared; farads, and joules, of the library
    assert energy.switching == pytest.approx(0.5 * half * (4 + 1) * unit)  # q on A, d on D
    assert energy.internal == pytest.approx(0.5 * (1 + 2 * 1 / 10) * unit)  # INV, one load of D
    assert energy.clock == pytest.approx(2 * 5 * unit)
    assert energy.clock_load == pytest.approx(2 * half * unit)
    assert energy.total == pytest.approx(energy.as_opensta + energy.clock_load)


def fanned(tmp_path, library, instances):
    """Return a flip-flop whose output goes to instances of another module."""
    module = toggler()
    module["cells"] |= {f"u{i}": cell("leaf", x=3) for i in range(instances)}
    leaf = {"ports": {"x": {"direction": "input", "bits": [2]}}, "cells": {}, "netnames": {}}
    return loaded(tmp_path, library, module, leaf=leaf)


def test_registers_and_gates_get_trees(tmp_path, library):
    module = toggler()
    for source, net in (("q", 3), ("d", 4)):  # a register's, a gate's
        module["cells"] |= {f"{source}{i}": cell("INV", A=net, Y=100 + 50 * net + i)
                            for i in range(20)}
    before = loaded(tmp_path, library, module)
    after = with_trees(before)
    after.drivers()  # raises where two cells drive a net: no tree takes a number that is taken
    loads = Counter(c.pins[name][0] for c in after.cells for name in ("A", "D") if name in c.pins)
    assert max(loads.values()) <= FANOUT
    assert len(after.cells) == len(before.cells) + 4


@pytest.mark.parametrize("instances", [7, 8, 65, 200])
def test_trees_bound_every_load_and_lose_none(tmp_path, library, instances):
    before = fanned(tmp_path, library, instances)
    after = with_trees(before)
    after.check()
    loads = Counter(bit for i in (*after.cells, *after.others) for name, bits in i.pins.items()
                    if name in ("A", "D", "x") for bit in bits)
    assert max(loads.values()) <= FANOUT
    source = {c.pins["Y"][0]: c.pins["A"][0] for c in after.cells if c.kind == "BUF"}
    for leaf in after.others:
        bit = leaf.pins["x"][0]
        while bit in source:
            bit = source[bit]
        assert bit == 3
    assert (after.area > before.area) == (instances + 1 > FANOUT)
    assert before.area == 7.5  # the given netlist is as it was


def test_only_the_first_of_equal_instances_is_spelled_out(tmp_path, library):
    text = netlist_verilog(fanned(tmp_path, library, 3), once=["leaf"])
    assert text.count("  leaf u") == 1
    assert text.count(f"  leaf{STUB} u") == 2
    assert "  DFF q_0_r1 (.CK(clk), .D(n4), .Q(q));" in text


def test_toggles_need_a_flat_netlist(tmp_path, library):
    with pytest.raises(DataError, match="leaf is no cell of the library"):
        Simulator(fanned(tmp_path, library, 1))


def test_storage_is_flip_flops_and_the_gates_only_they_need(tmp_path, library):
    module = toggler()
    module["cells"] |= {"w": cell("DFF", CK=2, D=6, Q=5), "g": cell("INV", A=7, Y=6),
                        "h": cell("INV", A=4, Y=7), "r": cell("INV", A=5, Y=8)}
    module["netnames"] |= {"cell_0_bank_1": {"bits": [5], "hide_name": 0}}
    module["ports"]["y"] = {"direction": "output", "bits": [8]}
    stored = loaded(tmp_path, library, module).storage(r"cell_\d+_bank_\d+")
    assert sorted(c.name for c in stored) == ["g", "h", "w"]  # not "r", which reads it
