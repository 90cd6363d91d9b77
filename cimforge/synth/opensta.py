"""OpenSTA: the worst path, and power at one activity everywhere."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cimforge.spec.errors import ToolError
from cimforge.synth.fanout import buffer_cell
from cimforge.synth.liberty import Library

__all__ = ["DEFAULT_ACTIVITY", "Timing", "analyze", "sta_version"]

#: Toggles per cycle and share of ones that OpenSTA assumes of inputs unless told otherwise; here
#: of every pin.
DEFAULT_ACTIVITY = (0.1, 0.5)
#: Clock period of the analysis; power is energy per cycle over it.
PERIOD = 100e-9

_STEP = re.compile(r"^\s*([\d.-]+)\s+([\d.-]+) [v^] (\S+) \((\S+)\)$", re.MULTILINE)
_POWER = re.compile(r"^Total\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Timing:
    """What OpenSTA says of a netlist.

    Attributes
    ----------
    delay : float
        Seconds of the worst path, setup included: the shortest clock period. 0: there is none.
    start, end : str
        Where it starts and ends.
    levels : int
        Cells on it.
    energy : float
        Joules per cycle at the uniform activity, without leakage.
    internal, switching : float
        Its two parts.
    leakage : float
        Watts.
    """

    delay: float
    start: str
    end: str
    levels: int
    energy: float
    internal: float
    switching: float
    leakage: float


def _script(library: Library, top: str, clocked: bool, activity: tuple[float, float]) -> str:
    cell, _, output = buffer_cell(library)
    period = PERIOD / library.second
    target = " [get_ports clk]" if clocked else ""
    return "\n".join([
        f"read_liberty {{{library.path.resolve()}}}", "read_verilog netlist.v",
        f"link_design {top}",
        f"create_clock -name clock -period {period:g}{target}",
        "set inputs {}",
        "foreach port [all_inputs] {",
        "  if {[get_property $port full_name] != \"clk\"} {lappend inputs $port}", "}",
        "set_input_delay 0 -clock clock $inputs",
        f"set_driving_cell -lib_cell {cell.name} -pin {output} $inputs",
        "set_output_delay 0 -clock clock [all_outputs]",
        f"set_power_activity -global -activity {activity[0]:g} -duty {activity[1]:g}",
        "report_checks -path_delay max -format full -digits 6",
        "report_power -digits 9", "exit", ""])


def analyze(verilog: str, top: str, library: Library, *, clocked: bool,
            activity: tuple[float, float] = DEFAULT_ACTIVITY) -> Timing:
    """Run OpenSTA on a netlist.

    Inputs come from a buffer of the library at the clock's edge, outputs are due at the next one;
    wires have no capacitance and the clock is ideal.

    Parameters
    ----------
    verilog : str
        Structural Verilog; a module that is missing is a box that nothing goes through.
    top : str
    library : Library
    clocked : bool
        Whether there is a port ``clk``; paths through others go from inputs to outputs.
    activity : (float, float)
        Toggles per cycle and share of ones of every pin but the clock's. Activity propagated
        from the inputs would be another choice, but Debian's OpenSTA answers "not a number" once
        it underflows in a chain of gates, as in the carries of a counter.

    Raises
    ------
    ToolError
        There is no OpenSTA, or it reports no path or power.
    """
    with tempfile.TemporaryDirectory(prefix="cimforge-sta-") as name:
        folder = Path(name)
        (folder / "netlist.v").write_text(verilog, encoding="utf-8")
        (folder / "run.tcl").write_text(
            _script(library, top, clocked, activity), encoding="utf-8")
        said = _sta(["-no_splash", "-exit", "run.tcl"], folder)
    return _read(said, top, library)


def _sta(arguments: list[str], folder: Path) -> str:
    """Return all that OpenSTA says."""
    try:
        done = subprocess.run(["sta", *arguments], cwd=folder, capture_output=True, text=True,
                              check=False)
    except OSError as error:
        raise ToolError("sta is not installed, timing and power need it: Debian package opensta "
                        "(make apt)") from error
    return done.stdout + done.stderr


def sta_version() -> str:
    """Return the version of the installed OpenSTA, or raise ToolError."""
    return _sta(["-version"], Path()).strip()


def _read(said: str, top: str, library: Library) -> Timing:
    """Read the two reports."""
    slack = re.search(r"^\s*(-?[\d.]+)\s+slack", said, re.MULTILINE)
    start = re.search(r"^Startpoint: (\S+)", said, re.MULTILINE)
    end = re.search(r"^Endpoint: (\S+)", said, re.MULTILINE)
    power = _POWER.search(said)
    pathless = "No paths found." in said  # a memory and nothing else
    if not power or not (pathless or (slack and start and end)):
        last = "\n".join(said.strip().splitlines()[-8:])
        raise ToolError(f"OpenSTA reports no path or no power of {top}:\n{last}")
    internal, switching, leakage = (float(power[i]) for i in (1, 2, 3))
    steps = [step for step in _STEP.finditer(said) if step[4] not in ("in", "out")]
    energies = (internal + switching) * PERIOD, internal * PERIOD, switching * PERIOD
    if not (slack and start and end):
        return Timing(0.0, "", "", 0, *energies, leakage)
    return Timing(PERIOD - float(slack[1]) * library.second, start[1], end[1], len(steps),
                  *energies, leakage)
