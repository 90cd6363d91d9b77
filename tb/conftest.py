"""What the files that start benches share: where builds go, and one word about missing tools."""

from pathlib import Path

import pytest

from cimforge_verif.sim.toolchain import missing_tools

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items):
    """Say before the first build what is missing, once, instead of failing in every test."""
    if any(item.get_closest_marker("verilator") for item in items):
        missing = missing_tools()
        if missing:
            raise pytest.UsageError("simulation needs " + "; ".join(missing))


@pytest.fixture(scope="session")
def builds():
    """Folder of the cached builds."""
    return ROOT / "build" / "sim"
