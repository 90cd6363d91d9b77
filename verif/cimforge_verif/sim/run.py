"""Runs a bench on a build, always under a wall-clock limit, and judges its results."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from cimforge.spec.errors import DataError, ToolError
from cimforge_verif.compare import Mismatch
from cimforge_verif.sim.build import STAMP, tail
from cimforge_verif.sim.toolchain import toolchain

__all__ = ["RunResult", "SimulationError", "TestOutcome", "read_results", "run"]

_POLL_S = 0.05
_COMPARISONS = ("AssertionError", "Mismatch")  # exceptions of a bench that found a difference


class SimulationError(ToolError):
    """A simulation that failed, ran nothing, crashed, or did not end in time."""


@dataclass(frozen=True)
class TestOutcome:
    """One test of a bench; ``message`` is empty where it passed, ``kind`` the exception's name."""

    __test__ = False  # not for pytest to collect

    name: str
    seconds: float
    message: str = ""
    kind: str = ""


@dataclass(frozen=True)
class RunResult:
    """A simulation in which every test passed.

    Attributes
    ----------
    tests : tuple of TestOutcome
    seed : int
        Give it to :func:`run` to repeat the run.
    folder : Path
        Working folder of the run.
    log : Path
    seconds : float
        Wall-clock time.
    """

    tests: tuple[TestOutcome, ...]
    seed: int
    folder: Path
    log: Path
    seconds: float


def run(build: Path, bench: str, top: str | None = None, *, env: Mapping[str, str] | None = None,
        seed: int | None = None, test_filter: str | None = None, timeout_s: float = 300.0,
        plusargs: Sequence[str] = (), watch: Callable[[], None] | None = None) -> RunResult:
    """Run the cocotb tests of a module on a finished build.

    Parameters
    ----------
    build : Path
        What :func:`cimforge_verif.sim.build.build` returned.
    bench : str
        Dotted name of the bench module.
    top : str, optional
        Module to simulate; the build's.
    env : mapping
        Additional environment of the bench.
    seed : int, optional
        Of cocotb; drawn, or taken from ``COCOTB_RANDOM_SEED``, if None.
    test_filter : str, optional
        Regular expression; only tests whose full name it finds are run.
    timeout_s : float
        Wall-clock limit. The simulator and all it started are killed then.
    plusargs : sequence of str
        Arguments of the simulator, such as ``+verilator+rand+reset+2``.
    watch : callable, optional
        Called about 20 times a second while the simulation runs, and once after it (for
        progress).

    Raises
    ------
    Mismatch
        A comparison or an assertion of a test failed: the design is wrong.
    SimulationError
        A test failed in another way, none ran, the simulator crashed or exceeded the limit.
        Both messages name the test, the seed and the log.
    DataError
        ``build`` is not a finished build.
    """
    build = Path(build).resolve()
    if not (build / STAMP).is_file():
        raise DataError(f"{build}: not a finished build")
    record = json.loads((build / STAMP).read_text(encoding="utf-8"))
    if seed is None:
        seed = int(os.environ.get("COCOTB_RANDOM_SEED") or secrets.randbelow(1 << 31))
    runs = build / "runs"
    try:
        runs.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{bench.rpartition('.')[2]}-", dir=runs))
    except OSError as error:
        raise ToolError(f"{runs}: cannot be written: {error.strerror}") from error
    results = folder / "results.xml"
    (folder / "job.json").write_text(json.dumps({
        "bench": bench, "top": top or record["top"], "build": str(build), "folder": str(folder),
        "results": str(results), "seed": seed, "test_filter": test_filter,
        "env": dict(env or {}), "plusargs": list(plusargs),
    }, indent=2), encoding="utf-8")
    begin = time.monotonic()
    status = _execute(folder, timeout_s, watch)
    return _judge(bench, status, folder, seed, time.monotonic() - begin, timeout_s)


def _execute(folder: Path, timeout_s: float, watch: Callable[[], None] | None) -> int | str:
    """Return the exit status, or the reason why the run was ended."""
    env = toolchain().environment()
    env["PYTHONPATH"] = os.pathsep.join(str(Path(path).resolve()) for path in sys.path)
    env["PYTHONUNBUFFERED"] = "1"
    log = folder / "sim.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "cimforge_verif.sim.child", str(folder / "job.json")],
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, cwd=folder, env=env,
            start_new_session=True)
        try:
            return _wait(process, time.monotonic() + timeout_s, watch)
        finally:
            # Also when the caller is interrupted: nothing of the group may outlive this call.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(process: subprocess.Popen, deadline: float,
          watch: Callable[[], None] | None) -> int | str:
    status: int | str | None = None
    while status is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = process.wait(_POLL_S)
        if watch is not None:
            watch()
        if status is None and time.monotonic() > deadline:
            status = "time"
    return status


def _judge(bench: str, status: int | str, folder: Path, seed: int, seconds: float,
           timeout_s: float) -> RunResult:
    log = folder / "sim.log"
    trailer = f"(seed {seed}; log: {log})"
    if status == "time":
        raise SimulationError(f"{bench} did not end within {timeout_s:g} s {trailer}\n{tail(log)}")
    tests = read_results(folder / "results.xml")
    failed = [test for test in tests if test.message]
    if failed:
        lines = "\n".join(f"  {test.name}: {test.message}" for test in failed)
        differs = all(test.kind in _COMPARISONS for test in failed)
        raise (Mismatch if differs else SimulationError)(
            f"{bench}: {len(failed)} of {len(tests)} tests failed {trailer}\n{lines}")
    if status != 0:
        raise SimulationError(f"{bench}: the simulator ended with status {status} {trailer}\n"
                              f"{tail(log)}")
    if not tests:
        raise SimulationError(f"{bench}: the simulator ran no test {trailer}\n{tail(log)}")
    return RunResult(tuple(tests), seed, folder, log, seconds)


def read_results(path: Path) -> list[TestOutcome]:
    """Return the tests that ran according to a ``results.xml``; skipped ones did not.

    A file that is missing or cut short holds no tests.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return []
    outcomes = []
    for case in root.iter("testcase"):
        if case.find("skipped") is not None:
            continue
        name = f"{case.get('classname', '')}.{case.get('name', '')}".lstrip(".")
        outcomes.append(TestOutcome(name, float(case.get("time", 0)), *_failure(case)))
    return outcomes


def _failure(case: ElementTree.Element) -> tuple[str, str]:
    """Return the first line of a failure and the name of its exception; empty if it passed."""
    for kind in ("failure", "error"):
        element = case.find(kind)
        if element is not None:
            text = element.get("message") or (element.text or "").strip() or kind
            return text.strip().splitlines()[0], element.get("type", "")
    return "", ""
