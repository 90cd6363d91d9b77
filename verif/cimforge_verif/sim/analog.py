"""Runs programs through the analog tile's Verilog and returns what came out."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import DataError
from cimforge_verif.analog.vectors import AnalogVectors, Expected
from cimforge_verif.sim.build import BUILDS, build
from cimforge_verif.sim.layers import rates_of
from cimforge_verif.sim.run import run

__all__ = ["ANALOG_COUNTERS", "JOB_VARIABLE", "AnalogJob", "AnalogResult", "simulate_analog"]

#: Environment variable with the path of the job's JSON file.
JOB_VARIABLE = "CIMFORGE_ANALOG_JOB"
ANALOG_COUNTERS = ("cycles", "convert", "conversions", "pulses", "load", "retire", "saturations",
                   "stall")
_SLOWEST_HZ = 200  # cycles per second of the largest tile on a busy machine


@dataclass(frozen=True, kw_only=True, eq=False)
class AnalogResult:
    """What the RTL did with one program; everything was compared with the golden model.

    Attributes
    ----------
    results : ndarray of int64, shape (beats, port)
    counters : dict of str to int
    simulated : int
        Clock cycles stepped, from reset until idle.
    seconds : float
        Wall-clock time they took.
    """

    results: np.ndarray
    counters: dict[str, int]
    simulated: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class AnalogJob:
    """What the bench in the simulator is to do; program i lies in ``<i>.npz``."""

    parameters: dict[str, int]
    folder: str
    names: list[str]
    limits: list[int]  # cycles after which a program counts as hung
    illegal: list[int]
    stalls: dict[str, float]
    seed: int
    watch: int = 64  # cycles to look for surplus results

    def save(self) -> Path:
        """Write ``job.json`` and return its path."""
        path = Path(self.folder) / "job.json"
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: str | Path) -> "AnalogJob":
        """Read what :meth:`save` wrote."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))

    def arrays(self, name: str) -> Path:
        """Return the path of a file of arrays."""
        return Path(self.folder) / f"{name}.npz"


def simulate_analog(config: AnalogConfig, rtl: Sequence[Path] | Mapping[str, str],
                    programs: Sequence[AnalogVectors], *, top: str = "analog_tile",
                    stalls: float | Mapping[str, float] = 0.0, seed: int = 0,
                    timeout_s: float | None = None, root: Path = BUILDS) -> list[AnalogResult]:
    """Simulate programs; results, flags and counters are compared with the golden model.

    Parameters
    ----------
    config : AnalogConfig
        Of the tile.
    rtl : sequence of Path, or mapping of name to text
        Its Verilog.
    programs : sequence of AnalogVectors
        Run one after the other, each from reset.
    top : str
        Name of the tile's module.
    stalls : float, or mapping of stream name to float
        Probability that a stream waits in a cycle. Without stalls, the counted cycles must be the
        predicted ones; with them, at most ``stall`` more.
    seed : int
        Of the stalls.
    timeout_s : float, optional
        Wall-clock limit of the whole simulation; default: from the cycles it may take.
    root : Path
        Folder of the builds.

    Raises
    ------
    Mismatch
        Anything differs, a result is missing or surplus, or the tile hangs.
    SimulationError
        The simulator crashed, or took longer than ``timeout_s``.
    DataError
        A program is for another configuration or illegal, or a stall is no probability.
    """
    for program in programs:
        if program.config != config:
            raise DataError(f"{program.name}: vectors made for configuration "
                            f"{program.config.digest}, not {config.digest}")
    rates = rates_of(stalls)
    wanted = [program.expected() for program in programs]
    limits = [_limit(program, expected, max(rates.values()))
              for program, expected in zip(programs, wanted, strict=True)]
    folder = build(rtl, top, root=root)
    with tempfile.TemporaryDirectory(prefix="analog-", dir=folder) as scratch:
        job = AnalogJob(parameters=config.to_dict(), folder=scratch, limits=limits, stalls=rates,
                        names=[program.name for program in programs], seed=seed,
                        illegal=[expected.illegal for expected in wanted])
        for i, (program, expected) in enumerate(zip(programs, wanted, strict=True)):
            np.savez(job.arrays(str(i)), words=program.words, acts=program.acts.view(np.uint8),
                     weights=program.weights.view(np.uint8), results=expected.results,
                     last=expected.last, counters=list(expected.counters.values()))
        run(folder, "cimforge_verif.sim.analog_bench", top, seed=seed,
            timeout_s=timeout_s or 120 + sum(limits) / _SLOWEST_HZ,
            env={JOB_VARIABLE: str(job.save())})
        return [_result(job, i) for i in range(len(programs))]


def _limit(program: AnalogVectors, expected: Expected, stall: float) -> int:
    beats = sum(map(len, (program.words, program.weights, program.acts, expected.results)))
    return 1000 + 2 * int(expected.counters["cycles"] + (2 * beats / (1 - stall) if stall else 0))


def _result(job: AnalogJob, index: int) -> AnalogResult:
    with np.load(job.arrays(f"result{index}"), allow_pickle=False) as arrays:
        return AnalogResult(
            results=arrays["results"], simulated=int(arrays["simulated"]),
            counters=dict(zip(ANALOG_COUNTERS, arrays["counters"].tolist(), strict=True)),
            seconds=float(arrays["seconds"]))
