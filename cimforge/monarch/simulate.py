"""``cimforge analog``: layers of a model on the analog tile, in NumPy or on the RTL."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import cimforge as cf
from cimforge.analog_api import AnalogSimulation
from cimforge.arguments import check_run
from cimforge.report.analog_plots import draw_gantt, draw_mapping
from cimforge.report.progress import progress
from cimforge.spec.analog.timing import timeline
from cimforge.spec.errors import ConfigError
from cimforge.spec.files import check_writable, write_atomic

__all__ = ["Options", "run_analog"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to convert, map and run.

    Parameters
    ----------
    layers : tuple of str
        Globs.
    rule : str
        Blocks and rank that D2S gives the layers, unless the checkpoint has Monarch layers.
    recover : bool
        Solve the factors for the calibration text.
    mapping, config : str
        Name of the mapping; preset or YAML file of the tile.
    tokens, bits : int
        Vectors to run; ADC bits, 0: lossless.
    backend : str
    stalls, seed : float, int
        As of ``simulate_analog``.
    """

    layers: tuple[str, ...] = ("*",)
    rule: str = "sqrt"
    recover: bool = False
    mapping: str = "dense"
    config: str = "default"
    tokens: int = 4
    bits: int = 0
    backend: str = "golden"
    stalls: float = 0.0
    seed: int = 0


def run_analog(source: str, texts: Sequence[str], options: Options, out: Path | None = None) -> str:
    """Quantize, map, schedule and run layers on activations of the text; return a table.

    Parameters
    ----------
    source : str
        What ``load_model`` takes.
    texts : sequence of str
        Calibration text, of which the first 64; its first vectors are what runs.
    options : Options
    out : Path, optional
        Folder for ``analog.json``, vectors of every program, and pictures of the first one.

    Raises
    ------
    CimforgeError
        Options that do not fit, as the functions called say.
    AssertionError
        The RTL differs from the golden model.
    """
    from cimforge_sw.analog.deploy import MAPPING_NAMES, deploy_mapped

    check_run(options.backend, options.stalls, options.seed)
    if options.mapping not in MAPPING_NAMES:
        raise ConfigError(f"mapping must be one of {', '.join(MAPPING_NAMES)}, not "
                          f"{options.mapping!r}")
    config, texts = cf.load_analog_config(options.config), texts[:64]
    if out is not None:
        check_writable(out)
    with progress() as bars:
        quantized, groups = _quantized(bars, source, texts, options)
        with bars.task("map, schedule", 1):
            deployed = deploy_mapped(
                quantized, config, options.layers, mapping=options.mapping, tokens=options.tokens,
                shared=groups, precision=cf.Precision(bits=options.bits))
            inputs = {name: rows[:options.tokens] for name, rows in cf.capture_inputs(
                quantized, texts, options.layers).items()}
        programs = [program for program, _ in deployed]
        with bars.task(f"simulate ({options.backend})", 1):
            results = cf.simulate_analog(programs, inputs, backend=options.backend,
                                         stalls=options.stalls, seed=options.seed)
    arrays = [mapping.arrays for _, mapping in deployed]
    if out is not None:
        for number, program in enumerate(programs):
            rows = inputs[program.names[0].partition("[")[0]]
            cf.analog_vectors(program, rows).save(out / f"{number:02}")
        draw_mapping(out / "mapping.svg", deployed[0][1], title=", ".join(programs[0].names))
        draw_gantt(out / "gantt.svg", timeline(config, programs[0].run),
                   title=f"{options.tokens} tokens of {programs[0].names[0]}")
        write_atomic(out / "analog.json", (json.dumps(
            {"model": source, "options": asdict(options), "config": config.to_dict(),
             "programs": [_record(result, n) for result, n in zip(results, arrays, strict=True)]},
            indent=1) + "\n").encode())
    return _table(results, arrays)


def _quantized(bars, source: str, texts: Sequence[str], options: Options):
    """Return the integer model and the groups of layers with a common input."""
    with bars.task("load model", 1):
        model = cf.load_model(source)
    groups = cf.shared_inputs(model, texts)
    if options.mapping == "linear":
        with bars.task("calibrate, quantize", 1):
            stats = cf.calibrate(model, texts)
            return cf.quantize(cf.prune(model, cf.Plan.uniform("dense"), stats), stats), groups
    from cimforge_sw.layers import linear_layers
    from cimforge_sw.monarch.module import MonarchLinear

    if not any(isinstance(layer, MonarchLinear) for layer in linear_layers(model.module).values()):
        plan = cf.MonarchPlan("dense", dict.fromkeys(options.layers, options.rule))
        with bars.task("D2S", 1):
            convert = cf.d2s_with_recovery if options.recover else cf.d2s
            model = convert(model, plan, texts).model
    with bars.task("quantize", 1):
        return cf.quantize_monarch(model, texts, groups), groups


def _record(result: AnalogSimulation, arrays: int) -> dict:
    record = asdict(result)
    record["y"] = {name: list(np.shape(y)) for name, y in result.y.items()}
    return {**record, "arrays": arrays}


def _table(results: Sequence[AnalogSimulation], arrays: Sequence[int]) -> str:
    lines = []
    for result, count in zip(results, arrays, strict=True):
        counted = ("" if result.cycles_counted is None
                   else f", {result.cycles_counted} counted, equal to the golden model")
        flag = f", BLOCKS MIXED by command {result.illegal}" if result.illegal >= 0 else ""
        lines.append(f"{', '.join(result.names)}: {count} arrays, {result.cycles_run} cycles, with "
                     f"programming {result.cycles_predicted} predicted{counted}; "
                     f"{result.saturations} of {result.counters['conversions']} conversions "
                     f"clamped{flag}")
    return "\n".join(lines) + "\n"
