"""``cimforge analog``: layers of a model on the analog tile, in NumPy or on the RTL."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import cimforge as cf
from cimforge.analog_api import AnalogSimulation
from cimforge.arguments import check_run
from cimforge.report.analog_plots import draw_gantt, draw_mapping
from cimforge.report.progress import progress
from cimforge.spec.analog.timing import timeline
from cimforge.spec.errors import ConfigError
from cimforge.spec.files import check_writable, write_atomic

if TYPE_CHECKING:
    from cimforge_sw.quantize import IntegerModel

__all__ = ["Options", "run_analog"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to convert, map and run.

    Parameters
    ----------
    layers : tuple of str
        Globs.
    rule : str
        Blocks and rank that D2S gives the layers; empty: ``"sqrt"``, or what the checkpoint has if
        its layers are Monarch layers, which take no other.
    recover : bool
        Solve the factors for the calibration text; of a dense checkpoint.
    mapping, config : str
        Name of the mapping; preset or YAML file of the tile.
    tokens, bits : int
        Vectors to run; ADC bits, 0: lossless.
    backend : str
    stalls, seed : float, int
        As of ``simulate_analog``.
    """

    layers: tuple[str, ...] = ("*",)
    rule: str = ""
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
        The RTL differs from the golden model, or the tile from the layers' integers; with dither,
        whose noise the integers do not have, that is not compared.
    """
    from cimforge_sw.analog.converter import Conversion
    from cimforge_sw.analog.deploy import MAPPING_NAMES, deploy_mapped
    from cimforge_sw.analog.products import layer_products
    from cimforge_sw.folders import check_new, new_folder

    check_run(options.backend, options.stalls, options.seed)
    if options.mapping not in MAPPING_NAMES:
        raise ConfigError(f"mapping must be one of {', '.join(MAPPING_NAMES)}, not "
                          f"{options.mapping!r}")
    config, texts = cf.load_analog_config(options.config), texts[:64]
    if out is not None:
        check_new(out)
        check_writable(out)
    with progress() as bars:
        quantized, groups = _quantized(bars, source, texts, options)
        with bars.task("capture inputs", 1):
            inputs = cf.capture_inputs(quantized, texts, options.layers)
            _check_tokens(inputs, options.tokens)
            inputs = {name: x[:options.tokens] for name, x in inputs.items()}
        with bars.task("map, schedule", 1):
            deployed = deploy_mapped(
                quantized, config, options.layers, mapping=options.mapping, tokens=options.tokens,
                shared=groups, precision=cf.Precision(bits=options.bits))
        programs = [program for program, _ in deployed]
        with bars.task(f"simulate ({options.backend})", 1):
            results = cf.simulate_analog(programs, inputs, backend=options.backend,
                                         stalls=options.stalls, seed=options.seed)
    if config.dither == 0:
        _confirm(results, layer_products(quantized, inputs, Conversion(
            config.array, options.bits, cell_bits=config.cell_bits) if options.bits else None))
    arrays = [mapping.arrays for _, mapping in deployed]
    if out is not None:
        with new_folder(out) as folder:
            for number, program in enumerate(programs):
                rows = inputs[program.names[0].partition("[")[0]]
                cf.analog_vectors(program, rows).save(folder / f"{number:02}")
            draw_mapping(folder / "mapping.svg", deployed[0][1])  # its legend names the layers
            draw_gantt(folder / "gantt.svg", timeline(config, programs[0].run),
                       title=f"{options.tokens} tokens of {programs[0].names[0]}")
            write_atomic(folder / "analog.json", (json.dumps(
                {"model": source, "options": asdict(options), "config": config.to_dict(),
                 "layers": _structures(quantized, inputs),
                 "programs": [_record(result, n)
                              for result, n in zip(results, arrays, strict=True)]},
                indent=1) + "\n").encode())
    return _table(results, arrays)


def _check_tokens(rows: Mapping[str, np.ndarray], tokens: int) -> None:
    name, most = min(((name, len(x)) for name, x in rows.items()), key=lambda each: each[1])
    if tokens > most:
        raise ConfigError(f"tokens must be at most {most}, the vectors that the text gives {name}, "
                          f"not {tokens}")


def _confirm(results: Sequence[AnalogSimulation], exact: Mapping[str, np.ndarray]) -> None:
    """Compare the tile's results with the layers' integers, which know no mapping and no tile."""
    from cimforge_verif.compare import assert_equal

    for result in results:
        for name, y in result.y.items():
            assert_equal(f"{name}, {result.mapping} mapping, against its integers", y, exact[name],
                         ("token", "output"))


def _structures(quantized: "IntegerModel", names: Iterable[str]) -> dict[str, list[str]]:
    """Return the blocks of every layer's parts; of a dense layer its size."""
    from cimforge_sw.analog.integer import IntegerMonarch

    def of(part) -> str:
        return str(part.shape) if isinstance(part, IntegerMonarch) else "dense"

    layers = {name: quantized.layers[name] for name in names}
    return {name: [of(part) for part in (layer if isinstance(layer, list) else [layer])]
            for name, layer in layers.items()}


def _quantized(bars, source: str, texts: Sequence[str], options: Options):
    """Return the integer model and the groups of layers with a common input."""
    with bars.task("load model", 1):
        model = cf.load_model(source)
    groups = cf.shared_inputs(model, texts)
    given = options.rule or options.recover
    if options.mapping == "linear":
        if given:
            raise ConfigError("mapping 'linear' takes dense weights: rule and recover are for the "
                              "other mappings")
        with bars.task("calibrate, quantize", 1):
            stats = cf.calibrate(model, texts)
            return cf.quantize(cf.prune(model, cf.Plan.uniform("dense"), stats), stats), groups
    from cimforge_sw.layers import linear_layers
    from cimforge_sw.monarch.module import MonarchLinear

    if any(isinstance(layer, MonarchLinear) for layer in linear_layers(model.module).values()):
        if given:
            raise ConfigError(f"{source}: has Monarch layers already; rule and recover are for "
                              "dense checkpoints")
    else:
        plan = cf.MonarchPlan("dense", dict.fromkeys(options.layers, options.rule or "sqrt"))
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
