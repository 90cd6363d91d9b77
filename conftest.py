"""Tests marked ``debian("tool", ...)`` run only where Debian's tools are installed.

A package of data has no command; the path of a file in it stands for one.

Elsewhere they are deselected and listed by name at the end, so that a green run still says what it
did not run. With ``CIMFORGE_REQUIRE_DEBIAN=1`` they fail instead.
"""

import os
import shutil
from pathlib import Path

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
    return [tool for tool in wanted if not is_there(tool)]


def is_there(tool):
    """Whether a command is on PATH, or a package's file is where its absolute path says."""
    return Path(tool).is_file() if Path(tool).is_absolute() else shutil.which(tool) is not None


def pytest_collection_modifyitems(config, items):
    """Take out the tests whose Debian tools are missing."""
    absent = {item: tools for item in items if (tools := missing_tools(item))}
    if not absent or os.environ.get("CIMFORGE_REQUIRE_DEBIAN") == "1":
        return
    config.stash[NOT_RUN] = [(item.nodeid, tools) for item, tools in absent.items()]
    config.hook.pytest_deselected(items=list(absent))
    items[:] = [item for item in items if item not in absent]


def pytest_runtest_setup(item):
    """Fail a test that is left in although its tools are missing."""
    if tools := missing_tools(item):
        pytest.fail(f"CIMFORGE_REQUIRE_DEBIAN=1 wants {', '.join(tools)} on PATH; "
                    "run `make apt` first", pytrace=False)


def pytest_sessionfinish(session):
    """Tell the process that started this one, if any, what was not run."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["not_run"] = session.config.stash.get(NOT_RUN, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take over what a worker of pytest-xdist did not run; every worker collects all tests."""
    found = getattr(node, "workeroutput", {}).get("not_run", [])
    node.config.stash[NOT_RUN] = found or node.config.stash.get(NOT_RUN, [])


def pytest_terminal_summary(terminalreporter, config):
    """Name every test that did not run."""
    left_out = config.stash.get(NOT_RUN, [])
    if not left_out:
        return
    terminalreporter.section("not run (need `make apt`)")
    for nodeid, tools in left_out:
        terminalreporter.line(f"{nodeid}  (missing: {', '.join(tools)})")
