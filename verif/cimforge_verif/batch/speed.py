"""Cycles per second of a layer's program: the library against a harness written by hand."""

import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cimforge.spec.errors import ToolError
from cimforge_verif.batch.build import PROGRAM, build_library
from cimforge_verif.batch.layers import batch_layers
from cimforge_verif.batch.payloads import payloads
from cimforge_verif.compare import Mismatch
from cimforge_verif.sim.build import BUILDS
from cimforge_verif.sim.layers import TOP
from cimforge_verif.vectors import VectorSet

__all__ = ["batch_hz", "reference_hz"]


def batch_hz(rtl: Sequence[Path] | Mapping[str, str], vectors: VectorSet, repeat: int,
             root: Path = BUILDS) -> float:
    """Return cycles per second of one tile, its checks included; the build is not counted."""
    build_library(rtl, TOP, root=root)
    begin = time.perf_counter()
    results = batch_layers(vectors.config, rtl, [vectors] * repeat, workers=1, root=root)
    return sum(result.simulated for result in results) / (time.perf_counter() - begin)


def reference_hz(rtl: Sequence[Path] | Mapping[str, str], vectors: VectorSet, repeat: int,
                 root: Path = BUILDS) -> float:
    """Return cycles per second of ``reference.cpp`` on the same Verilog, flags and program.

    Raises
    ------
    ToolError
        It cannot be built, or does not run.
    Mismatch
        Its results are not the expected ones: then its speed would mean nothing.
    """
    program = build_library(rtl, TOP, root=root, kind=PROGRAM)
    wanted = payloads(vectors.results, vectors.last, vectors.config.acc_bits)
    streams = (vectors.words, vectors.weights, vectors.acts)
    with tempfile.TemporaryDirectory(prefix="reference-") as scratch:
        files = [Path(scratch) / name for name in ("commands", "weights", "acts", "results")]
        for path, beats in zip(files, streams, strict=False):
            path.write_bytes(np.ascontiguousarray(beats).tobytes())
        sizes = [beats.shape[1] for beats in (*streams, wanted)]
        done = subprocess.run([str(program), *map(str, [*sizes, *files, len(wanted), repeat])],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            raise ToolError(f"{program}: ended with status {done.returncode}: {done.stderr[:200]}")
        if files[3].read_bytes() != wanted.tobytes():
            raise Mismatch("the harness written by hand computed other results")
    cycles, seconds = done.stdout.split()
    return int(cycles) / float(seconds)
