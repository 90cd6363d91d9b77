"""Whole models through the digital tile: every linear layer on the RTL, the rest as ever."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from cimforge.arguments import check_run, checked
from cimforge.report.progress import over_names
from cimforge.result_store import ResultStore
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.files import check_writable

if TYPE_CHECKING:
    from cimforge_sw.models import Model
    from cimforge_sw.quantize import QuantizedModel
    from cimforge_verif.vectors import VectorSet

__all__ = ["LayerRun", "ModelSimulation", "simulate_model"]


@dataclass(frozen=True, kw_only=True)
class LayerRun:
    """One layer on all of its inputs.

    Attributes
    ----------
    layer, pattern : str
    outputs, inputs, tokens : int
    programs : int
        Runs of the tile, each of so many tokens at most.
    cycles_predicted : int
        Closed form, all programs.
    cycles_counted : int or None
        The RTL's counter; None if nothing was simulated.
    """

    layer: str
    pattern: str
    outputs: int
    inputs: int
    tokens: int
    programs: int
    cycles_predicted: int
    cycles_counted: int | None


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelSimulation:
    """A model, executed.

    Attributes
    ----------
    backend : str
    layers : list of LayerRun
        In the order of the model; every accumulator equals the integer model's.
    integer, hardware : object
        What the run returned on the integer model, and with every product taken from the tile.
    """

    backend: str
    layers: list[LayerRun]
    integer: Any
    hardware: Any


@checked
def simulate_model(quantized: "QuantizedModel", config: DcimConfig, run: "Callable[[Model], Any]",
                   *, backend: str = "batch", tokens: int = 128, stalls: float = 0.0, seed: int = 0,
                   folder: str | Path | None = None, workers: int | None = None,
                   progress: Callable[[int, int, str], None] | None = None) -> ModelSimulation:
    """Run a model end to end with every linear layer's product from the tile.

    The integer model runs first and records what each layer is given; then every layer runs on
    these inputs, compared to the bit; then the model runs again on what the tile computed.

    Parameters
    ----------
    quantized : QuantizedModel
        From `quantize`.
    config : DcimConfig
    run : callable
        Given a model: whatever is to be computed, such as ``lambda m: cf.bits_per_byte(m, texts)``.
        It must do the same both times.
    backend : str
        ``"batch"``: RTL through the verilated library, on all cores; ``"cocotb"``: the same RTL,
        slower; ``"golden"``: programs replayed in NumPy.
    tokens : int
        Most vectors of one program.
    stalls, seed : float, int
        As for `simulate_many`.
    folder : path, optional
        Where results of layers are kept: a run that was interrupted goes on.
    workers : int, optional
        Tiles at once (``batch``).
    progress : callable, optional
        Called with (programs done, all programs, name of a layer).

    Raises
    ------
    DataError
        A layer that is never reached, or that does not fit; a model that does not do the same
        twice.
    ConfigError
        As `simulate_many`; or tokens below 1.
    AssertionError
        An accumulator that is not the integer model's; the message names layer and position.
    """
    from cimforge_sw.recording import Recording

    check_run(backend, stalls, seed)
    if not hasattr(quantized, "layers") or not hasattr(quantized, "pruned"):
        raise DataError("simulate_model: quantized must be a QuantizedModel (from cf.quantize), "
                        f"not a {type(quantized).__name__}")
    if not callable(run):
        raise DataError(f"simulate_model: run must be a function of a model, not {run!r}")
    if tokens < 1:
        raise ConfigError(f"tokens must be at least 1, not {tokens}")
    if folder is not None:
        check_writable(Path(folder))
    recording = Recording(quantized)
    integer = run(recording.model())
    rows = {name: recording.inputs(name) for name in quantized.layers}
    rtl = {} if backend == "golden" else _rtl(config)
    about = {"config": config.digest, "backend": backend, "tokens": tokens, "stalls": stalls,
             "seed": seed, "rtl": hashlib.sha256("".join(rtl.values()).encode()).hexdigest(),
             "record": [each.name for each in fields(LayerRun)]}
    store = None if folder is None else ResultStore(Path(folder), about)
    found: dict[str, tuple[LayerRun, np.ndarray]] = {}
    if store is not None:
        for name, x in rows.items():
            if (kept := store.load(name, quantized.layers[name].weight, x)) is not None:
                # Kept for the same integers in: the integer model must still say the same.
                _compare(name, kept[1], recording.products(name))
                found[name] = LayerRun(**kept[0]), kept[1]
    left = {name: _Layer(name, quantized.layers[name], x, config, tokens)
            for name, x in rows.items() if name not in found}
    total = sum(layer.programs for layer in left.values())
    done = over_names(total, progress)

    def finish(layer: _Layer) -> None:
        found[layer.name] = layer.finished(recording.products(layer.name))
        if store is not None:
            record, y = found[layer.name]
            store.save(layer.name, layer.weight, layer.x, asdict(record), y)

    _execute(list(left.values()), config, rtl, backend, stalls, seed, workers, done, finish)
    products = {name: found[name][1] for name in rows}
    return ModelSimulation(backend=backend, layers=[found[name][0] for name in rows],
                           integer=integer, hardware=run(recording.replayed(products)))


def _rtl(config: DcimConfig) -> dict[str, str]:
    from cimforge_hw.cache import simulation_rtl

    return simulation_rtl(config)


def _compare(name: str, y: np.ndarray, exact: np.ndarray) -> None:
    from cimforge_verif.compare import assert_equal

    assert_equal(f"layer {name}: accumulators", y, exact, ("token", "output"))


class _Layer:
    """A layer's programs, made one after the other, and what came of them."""

    def __init__(self, name: str, quantized: Any, x: np.ndarray, config: DcimConfig, tokens: int):
        self.name, self.x, self.weight, self.config = name, x, quantized.weight, config
        self._layer, self._tokens = quantized, tokens
        self.programs = -(-len(x) // tokens)
        self.y = np.zeros((len(x), len(quantized.weight)), dtype=np.int64)
        self.predicted = self.counted = self.ended = 0

    def vectors(self) -> "Iterator[tuple[int, Any, VectorSet]]":
        """Yield (first row, program, vectors)."""
        from cimforge_sw.compile import retarget_layer
        from cimforge_sw.compile.layer import compile_layer
        from cimforge_verif.vectors import make_vectors

        program = compile_layer(self.config, self.name, self.weight, self._layer.pattern,
                                min(self._tokens, len(self.x)))
        for first in range(0, len(self.x), self._tokens):
            part = self.x[first:first + self._tokens]
            if len(part) != program.tokens:
                program = retarget_layer(self.config, program, len(part))
            yield first, program, make_vectors(self.config, program, part)

    def take(self, first: int, program: Any, vectors: "VectorSet", beats: np.ndarray,
             counted: int | None) -> None:
        """Keep the results of one program."""
        part = program.collect(self.config, beats)
        self.y[first:first + len(part)] = part
        self.predicted += vectors.counters["cycles"]
        self.counted += counted or 0
        self.ended += 1

    def finished(self, exact: np.ndarray) -> tuple[LayerRun, np.ndarray]:
        """Compare with the integer model's accumulators; return the record and the results."""
        _compare(self.name, self.y, exact)
        outputs, inputs = self.weight.shape
        return LayerRun(layer=self.name, pattern=str(self._layer.pattern), outputs=outputs,
                        inputs=inputs, tokens=len(self.x), programs=self.programs,
                        cycles_predicted=self.predicted,
                        cycles_counted=self.counted or None), self.y.astype(np.int32)


def _execute(layers: list[_Layer], config: DcimConfig, rtl: dict[str, str], backend: str,
             stalls: float, seed: int, workers: int | None, done: Callable[[str], None],
             finish: Callable[[_Layer], None]) -> None:
    """Run every program of every layer; ``finish`` is called with each layer that is complete."""
    if not layers:
        return  # all of them were kept: nothing to build for
    lock = Lock()

    def take(layer: _Layer, first: int, program: Any, vectors: "VectorSet", beats: np.ndarray,
             counted: int | None) -> None:
        with lock:
            layer.take(first, program, vectors, beats, counted)
            complete = layer.ended == layer.programs
        done(layer.name)
        if complete:
            finish(layer)

    work = ((layer, *made) for layer in layers for made in layer.vectors())
    if backend == "golden":
        for layer, first, program, vectors in work:
            take(layer, first, program, vectors, vectors.results, None)
        return
    from cimforge_verif.batch.layers import run_layers
    from cimforge_verif.sim.layers import simulate_layers

    if backend == "cocotb":
        for layer, first, program, vectors in work:
            (result,) = simulate_layers(config, rtl, [vectors], stalls=stalls, seed=seed)
            take(layer, first, program, vectors, result.results, result.counters["cycles"])
        return

    def keep(at: tuple[_Layer, int, Any, "VectorSet"], result: Any) -> None:
        take(*at, beats=result.results, counted=result.counters["cycles"])

    run_layers(rtl, ((at[-1], partial(keep, at)) for at in work), stalls=stalls, seed=seed,
               workers=workers)
