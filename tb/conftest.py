"""What the files that start benches share: builds ahead of the tests, and missing tools."""

import json
import multiprocessing
import os
import zlib
from concurrent.futures import Future, ProcessPoolExecutor

import pytest

from cimforge_verif.sim.analog import simulate_analog
from cimforge_verif.sim.run import run
from cimforge_verif.sim.toolchain import missing_tools
from tb.designs import BUILDS, analog_config_of, build_design, config_of, top_of, verilog

#: Environment variable with the configuration of a block, as JSON.
CONFIG_VARIABLE = "CIMFORGE_CONFIG"


def pytest_collection_modifyitems(items):
    """Say before the first build what is missing, once, instead of failing in every test."""
    if any(item.get_closest_marker("verilator") for item in items):
        missing = missing_tools()
        if missing:
            raise pytest.UsageError("simulation needs " + "; ".join(missing))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Fail what is skipped: a bench that did not run has shown nothing."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and nothing here may be: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def builds():
    """Folder of the cached builds."""
    return BUILDS


@pytest.fixture(scope="session")
def pending_builds(request):
    """Start the builds of all collected tests, a process per core, in the order of the tests."""
    designs = [item.callspec.params["design"] for item in request.session.items
               if hasattr(item, "callspec") and "design" in item.callspec.params]
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        yield {design: pool.submit(build_design, design) for design in dict.fromkeys(designs)}
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def simulator(pending_builds: dict[str, Future], design: str):
    """Folder of the simulator of this test's ``design``."""
    return pending_builds[design].result()


@pytest.fixture
def run_block(simulator, design):
    """Run the bench of a block; returns what :func:`cimforge_verif.sim.run.run` does."""
    block, _, name = design.partition("/")

    def start(bench: str = f"tb.{block}_bench", **options):
        env = {CONFIG_VARIABLE: json.dumps(config_of(name).to_dict())}
        result = run(simulator, bench, top_of(design), env=env, timeout_s=120, **options)
        print(f"{design}: {len(result.tests)} tests, seed {result.seed}")
        return result

    return start


@pytest.fixture
def config(design):
    """Configuration of the analog tile of this test's ``design``."""
    return analog_config_of(design.partition("/")[2])


@pytest.fixture
def simulate(simulator, design, config):
    """Run vectors on the analog tile of this test's ``design``."""
    def start(vectors, **options):
        seed = options.setdefault("seed", zlib.crc32(design.encode()))
        print(f"{design}: {len(vectors)} programs, seed {seed}")
        results = simulate_analog(config, {"analog_tile.v": verilog(design)}, vectors, root=BUILDS,
                                  **options)
        cycles, seconds = (sum(getattr(r, name) for r in results) for name in (
            "simulated", "seconds"))
        print(f"{design}: {cycles} cycles at {cycles / seconds:.0f} per second")
        return results
    return start
