"""The main job on the embedded model: prune, compile, generate, simulate, report."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import cimforge as cf
from cimforge.early import check_fit
from cimforge.report.demo_page import write_demo_report
from cimforge.report.progress import Progress, over_layers, progress
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.files import check_writable

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


def run_demo(config_name: str, out: Path, rtl: bool = True, plan: Path = PLAN) -> Path:
    """Run everything and return the path of the report.

    Parameters
    ----------
    config_name : str
        Preset or YAML file of the tile.
    out : Path
        Folder of the report.
    rtl : bool
        Simulate the layers of :data:`RTL_LAYERS`.
    plan : Path
        Which N:M each layer gets, as YAML.

    Raises
    ------
    CimforgeError
        What the caller gave cannot be used: a configuration that the model's layers do not fit, a
        folder that takes no files, no compiler.
    AssertionError
        At the first results that differ, naming the layer and the first differing position.
    """
    config, chosen, clock = cf.load_config(config_name), cf.Plan.load(plan), _Clock()
    check_writable(out)
    if rtl:
        from cimforge_verif.sim.toolchain import toolchain
        toolchain()  # a missing compiler is found now and not after the pruning
    with progress() as bars:
        model, quantized, accuracy = _software(bars, clock, config, chosen)
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


def _software(bars: Progress, clock: _Clock, config: DcimConfig, plan: "cf.Plan"):
    """Load, calibrate, prune and quantize; return the quantized model and its scores."""
    from cimforge_sw.sentences import calibration_sentences, held_out_sentences

    with clock.stage("load"), bars.task("load model", 1):
        model = cf.load_model(MODEL)
        check_fit(model, plan, config, TOKENS)
    with clock.stage("calibrate"), bars.task("calibrate", None) as bar:
        stats = cf.calibrate(model, calibration_sentences(), progress=bar.of)
    with clock.stage("prune and quantize"), bars.task("prune, quantize", 1):
        pruned = cf.prune(model, plan, stats)
        quantized = cf.quantize(pruned, stats, config.weight_bits, config.act_bits)
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


def _agree(layer: str, y: np.ndarray, others: dict[str, np.ndarray]) -> bool:
    """Compare a layer's replayed sums with other statements of them; a difference raises."""
    from cimforge_verif.compare import assert_equal

    for other, expected in others.items():
        assert_equal(f"{layer}: replay against {other}", y, expected, ("token", "output"))
    return all(np.array_equal(y, expected) for expected in others.values())


def _replay(bars: Progress, program, quantized, inputs) -> dict[str, dict[str, Any]]:
    """Replay every layer; compare with torch's integer path and the golden blocks' replay."""
    from cimforge_sw.compile import slot_use_by_group
    from cimforge_verif.replay import golden_replay

    records = {}
    with bars.task("replay", len(program.layers)) as bar:
        for name, layer in program.layers.items():
            result = cf.simulate(program, layer=name, inputs=inputs[name])
            exact = _agree(name, result.y, {
                "torch": quantized.layers[name].int_matmul(inputs[name]),
                "golden": golden_replay(program.config, layer, inputs[name]).y})
            estimate = cf.estimate(program, name)
            records[name] = {
                "layer": name, "pattern": layer.pattern, "backend": "golden", "bit_exact": exact,
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
    from cimforge_hw.cache import simulation_rtl
    from cimforge_verif.sim.build import build
    from cimforge_verif.sim.layers import TOP, simulate_layers

    names = [name for name in program.layers if name.startswith(RTL_LAYERS)]
    if not names:
        raise DataError(f"the model has no layers under {RTL_LAYERS!r}")
    sets = [cf.vectors(program, layer=name, inputs=inputs[name]) for name in names]
    with bars.task("generate and build RTL", 1):
        rtl = simulation_rtl(program.config)
        build(rtl, TOP)
    beats = {made.layer: len(made.results) for made in sets}
    with bars.task("simulate RTL", sum(beats.values())) as bar:
        results = simulate_layers(program.config, rtl, sets, progress=over_layers(beats, bar.of))
    for result in results:
        records[result.name] |= _counted(result, records[result.name]["cycles_predicted"])


def _counted(result, predicted: int) -> dict[str, Any]:
    """Return what a layer's record gains from the RTL; cycles that differ are a mismatch."""
    from cimforge_verif.compare import Mismatch

    counted = result.counters["cycles"]
    if counted != predicted:
        raise Mismatch(f"{result.name}: {counted} cycles counted, {predicted} predicted")
    return {"backend": "cocotb", "cycles_counted": counted, "counters": result.counters,
            "simulated_cycles_per_second": round(result.simulated / result.seconds)}
