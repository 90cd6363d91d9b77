"""Simulation speed, measured side by side in one run into ``bench.json``."""

import time
from pathlib import Path

import numpy as np

import cimforge as cf
from cimforge.report.records import write_records
from cimforge.spec.files import check_writable

__all__ = ["run_bench"]

_SHAPE = (384, 384, 16)  # O, K and T of the layer whose streams keep the tile busy


def _vectors(config):
    """Return vectors of one 4:8 layer with random weights."""
    from types import SimpleNamespace

    from cimforge.spec.pattern import NmPattern

    outputs, inputs, tokens = _SHAPE
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (outputs, inputs // 8, 8))
    rank = rng.random(weight.shape).argsort(axis=-1).argsort(axis=-1)
    weight = np.where(rank < 4, weight, 0).reshape(outputs, inputs)
    program = cf.compile({"layer": SimpleNamespace(weight=weight, pattern=NmPattern(4, 8))},
                         config, tokens)
    x = rng.integers(-128, 128, (tokens, inputs))
    return cf.vectors(program, layer="layer", inputs=x, seed=0)


def run_bench(config_name: str, out: Path) -> str:
    """Measure emission, builds and cycles per second; return a page of text.

    Parameters
    ----------
    config_name : str
        Preset or YAML file.
    out : Path
        Folder of ``bench.json``.
    """
    from cimforge.report.progress import progress
    from cimforge_hw.emit import emit_tile
    from cimforge_verif.sim.layers import TOP
    from cimforge_verif.sim.throughput import compare_builds

    config = cf.load_config(config_name)
    check_writable(out)
    with progress() as bars, bars.task("emit, build twice, run", 1):
        start = time.perf_counter()
        emission = emit_tile(config)
        emitted = time.perf_counter() - start
        made = _vectors(config)
        beats = {"commands": made.words, "weights": made.weights, "acts": made.acts}
        both = compare_builds({f"{TOP}.v": emission.verilog}, TOP, beats, ["results"],
                              constants={"clear": 0}, cycles=3000)
    (lean_build, lean), (cocotb_build, cocotb) = both["lean"], both["cocotb"]
    rows = [
        ("emission", emitted, "s", None, None),
        ("verilog", len(emission.verilog), "bytes", None, None),
        ("build, lean", lean_build, "s", cocotb_build, cocotb_build / max(lean_build, 1e-9)),
        ("cocotb, lean", lean.hz, "cycles/s", cocotb.hz, lean.hz / cocotb.hz),
    ]
    records = [{"what": what, "config": config_name, "value": value, "unit": unit,
                "baseline": baseline, "ratio": ratio}
               for what, value, unit, baseline, ratio in rows]
    write_records(out / "bench.json", "make bench", records)
    return "".join(f"{what:14} {value:12.1f} {unit:9}" + (
        "" if ratio is None else f" against {baseline:10.1f} of cocotb's defaults: {ratio:.2f}x")
        + "\n" for what, value, unit, baseline, ratio in rows)
