"""Measured comparisons, side by side in one run, into ``bench.json``.

How fast the Verilog is made and simulated, and what the two ways of selecting inputs cost where
every output has positions of its own.
"""

from pathlib import Path

import numpy as np

import cimforge as cf
from cimforge.bench_decoder import run_bench_decoder
from cimforge.bench_estimate import estimate_rows
from cimforge.bench_flow import run_bench_flow
from cimforge.bench_speed import Row, draw_speed, speed_rows
from cimforge.report.records import write_records
from cimforge.spec.files import check_writable
from cimforge.spec.pattern import NmPattern

__all__ = ["run_bench", "select_rows"]

_SHAPE = (384, 384, 16)  # O, K and T of the layer whose streams keep the tile busy
_FREE = ("2:4", "1:8")  # a pattern in the middle, and the sparsest
_LINE = "line select"


def select_rows() -> list[Row]:
    """Compile layers of free patterns for the presets ``default`` (line select) and ``pair``.

    With ``pair`` all columns of a sub-macro see the same pair of inputs at a time, so a tile takes
    as many steps as its columns want different pairs, in the layer's own pattern; or the compiler
    chooses the fastest mode that the weights keep to, which is denser.
    """
    from cimforge.spec.commands import Compute
    from cimforge_sw.compile import compile_layer, estimate, free_weights

    line, pair = cf.load_config("default"), cf.load_config("pair")
    rows: list[Row] = []
    for text in _FREE:
        pattern = NmPattern.parse(text)
        weight, tokens = free_weights(pattern, *_SHAPE[:2]), _SHAPE[2]
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
    half = config.replace(cols=max(config.index_share, config.cols // 2), out_port=0)
    check_writable(out)
    rows: list[Row] = []
    with progress() as bars:
        with bars.task("emit, build, simulate", 2) as bar:
            for done, tile in enumerate(dict.fromkeys((half, config)), 1):
                rows += speed_rows(f"{config_name}, {tile.slots * tile.cols} MACs", tile)
                bar.at(done)
        with bars.task("line and pair select", 1):
            rows += select_rows()
        with bars.task("cycles from shapes", 1):
            rows += estimate_rows()
    draw_speed(out / "img" / "bench-speed.svg", rows)
    fields = ("what", "config", "value", "unit", "baseline", "ratio", "against")
    write_records(out / "bench.json", "make bench",
                  [dict(zip(fields, row, strict=True)) for row in rows])
    return "".join(f"{what:32} {value:12.1f} {unit:9}" + (
        "" if ratio is None else f" against {baseline:10.1f} of {against}: {ratio:.2f}x") + "\n"
        for what, _, value, unit, baseline, ratio, against in rows) + run_bench_flow(
            out) + run_bench_decoder(out, config_name)
