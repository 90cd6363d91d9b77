"""Cycles per second of every way to simulate the same tile, side by side."""

import itertools
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

import cimforge as cf
from cimforge.report.plots import save_figure
from cimforge.spec.config import DcimConfig
from cimforge.spec.pattern import NmPattern
from cimforge_sw.compile import free_weights

if TYPE_CHECKING:
    from cimforge_verif.vectors import VectorSet

__all__ = ["HARNESS", "Row", "amaranth_hz", "busy_vectors", "draw_speed", "pairs", "speed_rows"]

#: What, configuration, value, unit; the value of a baseline, ratio (above 1: better), its name.
Row = tuple[str, str, float, str, float | None, float | None, str | None]

HARNESS = "C++ harness"
_COCOTB = "cocotb, defaults"
_SHAPE = (384, 384)  # O and K of the layer whose streams keep the tile busy
_TOKENS, _REPEAT, _TURNS = 64, 10, 5
_AMARANTH_CYCLES = 50  # seconds, already: it is three orders slower than the others


def busy_vectors(config: DcimConfig, tokens: int = _TOKENS) -> "VectorSet":
    """Return vectors of one 4:8 layer."""
    pattern = NmPattern(4, 8)
    layer = SimpleNamespace(weight=free_weights(pattern, *_SHAPE), pattern=pattern)
    program = cf.compile({"layer": layer}, config, tokens)
    x = np.random.default_rng(1).integers(-128, 128, (tokens, _SHAPE[1]))
    return cf.vectors(program, layer="layer", inputs=x, seed=1)


def amaranth_hz(config: DcimConfig, vectors: "VectorSet", cycles: int = _AMARANTH_CYCLES) -> float:
    """Return cycles per second of Amaranth's simulator, every stream offered without a pause."""
    from amaranth import Value
    from amaranth.sim import Simulator

    from cimforge_hw.dcim.tile import DcimTile

    tile, taken = DcimTile(config), []
    beats = {name: itertools.cycle([int.from_bytes(beat.tobytes(), "little") for beat in words])
             for name, words in (("commands", vectors.words), ("weights", vectors.weights),
                                 ("acts", vectors.acts))}

    async def bench(context):
        ports = {name: getattr(tile, name) for name in beats}
        context.set(tile.results.ready, 1)
        for name, port in ports.items():
            context.set(port.valid, 1)
            context.set(Value.cast(port.payload), next(beats[name]))
        await context.tick()  # compiles the design
        begin = time.perf_counter()
        for _ in range(cycles):
            ready = [name for name, port in ports.items() if context.get(port.ready)]
            await context.tick()
            for name in ready:
                context.set(Value.cast(ports[name].payload), next(beats[name]))
        taken.append(time.perf_counter() - begin)

    def simulate():
        simulator = Simulator(tile)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()

    _deeply(simulate)
    return cycles / taken[0]


def _deeply(work: Callable[[], None]) -> None:
    """Call with a large stack: Amaranth compiles an adder tree into one expression of Python."""
    limit, size = sys.getrecursionlimit(), threading.stack_size(1 << 29)
    sys.setrecursionlimit(1_000_000)
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(work).result()
    finally:
        sys.setrecursionlimit(limit)
        threading.stack_size(size)


def pairs(rtl: dict[str, str], vectors: "VectorSet", turns: int = _TURNS, repeat: int = _REPEAT
          ) -> Iterator[tuple[float, float]]:
    """Yield cycles per second of the batch backend and of the harness, measured in turn."""
    from cimforge_verif.batch.speed import batch_hz, reference_hz

    for _ in range(turns):
        yield batch_hz(rtl, vectors, repeat), reference_hz(rtl, vectors, repeat)


def speed_rows(name: str, config: DcimConfig, *, tokens: int = _TOKENS, cycles: int = 3000,
               turns: int = _TURNS, repeat: int = _REPEAT) -> list[Row]:
    """Measure one tile; return its rows.

    The batch backend and the harness take turns, so that what else the machine does meets both;
    their rates are the medians, and the ratio is the median of the turns' ratios.
    """
    from cimforge_hw.emit import emit_tile
    from cimforge_verif.sim.layers import TOP
    from cimforge_verif.sim.throughput import compare_builds

    start = time.perf_counter()
    rtl = {f"{TOP}.v": emit_tile(config).verilog}
    emitted = time.perf_counter() - start
    made = busy_vectors(config, tokens)
    beats = {"commands": made.words, "weights": made.weights, "acts": made.acts}
    both = compare_builds(rtl, TOP, beats, ["results"], constants={"clear": 0}, cycles=cycles)
    (lean_build, lean), (cocotb_build, cocotb) = both["lean"], both["cocotb"]
    measured = list(pairs(rtl, made, turns, repeat))
    batch, harness = (statistics.median(side) for side in zip(*measured, strict=True))
    rows: list[Row] = [
        ("emission", name, emitted, "s", None, None, None),
        ("verilog, tile", name, len(rtl[f"{TOP}.v"]), "bytes", None, None, None),
        ("build, lean", name, lean_build, "s", cocotb_build, cocotb_build / lean_build, _COCOTB),
        ("Amaranth's simulator", name, amaranth_hz(config, made), "cycles/s", None, None, None),
        (_COCOTB, name, cocotb.hz, "cycles/s", None, None, None),
        ("cocotb, lean", name, lean.hz, "cycles/s", cocotb.hz, lean.hz / cocotb.hz, _COCOTB),
        (HARNESS, name, harness, "cycles/s", None, None, None),
        ("batch backend", name, batch, "cycles/s", harness,
         statistics.median(ours / theirs for ours, theirs in measured), HARNESS)]
    macs = made.counters["macs"] / made.counters["cycles"]  # per cycle, mean of the program
    rows += [(what, name, hz * macs, "MACs/s", base and base * macs, ratio, against)
             for what, _, hz, unit, base, ratio, against in rows if unit == "cycles/s"]
    return rows


def draw_speed(path: Path, rows: Sequence[Row]) -> Path:
    """Draw the cycles per second of every simulator, a bar per configuration."""
    speeds = [(what, config, value) for what, config, value, unit, *_ in rows
              if unit == "cycles/s"]
    names = list(dict.fromkeys(what for what, *_ in speeds))
    configs = list(dict.fromkeys(config for _, config, _ in speeds))

    def draw(axes) -> None:
        width = 0.8 / len(configs)
        for number, config in enumerate(configs):
            mine = {what: value for what, its, value in speeds if its == config}
            at = [names.index(what) + (number - (len(configs) - 1) / 2) * width for what in mine]
            bars = axes.bar(at, list(mine.values()), width * 0.95, label=config,
                            color=("#8fb3d9", "#2c5f8f", "#27813f")[number % 3])
            axes.bar_label(bars, [f"{value:,.0f}" for value in mine.values()], fontsize=7)
        axes.set_yscale("log")
        axes.set_ylabel("cycles per second")
        axes.set_xticks(range(len(names)), names)
        axes.legend(title="tile")

    return save_figure(path, draw, (8, 4))
