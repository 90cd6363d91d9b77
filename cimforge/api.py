"""What users call: a checkpoint to a verified layer in a few lines. Heavy imports are lazy.

Examples
--------
A layer of a tiny model, from random weights to vectors that the RTL must match:

>>> import numpy as np
>>> import cimforge as cf
>>> from types import SimpleNamespace
>>> from cimforge.spec.pattern import NmPattern
>>> weight = np.tile(np.array([3, 0, 0, -5], dtype=np.int8), (6, 4))     # 2:4, O = 6, K = 16
>>> layers = {"fc": SimpleNamespace(weight=weight, pattern=NmPattern(2, 4))}
>>> program = cf.compile(layers, cf.load_config("tiny"), tokens=2)
>>> str(program.layer("fc").mode)
'2:4 G=2'
>>> x = np.arange(32, dtype=np.int8).reshape(2, 16)
>>> result = cf.simulate(program, layer="fc", inputs=x)
>>> bool((result.y == x.astype(int) @ weight.T.astype(int)).all())
True
>>> result.cycles_predicted == cf.estimate(program, "fc").cycles
True
>>> vectors = cf.vectors(program, layer="fc", inputs=x)
>>> vectors.results.shape                                  # beats of the result stream
(4, 4)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cimforge.analog_api import (
    AnalogSimulation,
    analog_vectors,
    load_analog_vectors,
    simulate_analog,
)
from cimforge.arguments import check_run, checked
from cimforge.model_api import LayerRun, ModelSimulation, simulate_model
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge.spec.program import LayerProgram, Program
from cimforge.spec.program_io import load_program, save_program
from cimforge.spec.yaml_config import load_analog_config, load_config

if TYPE_CHECKING:
    from cimforge_sw.analog.deploy import deploy, shared_inputs
    from cimforge_sw.analog.integer import quantize_monarch
    from cimforge_sw.analog.schedule import Precision
    from cimforge_sw.calibration import calibrate
    from cimforge_sw.compile import Estimate, retarget
    from cimforge_sw.evaluate import bits_per_byte, cosine_to
    from cimforge_sw.models import load_model
    from cimforge_sw.monarch.checkpoint import load_monarch, save_monarch
    from cimforge_sw.monarch.convert import d2s, d2s_with_recovery
    from cimforge_sw.monarch.cost import monarch_cost
    from cimforge_sw.monarch.plan import MonarchPlan
    from cimforge_sw.packed import load_packed, save_packed, save_pruned
    from cimforge_sw.plan import Plan
    from cimforge_sw.prune import prune
    from cimforge_sw.quantize import capture_inputs, quantize
    from cimforge_sw.selection import flow, flow_x
    from cimforge_sw.stream import stream_prune
    from cimforge_sw.stream_select import stream_select
    from cimforge_sw.update import prune_with_update
    from cimforge_verif.vectors import VectorSet

__all__ = [
    "AnalogSimulation", "LayerRun", "ModelSimulation", "MonarchPlan", "Plan", "Precision",
    "SimulationResult", "analog_vectors", "bits_per_byte", "calibrate", "capture_inputs",
    "compile", "cosine_to", "d2s", "d2s_with_recovery", "deploy", "estimate", "flow", "flow_x",
    "load_analog_config", "load_analog_vectors", "load_config", "load_model", "load_monarch",
    "load_packed", "load_program", "load_vectors", "monarch_cost", "prune", "prune_with_update",
    "quantize", "quantize_monarch", "retarget", "save_monarch", "save_packed", "save_program",
    "save_pruned", "shared_inputs", "simulate", "simulate_analog", "simulate_many",
    "simulate_model", "stream_prune", "stream_select", "vectors", "verilog",
]

# name -> module of the software side that has it; imported when first asked for.
_SOFTWARE = {
    "Precision": "cimforge_sw.analog.schedule", "deploy": "cimforge_sw.analog.deploy",
    "quantize_monarch": "cimforge_sw.analog.integer", "shared_inputs": "cimforge_sw.analog.deploy",
    "Plan": "cimforge_sw.plan", "calibrate": "cimforge_sw.calibration",
    "capture_inputs": "cimforge_sw.quantize", "cosine_to": "cimforge_sw.evaluate",
    "bits_per_byte": "cimforge_sw.evaluate", "flow": "cimforge_sw.selection",
    "flow_x": "cimforge_sw.selection", "load_model": "cimforge_sw.models",
    "load_packed": "cimforge_sw.packed", "prune": "cimforge_sw.prune",
    "MonarchPlan": "cimforge_sw.monarch.plan", "d2s": "cimforge_sw.monarch.convert",
    "d2s_with_recovery": "cimforge_sw.monarch.convert",
    "load_monarch": "cimforge_sw.monarch.checkpoint", "monarch_cost": "cimforge_sw.monarch.cost",
    "save_monarch": "cimforge_sw.monarch.checkpoint",
    "prune_with_update": "cimforge_sw.update", "save_packed": "cimforge_sw.packed",
    "save_pruned": "cimforge_sw.packed", "stream_prune": "cimforge_sw.stream",
    "stream_select": "cimforge_sw.stream_select",
    "quantize": "cimforge_sw.quantize", "retarget": "cimforge_sw.compile",
}


def __getattr__(name: str):
    if name not in _SOFTWARE:
        raise AttributeError(f"module 'cimforge.api' has no attribute {name!r}")
    from importlib import import_module
    found = getattr(import_module(_SOFTWARE[name]), name)
    return found if isinstance(found, type) else checked(found)


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulationResult:
    """One layer, executed.

    Attributes
    ----------
    layer, backend : str
    y : ndarray of int64, shape (T, O)
        Accumulators, compared bit by bit with the golden model where the backend is not it.
    cycles_predicted : int
        Closed form.
    cycles_counted : int or None
        The RTL's counter; None where nothing was simulated.
    counters : dict
        All counters of the tile.
    """

    layer: str
    backend: str
    y: np.ndarray
    cycles_predicted: int
    cycles_counted: int | None
    counters: dict[str, int]


@dataclass(frozen=True, eq=False)
class _Layer:
    """What the compiler needs of a quantized layer; ``kept`` counts the pruner's mask."""

    weight: np.ndarray
    pattern: NmPattern
    act_scale: float
    kept: int


@checked
def compile(layers: Any, config: DcimConfig, tokens: int = 16,
            progress: Callable[[int, int, str], None] | None = None) -> Program:
    """Compile quantized layers into a program.

    Parameters
    ----------
    layers : QuantizedModel, or mapping of name to an object with ``weight`` and ``pattern``
        Integer weights of shape (O, K), and an NmPattern.
    config : DcimConfig
    tokens : int
        Vectors that a run of a layer processes.
    progress : callable, optional
        Called with (layers done, layers, name).

    Raises
    ------
    DataError, ConfigError
        If a layer breaks its pattern or does not fit the hardware.
    """
    from cimforge_sw.compile import compile_model

    origin: dict[str, Any] = {}
    if not isinstance(layers, Mapping):
        if not hasattr(layers, "pruned"):
            raise DataError(f"compile: layers must be a QuantizedModel (from cf.quantize) or a "
                            f"mapping of layers by name, not a {type(layers).__name__}")
        if (layers.weight_bits, layers.act_bits) != (config.weight_bits, config.act_bits):
            raise ConfigError(f"layers have {layers.weight_bits}-bit weights and "
                              f"{layers.act_bits}-bit activations, the configuration "
                              f"{config.weight_bits} and {config.act_bits}")
        origin = {"model": layers.pruned.model.name, "model_digest": layers.pruned.model.digest}
        layers = {name: _Layer(layer.weight, layer.pattern, float(layer.act_scale),
                               int(layers.pruned.masks[name].sum()))
                  for name, layer in layers.layers.items()}
    _check_layers(layers)
    origin["act_scale"] = {name: layer.act_scale for name, layer in layers.items()
                           if hasattr(layer, "act_scale")}
    return compile_model(config, layers, tokens, progress, origin=origin)


def _check_layers(layers: Mapping[str, Any]) -> None:
    for name, layer in layers.items():
        if not hasattr(layer, "weight") or not hasattr(layer, "pattern"):
            raise DataError(f"{name}: a layer needs a weight and a pattern, which a "
                            f"{type(layer).__name__} has not")
        if not isinstance(layer.pattern, NmPattern):
            raise DataError(f"{name}: pattern must be an NmPattern, such as "
                            f"NmPattern.parse('2:4'), not {layer.pattern!r}")


def _prepared(program: Program, layer: str, inputs: np.ndarray) -> tuple[LayerProgram, np.ndarray]:
    """Return the layer compiled for these inputs, and the inputs as integers."""
    chosen = program.layer(layer)
    inputs = np.asarray(inputs)
    if inputs.ndim != 2 or inputs.shape[1] != chosen.inputs:
        raise DataError(f"{layer}: inputs must have shape (tokens, {chosen.inputs}), "
                        f"not {inputs.shape}")
    if np.issubdtype(inputs.dtype, np.floating):
        inputs = _quantized(program, layer, inputs)
    if len(inputs) != chosen.tokens:
        from cimforge_sw.compile import retarget_layer
        chosen = retarget_layer(program.config, chosen, len(inputs))
    return chosen, inputs


def _quantized(program: Program, layer: str, inputs: np.ndarray) -> np.ndarray:
    scale = program.origin.get("act_scale", {}).get(layer)
    if scale is None:
        raise DataError(f"{layer}: float inputs need the activation scale of a calibrated model, "
                        f"and this program has none; give int8 inputs")
    if not np.isfinite(inputs).all():
        raise DataError(f"{layer}: inputs contain NaN or infinity")
    largest = (1 << program.config.act_bits - 1) - 1
    steps = np.rint(inputs.astype(np.float32) / np.float32(scale))
    return np.clip(steps, -largest, largest).astype(np.int8)


@checked
def vectors(program: Program, *, layer: str, inputs: np.ndarray,
            seed: int | None = None) -> "VectorSet":
    """Return stimulus and expected response of one layer, for this or any other testbench.

    Parameters
    ----------
    program : Program
    layer : str
    inputs : ndarray, shape (T, K)
        int8 as captured, or float32, which the calibrated scale quantizes.
    seed : int, optional
        Kept in the manifest, where inputs are random.
    """
    from cimforge_verif.vectors import make_vectors

    chosen, x = _prepared(program, layer, inputs)
    origin = {key: program.origin[key] for key in ("model", "model_digest")
              if key in program.origin}
    return make_vectors(program.config, chosen, x, seed=seed, origin=origin)


@checked
def load_vectors(folder: str | Path, config: DcimConfig) -> "VectorSet":
    """Load a saved vector set, refusing one of another configuration or a damaged one."""
    from cimforge_verif.vectors import VectorSet

    return VectorSet.load(folder, config)


@checked
def simulate(program: Program, *, layer: str, inputs: np.ndarray, backend: str = "golden",
             stalls: float = 0.0, seed: int = 0,
             progress: Callable[[int, int, str], None] | None = None) -> SimulationResult:
    """Execute one layer.

    Parameters
    ----------
    program : Program
    layer : str
    inputs : ndarray, shape (T, K)
        As for :func:`vectors`.
    backend, stalls, seed, progress
        As for :func:`simulate_many`, with its errors.

    Raises
    ------
    DataError
        Unknown layer or backend, or inputs that do not fit.
    """
    return simulate_many(program, {layer: inputs}, backend=backend, stalls=stalls, seed=seed,
                         progress=progress)[layer]


@checked
def simulate_many(program: Program, inputs: Mapping[str, np.ndarray], *, backend: str = "golden",
                  stalls: float = 0.0, seed: int = 0,
                  progress: Callable[[int, int, str], None] | None = None
                  ) -> dict[str, SimulationResult]:
    """Execute layers, each from reset; the RTL is generated and built once for all.

    Parameters
    ----------
    program : Program
    inputs : mapping of layer name to ndarray of shape (T, K)
        As for :func:`vectors`.
    backend : str
        ``"golden"``: the program replayed in NumPy, and compared with nothing. ``"cocotb"``: the
        RTL on Verilator under cocotb, every result and counter compared with the replay.
        ``"batch"``: the same on a verilated library, without Python per cycle and on all cores.
    stalls, seed : float, int
        ``cocotb``, ``batch``: probability that a stream waits in a cycle, and seed of the waiting.
    progress : callable, optional
        Called with (done, all, name of the layer); ``cocotb``: in result beats, else in layers.

    Returns
    -------
    dict of str to SimulationResult

    Raises
    ------
    DataError
        Unknown layer or backend, or inputs that do not fit.
    ConfigError
        Stalls that are no probability below 1, or nothing to stall, or a seed below 0.
    ToolError
        Verilator, a compiler or a library is missing, or the simulation broke down.
    AssertionError
        The RTL differs from the golden model; the message names layer and position.
    """
    check_run(backend, stalls, seed)
    sets = []
    for name, x in inputs.items():
        sets.append(vectors(program, layer=name, inputs=x, seed=seed))
        if progress is not None and backend == "golden":
            progress(len(sets), len(inputs), name)
    counters = [made.counters for made in sets]
    if backend != "golden":
        from cimforge_hw.cache import simulation_rtl

        counters = _on_rtl(backend, simulation_rtl(program.config), sets,
                           {"stalls": stalls, "seed": seed}, progress)
    return {name: SimulationResult(
        layer=name, backend=backend, y=made.y, counters=counted,
        cycles_predicted=made.counters["cycles"],
        cycles_counted=counted["cycles"] if backend != "golden" else None)
        for name, made, counted in zip(inputs, sets, counters, strict=True)}


def _on_rtl(backend: str, rtl: dict[str, str], sets: "list[VectorSet]", options: dict[str, Any],
            progress: Callable[[int, int, str], None] | None) -> list[dict[str, int]]:
    """Return the counters of every layer; results are compared on the way."""
    from cimforge.report.progress import over_layers, over_names
    from cimforge_verif.batch.layers import batch_layers
    from cimforge_verif.sim.layers import simulate_layers

    config = sets[0].config if sets else None
    if config is None:
        return []
    if backend == "batch":
        results = batch_layers(config, rtl, sets, progress=over_names(len(sets), progress),
                               **options)
    else:
        beats = {made.layer: len(made.results) for made in sets}
        results = simulate_layers(config, rtl, sets, **options,
                                  progress=progress and over_layers(beats, progress))
    return [result.counters for result in results]


@checked
def estimate(program: Program, layer: str) -> "Estimate":
    """Return the closed-form cycles of one layer, weights streamed and weights in place."""
    from cimforge_sw.compile import estimate as of_layer

    return of_layer(program.config, program.layer(layer))


def verilog(config: DcimConfig | AnalogConfig, folder: str | Path, *, soc: bool = False
            ) -> list[Path]:
    """Write a tile's Verilog and its JSON description; files that would not change stay as is.

    ``dcim_tile.v`` of a `DcimConfig`, ``analog_tile.v`` of an `AnalogConfig`. With ``soc`` the tile
    is on a bus: ``dcim_soc.v`` or ``analog_soc.v``, and ``cimforge_regs.h`` for firmware.
    """
    from cimforge_hw.emit import emit_analog_tile, emit_soc, emit_tile

    if not isinstance(config, (DcimConfig, AnalogConfig)):
        raise ConfigError(f"verilog: config must be a DcimConfig (from cf.load_config) or an "
                          f"AnalogConfig (from cf.load_analog_config), not {config!r}")
    if soc:
        return emit_soc(config).write(Path(folder))
    if isinstance(config, AnalogConfig):
        return emit_analog_tile(config).write(Path(folder))
    return emit_tile(config).write(Path(folder))
