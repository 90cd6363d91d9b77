"""Measured comparisons, side by side in one run, into ``bench.json``.

How fast the Verilog is made and simulated, and what the two ways of selecting inputs cost where
every output has positions of its own.
"""

import time
from pathlib import Path

import numpy as np

import cimforge as cf
from cimforge.bench_flow import run_bench_flow
from cimforge.report.records import write_records
from cimforge.spec.config import DcimConfig
from cimforge.spec.files import check_writable
from cimforge.spec.pattern import NmPattern

__all__ = ["run_bench", "select_rows"]

_SHAPE = (384, 384, 16)  # O, K and T of the layer whose streams keep the tile busy
_FREE = ("2:4", "1:8")  # a pattern in the middle, and the sparsest
_COCOTB, _LINE = "cocotb's defaults", "line select"

#: What, configuration, value, unit; the value of a baseline, ratio (above 1: better), its name.
Row = tuple[str, str, float, str, float | None, float | None, str | None]


def _weight(pattern: NmPattern) -> np.ndarray:
    """Return random weights of which each output keeps other positions."""
    outputs, inputs, _ = _SHAPE
    rng = np.random.default_rng(0)
    weight = rng.integers(1, 128, (outputs, inputs // pattern.m, pattern.m))
    rank = rng.random(weight.shape).argsort(axis=-1).argsort(axis=-1)
    return np.where(rank < pattern.n, weight, 0).reshape(outputs, inputs)


def _vectors(config: DcimConfig):
    """Return vectors of one 4:8 layer."""
    from types import SimpleNamespace

    pattern, (_, inputs, tokens) = NmPattern(4, 8), _SHAPE
    layer = SimpleNamespace(weight=_weight(pattern), pattern=pattern)
    program = cf.compile({"layer": layer}, config, tokens)
    x = np.random.default_rng(1).integers(-128, 128, (tokens, inputs))
    return cf.vectors(program, layer="layer", inputs=x, seed=1)


def _simulation_rows(config_name: str, config: DcimConfig) -> list[Row]:
    """Measure emission, builds and cycles per second."""
    from cimforge_hw.dcim.macro import Macro
    from cimforge_hw.emit import emit_component, emit_tile
    from cimforge_verif.sim.layers import TOP
    from cimforge_verif.sim.throughput import compare_builds

    start = time.perf_counter()
    emission = emit_tile(config)
    emitted = time.perf_counter() - start
    made = _vectors(config)
    beats = {"commands": made.words, "weights": made.weights, "acts": made.acts}
    both = compare_builds({f"{TOP}.v": emission.verilog}, TOP, beats, ["results"],
                          constants={"clear": 0}, cycles=3000)
    (lean_build, lean), (cocotb_build, cocotb) = both["lean"], both["cocotb"]
    return [
        ("emission", config_name, emitted, "s", None, None, None),
        ("verilog, tile", config_name, len(emission.verilog), "bytes", None, None, None),
        ("verilog, macro alone", config_name, len(emit_component(Macro(config), "macro").verilog),
         "bytes", None, None, None),
        ("build, lean", config_name, lean_build, "s", cocotb_build,
         cocotb_build / max(lean_build, 1e-9), _COCOTB),
        ("cocotb, lean", config_name, lean.hz, "cycles/s", cocotb.hz, lean.hz / cocotb.hz, _COCOTB),
    ]


def select_rows() -> list[Row]:
    """Compile layers of free patterns for the presets ``default`` (line select) and ``pair``.

    With ``pair`` all columns of a sub-macro see the same pair of inputs at a time, so a tile takes
    as many steps as its columns want different pairs, in the layer's own pattern; or the compiler
    chooses the fastest mode that the weights keep to, which is denser.
    """
    from cimforge.spec.commands import Compute
    from cimforge_sw.compile import compile_layer, estimate

    line, pair = cf.load_config("default"), cf.load_config("pair")
    rows: list[Row] = []
    for text in _FREE:
        pattern = NmPattern.parse(text)
        weight, tokens = _weight(pattern), _SHAPE[2]
        base = estimate(line, compile_layer(line, text, weight, pattern, tokens)).cycles
        for kind, mode in (("own mode", None), ("fastest mode", "fastest")):
            layer = compile_layer(pair, text, weight, pattern, tokens, mode=mode)
            steps = float(np.mean([c.steps for c in layer.commands if isinstance(c, Compute)]))
            cycles = estimate(pair, layer).cycles
            name = f"free {text}, {kind} {layer.mode}"
            rows += [(name, "pair", steps, "steps", 1, 1 / steps, _LINE),
                     (name, "pair", cycles, "cycles", base, base / cycles, _LINE)]
    return rows


def run_bench(config_name: str, out: Path) -> str:
    """Measure everything; return a page of text.

    Parameters
    ----------
    config_name : str
        Preset or YAML file of the tile that is simulated.
    out : Path
        Folder of ``bench.json``.
    """
    from cimforge.report.progress import progress

    config = cf.load_config(config_name)
    check_writable(out)
    with progress() as bars:
        with bars.task("line and pair select", 1):
            selects = select_rows()
        with bars.task("emit, build twice, run", 1):
            rows = _simulation_rows(config_name, config) + selects
    fields = ("what", "config", "value", "unit", "baseline", "ratio", "against")
    write_records(out / "bench.json", "make bench",
                  [dict(zip(fields, row, strict=True)) for row in rows])
    return "".join(f"{what:32} {value:12.1f} {unit:9}" + (
        "" if ratio is None else f" against {baseline:10.1f} of {against}: {ratio:.2f}x") + "\n"
        for what, _, value, unit, baseline, ratio, against in rows) + run_bench_flow(out)
