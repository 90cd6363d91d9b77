"""Sweeps on Dask as users start them: workers that die, other schedulers, Ctrl-C."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cimforge.spec.errors import ToolError
from cimforge.sweep.cluster import check_versions

ROOT = Path(__file__).resolve().parents[1]
#: 96 designs, and as many that cannot be, since 3 is no index_share.
GRID = """
models: [Llama-2-7B]
plans: ["3:8"]
tokens: [16]
axes:
  sub_macros: [2, 4]
  rows: [4, 8, 16]
  cols: [16, 24, 32, 48]
  act_slice: [4, 8]
  weight_banks: [1, 2]
  index_share: [1, 3]
"""
POINTS = 96
SMALL = """
models: [stdlib-llama]
plans: ["2:8"]
tokens: [4]
axes: {rows: [16, 32], cols: [8, 16]}
"""


def environment(*first):
    """Return the variables of a subprocess; what is in ``first`` is imported before the project."""
    return {"PYTHONPATH": ":".join([*map(str, first), *(str(ROOT / part) for part in
                                                        ("", "hw", "sw", "verif"))]),
            "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}


def heeds_ctrl_c():
    """Run in a child: SIGINT is ignored in what a background job starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def started(*arguments, env=None, cwd=ROOT):
    """Start a program in a session of its own, and leave nothing of it behind."""
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)], cwd=cwd, env=env or environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=heeds_ctrl_c)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def sweep(*arguments, env=None):
    """Run a sweep to its end; return exit code, output and errors."""
    with started("cimforge", "sweep", *arguments, env=env) as process:
        out, error = process.communicate(timeout=300)
        return process.returncode, out, error


def results(folder):
    return list(folder.glob("store/*/*.json"))


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """The sweep and the folder of an undisturbed run on one worker."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "grid.yaml").write_text(GRID)
    code, out, error = sweep(folder / "grid.yaml", "--workers", 1, "--out", folder / "whole")
    assert code == 0, error
    assert re.match(rf"{POINTS} points: {POINTS} measured in .*, 0 were there\n", out)
    assert "Traceback" not in error
    assert "Warning" not in error
    assert len(results(folder / "whole")) == POINTS
    return folder


def written(folder):
    """Return everything that a sweep wrote."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file()}


def workers_of(process):
    return [child for child in psutil.Process(process.pid).children()
            if "multiprocessing.spawn" in " ".join(child.cmdline())]


def wait_for(folder, least, process):
    """Return how many results there are, as soon as there are so many."""
    end = time.monotonic() + 200
    while (there := len(results(folder))) < least:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"{there} results"
        time.sleep(0.005)
    return there


def test_a_killed_worker_loses_nothing(grid, tmp_path):
    for attempt in range(3):  # on a busy machine this test may look too late
        folder = tmp_path / str(attempt)
        with started("cimforge", "sweep", grid / "grid.yaml", "--workers", 2, "--out",
                     folder) as process:
            wait_for(folder, POINTS // 4, process)
            victim, _ = workers_of(process)
            victim.send_signal(signal.SIGKILL)
            there = len(results(folder))
            out, error = process.communicate(timeout=300)
        assert not victim.is_running()
        assert process.returncode == 0, error
        assert out.startswith(f"{POINTS} points: {POINTS} measured in ")
        assert "Traceback" not in error
        assert written(folder) == written(grid / "whole")
        if POINTS // 4 <= there < POINTS * 3 // 4:
            return
    pytest.fail(f"killed only when {there} of {POINTS} results were there")


def test_ctrl_c_is_130_and_what_was_measured_stays(grid, tmp_path):
    with started("cimforge", "sweep", grid / "grid.yaml", "--workers", 2, "--out",
                 tmp_path) as process:
        wait_for(tmp_path, POINTS // 4, process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.endswith("cimforge: interrupted\n")
    assert "Traceback" not in error
    kept = len(results(tmp_path))
    assert POINTS // 4 <= kept < POINTS
    assert not (tmp_path / "sweep.json").exists()
    code, out, _ = sweep(grid / "grid.yaml", "--workers", 2, "--out", tmp_path)
    assert code == 0
    assert f": {POINTS - kept} measured in" in out
    assert written(tmp_path) == written(grid / "whole")


def test_a_rerun_starts_nothing_and_writes_the_same(grid, tmp_path):
    shutil.copytree(grid / "whole", tmp_path / "again")
    # an unreachable scheduler: nobody asks it
    code, out, error = sweep(grid / "grid.yaml", "--scheduler", "tcp://127.0.0.1:1", "--out",
                             tmp_path / "again")
    assert code == 0, error
    assert out.startswith(f"{POINTS} points: 0 measured, {POINTS} were there\n")
    assert written(tmp_path / "again") == written(grid / "whole")


@pytest.fixture
def small(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path / "small.yaml"


@contextlib.contextmanager
def scheduler(folder):
    """Start a scheduler; yield its address."""
    file = folder / "scheduler.json"
    with started("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", 0,
                 "--dashboard-address", "127.0.0.1:0", "--no-dashboard", "--scheduler-file",
                 file) as process:
        end = time.monotonic() + 60
        while not file.is_file():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
        yield json.loads(file.read_text())["address"]


def worker(address, folder, env=None):
    # not in the source tree, which would come before what env names
    return started("distributed.cli.dask_worker", address, "--nthreads", 1, "--no-nanny",
                   "--no-dashboard", "--local-directory", folder / "scratch", env=env,
                   cwd=folder)


def test_a_running_scheduler(small, tmp_path):
    with scheduler(tmp_path) as address, worker(address, tmp_path):
        code, out, error = sweep(small, "--scheduler", address, "--out", tmp_path / "there")
    assert code == 0, error
    assert "Warning" not in error
    assert out.startswith("4 points: 4 measured in ")
    assert sweep(small, "--workers", 1, "--out", tmp_path / "here")[0] == 0
    assert written(tmp_path / "there") == written(tmp_path / "here")


def refused(run, message):
    code, _, error = run
    assert code == 2, error
    assert "Traceback" not in error
    assert "Warning" not in error
    assert re.search(rf"^cimforge: .*{message}", error, re.MULTILINE), error


def test_a_scheduler_without_workers(small, tmp_path):
    with scheduler(tmp_path) as address:
        refused(sweep(small, "--scheduler", address, "--out", tmp_path / "out"),
                f"scheduler at {address} has no workers; start some with `dask worker {address}`")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("broken", "message"), [
    ("cimforge/__init__.py", "worker tcp:.* cannot run cimforge: .*not here.*; install the same"),
    ("cimforge/spec/timing.py", "worker tcp:.* has another version of cimforge"),
])
def test_workers_with_another_cimforge(small, tmp_path, broken, message):
    shutil.copytree(ROOT / "cimforge", tmp_path / "other" / "cimforge")
    path = tmp_path / "other" / broken
    path.write_text("raise ImportError('not here')\n" if "__init__" in broken
                    else path.read_text() + "\n# changed\n")
    with (scheduler(tmp_path) as address,
          worker(address, tmp_path, environment(tmp_path / "other"))):
        refused(sweep(small, "--scheduler", address, "--out", tmp_path / "out"), message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", ""])
def test_no_scheduler_there(small, tmp_path, address):
    refused(sweep(small, "--scheduler", address, "--out", tmp_path / "out"),
            f"no Dask scheduler answers at '{address}' .*; start one with `dask scheduler`")
    assert not (tmp_path / "out").exists()


def test_a_scheduler_that_goes_away(grid, tmp_path):
    with (scheduler(tmp_path) as address, worker(address, tmp_path),
          started("cimforge", "sweep", grid / "grid.yaml", "--scheduler", address, "--out",
                  tmp_path / "out") as process):
        wait_for(tmp_path / "out", 10, process)
        found = [each for each in psutil.process_iter(["cmdline"])
                 if str(tmp_path / "scheduler.json") in (each.info["cmdline"] or [])]
        assert len(found) == 1
        found[0].kill()
        _, error = process.communicate(timeout=120)
    refused((process.returncode, "", error), "the Dask scheduler went away; what was measured")
    assert 10 <= len(results(tmp_path / "out")) < POINTS


def nodes(**scheduler_packages):
    same = {"distributed": "2026.8.0", "python": "3.11.7.final.0"}
    return {"client": {"packages": same}, "scheduler": {"packages": {**same, **scheduler_packages}},
            "workers": {"tcp://w:1": {"packages": same}}}


def test_other_versions_are_refused():
    check_versions(nodes(python="3.11.2.final.0"))
    with pytest.raises(ToolError, match=r"the scheduler runs distributed 2020.1, but this is 2026"):
        check_versions(nodes(distributed="2020.1"))
    found = nodes()
    found["workers"]["tcp://w:1"] = {"packages": {"distributed": "2026.8.0", "python": "3.13.1.x"}}
    with pytest.raises(ToolError, match=r"tcp://w:1 runs python 3.13, but this is 3.11; Dask"):
        check_versions(found)
