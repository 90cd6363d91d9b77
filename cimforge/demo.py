"""The main job on the embedded model: prune, compile, generate, simulate, report."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import cimforge as cf
from cimforge.report.demo_page import write_demo_report
from cimforge.report.progress import Progress, progress
from cimforge.spec.errors import DataError

__all__ = ["MODEL", "PLAN", "run_demo"]

MODEL = "all-MiniLM-L6-v2"
PLAN = Path(__file__).parent / "data" / "demo_plan.yaml"
TOKENS = 16
#: One whole attention and one whole MLP block: every matrix of this layer runs on the RTL.
RTL_LAYERS = "encoder.layer.5."


class _Clock:
    """Seconds of every stage, in the order they ran."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)


def run_demo(config_name: str, out: Path, rtl: bool = True) -> Path:
    """Run everything and return the path of the report.

    Parameters
    ----------
    config_name : str
        Preset or YAML file of the tile.
    out : Path
        Folder of the report.
    rtl : bool
        Simulate the layers of :data:`RTL_LAYERS`.

    Raises
    ------
    CimforgeError
        At the first gate that fails, naming the layer and the first differing position.
    """
    config, clock = cf.load_config(config_name), _Clock()
    if rtl:
        from cimforge_verif.sim.toolchain import toolchain
        toolchain()  # a missing compiler is found now and not after the pruning
    with progress() as bars:
        model, quantized, accuracy = _software(bars, clock)
        with clock.stage("compile"), bars.task("compile", None) as bar:
            program = cf.compile(quantized, config, TOKENS, progress=bar.of)
            cf.save_program(program, out / "program")
        with clock.stage("replay"):
            inputs = _inputs(quantized)
            records = _replay(bars, program, quantized, inputs)
        if rtl:
            with clock.stage("rtl"):
                _simulate(bars, program, inputs, records)
    return write_demo_report(out, program, records, accuracy, clock.seconds, model.name)


def _software(bars: Progress, clock: _Clock):
    """Load, calibrate, prune and quantize; return the quantized model and its scores."""
    from cimforge_sw.sentences import calibration_sentences, held_out_sentences

    with clock.stage("load"), bars.task("load model", 1):
        model = cf.load_model(MODEL)
    with clock.stage("calibrate"), bars.task("calibrate", None) as bar:
        stats = cf.calibrate(model, calibration_sentences(), progress=bar.of)
    with clock.stage("prune and quantize"), bars.task("prune, quantize", 1):
        pruned = cf.prune(model, cf.Plan.load(PLAN), stats)
        quantized = cf.quantize(pruned, stats)
    with clock.stage("score"), bars.task("score", 3) as bar:
        texts, scores = held_out_sentences(), {}
        for name, variant in (("dense", model), ("pruned", pruned.model),
                              ("quantized", quantized.as_model())):
            scores[name] = cf.cosine_to(model, variant, texts)
            bar.advance()
    accuracy = {"layer": "*", "metric": "mean cosine of held-out sentence embeddings to the "
                "dense model's", "sparsity": pruned.sparsity, **scores}
    return model, quantized, accuracy


def _inputs(quantized) -> dict[str, np.ndarray]:
    """Return the first tokens that every layer sees on held-out text, as captured int8."""
    from cimforge_sw.sentences import held_out_sentences

    captured = cf.capture_inputs(quantized, held_out_sentences()[:4], ["*"])
    return {name: x[:TOKENS] for name, x in captured.items()}


def _replay(bars: Progress, program, quantized, inputs) -> dict[str, dict[str, Any]]:
    """Replay every layer's program and compare it with torch's integer path."""
    from cimforge_sw.compile import slot_use_by_group
    from cimforge_verif.compare import assert_equal

    records = {}
    with bars.task("replay", len(program.layers)) as bar:
        for name, layer in program.layers.items():
            result = cf.simulate(program, layer=name, inputs=inputs[name])
            expected = quantized.layers[name].int_matmul(inputs[name])
            assert_equal(f"{name}: replay against torch", result.y, expected, ("token", "output"))
            estimate = cf.estimate(program, name)
            records[name] = {
                "layer": name, "pattern": layer.pattern, "backend": "golden", "bit_exact": True,
                "cycles_predicted": result.cycles_predicted, "cycles_counted": None,
                "slot_use": layer.slot_use, "busy": estimate.busy,
                "busy_resident": estimate.resident_busy,
                "cycles_resident": estimate.resident_cycles,
                "slot_use_best_group": max(slot_use_by_group(program.config, layer).values()),
                "mode": str(layer.mode), "tiles": layer.tiles, "outputs": layer.outputs,
                "inputs": layer.inputs, "tokens": layer.tokens,
            }
            bar.advance()
    return records


def _simulate(bars: Progress, program, inputs, records: dict[str, dict[str, Any]]) -> None:
    """Run the chosen layers on the RTL under cocotb; a mismatch raises."""
    from cimforge_hw.emit import emit_tile
    from cimforge_verif.sim.build import build
    from cimforge_verif.sim.layers import TOP, simulate_layers

    names = [name for name in program.layers if name.startswith(RTL_LAYERS)]
    if not names:
        raise DataError(f"the model has no layers under {RTL_LAYERS!r}")
    sets = [cf.vectors(program, layer=name, inputs=inputs[name]) for name in names]
    with bars.task("generate and build RTL", 1):
        rtl = {f"{TOP}.v": emit_tile(program.config).verilog}
        build(rtl, TOP)
    with bars.task("simulate RTL", sum(len(made.results) for made in sets)) as bar:
        done = dict.fromkeys(names, 0)

        def report(layer: str, beats: int, total: int):
            for name in names[:names.index(layer)]:
                done[name] = len(sets[names.index(name)].results)
            done[layer] = beats
            bar.at(sum(done.values()))

        results = simulate_layers(program.config, rtl, sets, progress=report)
    for result in results:
        counted = result.counters["cycles"]
        if counted != records[result.name]["cycles_predicted"]:
            raise DataError(f"{result.name}: {counted} cycles counted, "
                            f"{records[result.name]['cycles_predicted']} predicted")
        records[result.name] |= {
            "backend": "cocotb", "cycles_counted": counted, "counters": result.counters,
            "simulated_cycles_per_second": round(result.simulated / result.seconds)}

