"""Cycles a second that cocotb simulates with every stream busy, lean and with its defaults."""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cimforge_verif.sim.build import build
from cimforge_verif.sim.run import run

__all__ = ["JOB_VARIABLE", "Throughput", "compare_builds", "throughput"]

JOB_VARIABLE = "CIMFORGE_THROUGHPUT_JOB"


@dataclass(frozen=True)
class Throughput:
    """A measurement.

    Attributes
    ----------
    cycles : int
        Clock cycles timed.
    seconds : float
        Wall-clock time they took.
    transfers : dict of str to int
        Beats moved on each stream meanwhile; a stream at zero was not exercised.
    """

    cycles: int
    seconds: float
    transfers: dict[str, int]

    @property
    def hz(self) -> float:
        """Cycles per second."""
        return self.cycles / self.seconds


def throughput(folder: Path, beats: Mapping[str, np.ndarray], outputs: Sequence[str], *,
               cycles: int = 5000, warm_up: int = 200,
               constants: Mapping[str, int] | None = None, timeout_s: float = 300.0) -> Throughput:
    """Measure a build.

    Parameters
    ----------
    folder : Path
        What :func:`cimforge_verif.sim.build.build` returned.
    beats : mapping of stream name to ndarray of uint8, shape (n, bytes)
        Offered again and again, without a pause. For a tile: the streams of a whole program.
    outputs : sequence of str
        Streams that are always ready; their payloads are read in every cycle in which they are
        valid.
    cycles, warm_up : int
        Cycles timed, and before them.
    constants : mapping
        Values of other input ports, such as ``{"clear": 0}``.
    timeout_s : float
        Wall-clock limit.
    """
    with tempfile.TemporaryDirectory(prefix="throughput-", dir=folder) as scratch:
        data, output = Path(scratch).resolve() / "beats.npz", Path(scratch).resolve() / "out.json"
        np.savez(data, allow_pickle=False, **beats)
        job = {"beats": str(data), "output": str(output), "inputs": list(beats),
               "outputs": list(outputs), "cycles": cycles, "warm_up": warm_up,
               "constants": dict(constants or {})}
        run(folder, "cimforge_verif.sim.throughput_bench", seed=1, timeout_s=timeout_s,
            env={JOB_VARIABLE: json.dumps(job)})
        return Throughput(**json.loads(output.read_text(encoding="utf-8")))


def compare_builds(rtl: Sequence[Path] | Mapping[str, str], top: str,
                   beats: Mapping[str, np.ndarray], outputs: Sequence[str],
                   **options) -> dict[str, tuple[float, Throughput]]:
    """Measure a design lean and with cocotb's defaults; both are built anew, and not kept.

    Parameters
    ----------
    rtl, top
        As for :func:`cimforge_verif.sim.build.build`.
    beats, outputs, **options
        As for :func:`throughput`.

    Returns
    -------
    dict
        ``"lean"`` and ``"cocotb"``, each with the seconds of the build and the measurement.
    """
    measured = {}
    for name, lean in (("lean", True), ("cocotb", False)):
        with tempfile.TemporaryDirectory(prefix="cimforge-bench-") as root:
            begin = time.perf_counter()
            folder = build(rtl, top, lean=lean, root=Path(root))
            seconds = time.perf_counter() - begin
            measured[name] = seconds, throughput(folder, beats, outputs, **options)
    return measured
