"""Builds a simulator from Verilog, once per digest of everything that shapes it."""

import contextlib
import fcntl
import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cimforge.spec.errors import DataError, ToolError
from cimforge_verif.sim.control import control_file
from cimforge_verif.sim.runtime import Runtime
from cimforge_verif.sim.toolchain import Toolchain, applied, toolchain

__all__ = ["BUILDS", "STAMP", "WAIVERS", "BuildPlan", "build", "build_once", "first_errors",
           "read_rtl", "tail", "write_sources"]

#: Where builds go unless told otherwise, relative to the current folder.
BUILDS = Path("build") / "sim"
#: Written last: a build folder without it was interrupted and is made again.
STAMP = "finished.json"

#: What Yosys emits by design; every other Verilator warning is fatal.
WAIVERS = ("-Wno-CASEINCOMPLETE", "-Wno-WIDTHEXPAND", "-Wno-WIDTHTRUNC")
# These come after cocotb's --public-flat-rw and undo it. -O3 turns inlining on, so it comes first:
# after -fno-inline it flattened a 4x32x32 macro into 40 MB of C++.
_LEAN = ("-O3", "--no-public-flat-rw", "-fno-inline", "--x-assign", "fast", "--x-initial", "fast",
         "-CFLAGS", "-march=native")
# Through make's environment: the runner calls make itself and never sees Verilator's -MAKEFLAGS.
# -O1 simulates the 4x32x32 tile as fast as -O2 and compiles sooner.
_MAKE = {"OPT_FAST": "-O1"}


@dataclass(frozen=True)
class BuildPlan:
    """Everything that decides what a build contains.

    Attributes
    ----------
    top : str
    sources : tuple of (name, text)
        Verilog by file name.
    arguments : tuple of str
        Verilator's, beyond those of cocotb's runner.
    control : str
        Text of the ``.vlt`` file, or empty.
    make : tuple of (name, value)
        Variables of the makefile.
    tools : str
        Versions of the tools.
    """

    top: str
    sources: tuple[tuple[str, str], ...]
    arguments: tuple[str, ...]
    control: str
    make: tuple[tuple[str, str], ...]
    tools: str

    @property
    def digest(self) -> str:
        """Twelve hex digits that change with any of the above."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """Name of the build's folder."""
        return f"{self.top}-{self.digest}"

    def runtime(self, root: Path) -> Runtime:
        """Return Verilator's own objects for builds like this one."""
        flags = [flag for flag in self.arguments if not flag.startswith("-D")]
        make = [f"{name}={value}" for name, value in self.make]
        return Runtime(root, [self.tools, *flags, *make])


def read_rtl(rtl: Sequence[Path] | Mapping[str, str]) -> dict[str, str]:
    """Return Verilog texts by file name; accepts paths or the texts themselves.

    Raises
    ------
    DataError
        If there is nothing, or a file cannot be read.
    """
    if not rtl:
        raise DataError("there is no Verilog to build")
    if isinstance(rtl, Mapping):
        return dict(rtl)
    try:
        return {Path(path).name: Path(path).read_text(encoding="utf-8") for path in rtl}
    except OSError as error:
        raise DataError(f"{error.filename}: cannot read Verilog: {error.strerror}") from error


def build(rtl: Sequence[Path] | Mapping[str, str], top: str, *, lean: bool = True,
          public_modules: Sequence[str] = ("*_column",),
          defines: Mapping[str, object] | None = None, arguments: Sequence[str] = (),
          root: Path = BUILDS) -> Path:
    """Build a simulator, or return the one built before from the same text, flags and tools.

    Two processes may ask for the same build at once; one of them waits.

    Parameters
    ----------
    rtl : sequence of Path, or mapping of name to text
        The Verilog.
    top : str
        Module to simulate.
    lean : bool
        Only ports visible and flags for speed; False: cocotb's defaults, for comparison.
    public_modules : sequence of str
        Patterns of modules whose ports stay visible in a lean build (see :mod:`.control`).
    defines : mapping
        Verilog macros.
    arguments : sequence of str
        Further arguments of Verilator, such as ``--coverage``.
    root : Path
        Folder of the builds.

    Returns
    -------
    Path
        The build's folder, which :func:`cimforge_verif.sim.run.run` takes.

    Raises
    ------
    ToolError
        If a tool is missing, ``root`` cannot be written, or the build fails; the message then has
        the end of its log.
    DataError
        If the Verilog has no such module.
    """
    tools = toolchain()
    sources = read_rtl(rtl)
    flags = [*WAIVERS, *(_LEAN if lean else ()), *arguments]
    flags += [f"-D{name}={value}" for name, value in sorted((defines or {}).items())]
    control = control_file(sources.values(), top, public_modules) if lean else ""
    plan = BuildPlan(top, tuple(sorted(sources.items())), tuple(flags), control,
                     tuple(sorted(_MAKE.items())) if lean else (), tools.version)
    folder = Path(root).resolve() / plan.name
    record = {"top": top, "arguments": flags, "tools": tools.version, "lean": lean}
    return build_once(folder, record, lambda: _compile(plan, folder, tools))


def build_once(folder: Path, record: dict, compile: Callable[[], object],
               whole: Callable[[dict], bool] = lambda record: True) -> Path:
    """Make a build's folder, unless it is there already; return it.

    Parameters
    ----------
    folder : Path
    record : dict
        What the folder's stamp says; ``compile`` may add to it.
    compile : callable
        Builds into the empty folder.
    whole : callable
        Given the stamp of a build that is there: whether the build is what it says. If not, it is
        made again.

    Raises
    ------
    ToolError
        The folder cannot be written; or as ``compile``.
    """
    try:
        with _locked(folder.with_name(f".{folder.name}.lock")):
            if not _finished(folder, whole):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                compile()
                partial = folder / f"{STAMP}.part"
                partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
                partial.replace(folder / STAMP)
    except OSError as error:  # no folder to build in, or no space left in it
        raise ToolError(f"{error.filename or folder}: builds cannot be written: {error.strerror}"
                        ) from error
    return folder


def _finished(folder: Path, whole: Callable[[dict], bool]) -> bool:
    try:
        return whole(json.loads((folder / STAMP).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):  # no stamp, half of one, another one
        return False


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released with the file, even if the process dies
        yield


def write_sources(plan: BuildPlan, folder: Path) -> list[Path]:
    """Write Verilog and control file of a plan; return their paths, the control file first."""
    rtl = folder / "rtl"
    rtl.mkdir()
    texts = {**({"public.vlt": plan.control} if plan.control else {}), **dict(plan.sources)}
    for name, text in texts.items():
        (rtl / name).write_text(text, encoding="utf-8")
    return [rtl / name for name in texts]


def _compile(plan: BuildPlan, folder: Path, tools: Toolchain):
    from cocotb_tools.runner import get_runner

    files = write_sources(plan, folder)
    log = folder / "build.log"
    runtime = plan.runtime(folder.parent)
    runtime.lend(folder)
    logging.getLogger("Verilator").setLevel(logging.WARNING)
    with applied(tools.environment(make=dict(plan.make))):
        runner = get_runner("verilator")
        runner.log.setLevel(logging.WARNING)  # its commands are in the log file
        try:
            runner.build(sources=files, hdl_toplevel=plan.top, build_dir=folder,
                         build_args=list(plan.arguments), timescale=("1ns", "1ps"), always=True,
                         log_file=log)
        except (RuntimeError, SystemExit) as error:
            raise ToolError(f"building {plan.top} failed: {first_errors(log)}\nlog: {log}"
                            ) from error
    runtime.keep(folder)


def first_errors(log: Path, lines: int = 8) -> str:
    """Return what the tools complained about first; the end of the log if they did not."""
    with contextlib.suppress(OSError):
        text = log.read_text(encoding="utf-8", errors="replace").splitlines()
        found = [line for line in text if re.match(r"%(Error|Warning)|.*\berror:", line)]
        if found:
            return "\n".join(found[:lines])
    return tail(log)


def tail(log: Path, lines: int = 12) -> str:
    """Return the last lines of a log, or a word if there is none."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(text[-lines:]) or "(empty log)"
