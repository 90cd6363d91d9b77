"""Tiles on a bus, against cocotbext-axi's masters and sink, and over the batch backend."""

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from cimforge.spec.registers import TileKind, kind_of
from cimforge_verif.batch.build import BUS, build_library
from cimforge_verif.batch.bus import BatchTransport
from cimforge_verif.compare import Mismatch
from cimforge_verif.driver import CHANNELS, TileDriver, complete
from cimforge_verif.sim.build import build
from cimforge_verif.sim.jobs import counter_errors
from cimforge_verif.sim.run import SimulationError, run
from tb.bfm.soc import compare, model
from tb.bfm.soc_scenario import scenario
from tb.designs import BUILDS, config_of_design, top_of, verilog
from tb.soc_faults import FAULTS, with_faults

pytestmark = pytest.mark.verilator

#: Transactions of the long test of each design; half as many beats.
DESIGNS = {"soc/narrow": 10_000, "analog_soc/tiny": 2_000}
#: What the faults are put into; asleep, they leave a third design.
FAULTY = "soc/tiny"
#: All tests but the one that only writes down what happened.
CHECKS = "^(?!.*every_transport)"


def start(folder, design, transactions=1000, **options):
    """Run the bench on a build."""
    return run(folder, "tb.soc_bench", top_of(design), timeout_s=600, env={
        "CIMFORGE_CONFIG": json.dumps(config_of_design(design).to_dict()),
        "CIMFORGE_TRANSACTIONS": str(transactions)}, **options)


def transport_of(design):
    """Return the batch backend's transport to a design."""
    top = top_of(design)
    library = build_library({f"{top}.v": verilog(design)}, top, kind=BUS, root=BUILDS)
    return BatchTransport(library, config_of_design(design))


@pytest.mark.parametrize("design", DESIGNS)
def test_soc(simulator, design):
    """Registers, programs under stalls, malformed packets, errors, resets."""
    result = start(simulator, design, DESIGNS[design], test_filter=CHECKS)
    log = result.log.read_text(encoding="utf-8")
    done = re.search(r"(\d+) transactions: .*?(\d+) beats.*", log)
    print(f"{design}: {len(result.tests)} tests, seed {result.seed}; {done[0]}")
    assert min(int(done[1]), 2 * int(done[2])) >= DESIGNS[design]


@pytest.mark.parametrize("design", DESIGNS)
def test_the_driver_says_the_same_on_both_backends(simulator, design):
    """Packets, counters, beats, errors, flags: of good, illegal and malformed programs.

    Nothing stalls, so that the counters are the same to the cycle.
    """
    result = start(simulator, design, test_filter="every_transport")
    told = json.loads((result.folder / "told.json").read_text(encoding="utf-8"))
    driver = TileDriver(transport_of(design), config_of_design(design))
    assert json.loads(json.dumps(complete(scenario(driver, result.seed)))) == told
    assert len(told) == 30
    for key in ("counters", "error", "flags"):
        assert sum(key in one for one in told) >= 6
    assert any(any(map(len, one.get("packets", []))) for one in told)


@pytest.mark.parametrize("design", DESIGNS)
def test_many_programs_over_the_batch_backend(design):
    """Every channel stalls; results, work counters and beats are those of the golden model."""
    config, rng = config_of_design(design), np.random.default_rng(3)
    transport, made = transport_of(design), model(config)
    driver = TileDriver(transport, config)
    complete(driver.open())
    stalled = 0
    for n in range(100):
        transport.stall(dict.fromkeys(CHANNELS, (0.0, 0.3, 0.8)[n % 3]), seed=n)
        case = made.legal(rng)
        outcome = complete(driver.run(case.streams, 40_000))
        compare(outcome.packets, case)
        wanted = {**case.counters, **({} if n % 3 else {"stall": 0})}
        assert not counter_errors(outcome.counters, wanted, stalled=bool(n % 3))
        stalled += outcome.counters["stall"] > 0
        sent = {name: len(beats) for name, beats in case.streams.items()}
        assert complete(driver.beats()) == {**sent, "results": len(case.results)}
        complete(driver.clear())
        made.clear()
    assert stalled > 50
    kind = "digital" if kind_of(config) is TileKind.DIGITAL else "analog"
    print(f"{kind}: {transport.accesses} accesses, {transport.cycles} cycles")


@cache
def faulty() -> Path:
    """Return the build whose faults are chosen by an argument of the simulator."""
    return build({"dcim_soc.v": with_faults(verilog(FAULTY))}, "dcim_soc", root=BUILDS)


def test_without_a_fault_the_build_with_faults_passes():
    result = start(faulty(), FAULTY, test_filter=CHECKS)
    names = {test.name for test in result.tests}
    for fault in FAULTS.values():
        assert any(fault.notices in name for name in names), fault.notices


@pytest.mark.parametrize("name", FAULTS)
def test_the_bench_notices(name):
    number, notices = list(FAULTS).index(name) + 1, FAULTS[name].notices
    with pytest.raises((Mismatch, SimulationError), match=f"(?s)tests failed.*{notices}"):
        start(faulty(), FAULTY, test_filter=notices, plusargs=(f"+fault={number}",), seed=1)
