"""Tests marked ``debian("tool", ...)`` run only where Debian's tools are installed.

Elsewhere they are deselected and listed by name at the end, so that a green run still says what it
did not run. ``CIMFORGE_REQUIRE_DEBIAN=1`` makes a missing tool an error instead.
"""

import os
import shutil

import pytest

# Tests run small tensors beside compilers and simulators: with more threads than idle cores,
# torch's threads wait for each other and take five times as long. Before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

NOT_RUN = pytest.StashKey[list]()


def missing_tools(item):
    """Return the tools of an item's ``debian`` markers that are not on PATH, each once."""
    wanted = {}
    for marker in item.iter_markers("debian"):
        if not marker.args:
            raise pytest.UsageError(f"{item.nodeid}: debian() wants tool names, got none")
        wanted.update(dict.fromkeys(marker.args))
    return [tool for tool in wanted if shutil.which(tool) is None]


def pytest_collection_modifyitems(config, items):
    """Take out the tests whose Debian tools are missing."""
    absent = {item: tools for item in items if (tools := missing_tools(item))}
    config.stash[NOT_RUN] = [(item.nodeid, tools) for item, tools in absent.items()]
    if not absent:
        return
    if os.environ.get("CIMFORGE_REQUIRE_DEBIAN") == "1":
        tools = sorted({tool for tools in absent.values() for tool in tools})
        raise pytest.UsageError(
            f"CIMFORGE_REQUIRE_DEBIAN=1 wants {', '.join(tools)} on PATH for {len(absent)} tests; "
            "run `make apt` first"
        )
    config.hook.pytest_deselected(items=list(absent))
    items[:] = [item for item in items if item not in absent]


def pytest_terminal_summary(terminalreporter, config):
    """Name every test that did not run."""
    left_out = config.stash.get(NOT_RUN, [])
    if not left_out:
        return
    terminalreporter.section("not run (need `make apt`)")
    for nodeid, tools in left_out:
        terminalreporter.line(f"{nodeid}  (missing: {', '.join(tools)})")
