"""Energy of a macro under a model's pruned layer, at several sparsities."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import cimforge as cf
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.pattern import NmPattern
from cimforge.synth.activity import Simulator
from cimforge.synth.compose import Design
from cimforge.synth.opensta import DEFAULT_ACTIVITY
from cimforge.synth.power import EnergyModel
from cimforge.synth.trace import trace
from cimforge.synth.workload import (
    opened,
    run_columns,
    run_distribution,
    run_macro,
    run_merging,
    run_sub_macros,
)

__all__ = ["PATTERNS", "TOGETHER", "TOKENS", "LayerWork", "energy_records", "model_layers"]

#: Three quarters, half, and none of the weights pruned.
PATTERNS = ("2:8", "4:8", "8:8")
#: What a record is of that sums all blocks of a macro.
TOGETHER = "all of these"
#: Tokens of held-out text that run.
TOKENS = 32

#: What runs each block of a macro.
_RUNS: dict[str, Callable[..., Simulator]] = {
    "Column": run_columns, "SubMacro": run_sub_macros, "Distribution": run_distribution,
    "Merging": run_merging, "Macro": run_macro}


@dataclass(frozen=True, eq=False)
class LayerWork:
    """A layer of integers: ``weights`` [O, K] that keep to ``pattern``, ``inputs`` [T, K]."""

    name: str
    pattern: NmPattern
    weights: np.ndarray
    inputs: np.ndarray

    @property
    def sparsity(self) -> float:
        """Share of zero weights."""
        return float((self.weights == 0).mean())


def model_layers(model: str, layer: str, config: DcimConfig) -> Iterator[LayerWork]:
    """Prune and quantize a model at every one of `PATTERNS`; yield a layer as it is then.

    As many of its outputs are taken as a macro has columns.

    Parameters
    ----------
    model : str
        Checkpoint folder, hub id, or a name such as all-MiniLM-L6-v2.
    layer : str
        Name of a linear layer; "" takes the one with the most inputs, the last of its like.
    config : DcimConfig
        Says the operand widths, the columns, and which of them share positions.

    Raises
    ------
    DataError
        There is no such layer.
    """
    from cimforge_sw.sentences import calibration_sentences, held_out_sentences

    loaded = cf.load_model(model)
    quantized: Any
    stats = cf.calibrate(loaded, calibration_sentences())
    for pattern in PATTERNS:
        plan = cf.Plan.uniform(pattern, _granularity(config), config.cols)
        pruned = cf.prune(loaded, plan, stats)
        quantized = cf.quantize(pruned, stats, config.weight_bits, config.act_bits)
        layers = quantized.layers
        if layer and layer not in layers:
            raise DataError(f"{model} has no layer {layer!r}; the first of {len(layers)} is "
                            f"{next(iter(layers))}")
        name = layer or max(layers, key=lambda key: (layers[key].weight.shape[1], key))
        acts = cf.capture_inputs(quantized, held_out_sentences()[:4], [name])[name]
        yield LayerWork(name, NmPattern.parse(pattern),
                        layers[name].weight[:config.cols].astype("int64"),
                        acts[:TOKENS].astype("int64"))


def _granularity(config: DcimConfig) -> str:
    """Return which outputs share positions on this hardware, as the pruner calls it."""
    if config.select == "pair":
        return "tile"
    return "free" if config.index_share == 1 else f"share{config.index_share}"


def energy_records(design: Design, config: DcimConfig, works: Iterator[LayerWork]) -> list[dict]:
    """Return a record per workload and block of a design, and one for what they are together.

    ``energy_pj`` is of a cycle of all blocks of a kind; ``energy_per_mac_pj`` of a multiplication
    of the dense layer: what is skipped counts as done.

    Raises
    ------
    DataError
        A column's netlist computes other sums than the layer's.
    """
    from cimforge_sw.compile import compile_layer

    blocks = [block for block in design.blocks().values() if block.kind in _RUNS]
    models = {block.kind: EnergyModel(opened(design.netlists[block.module])) for block in blocks}
    records = []
    for work in works:
        program = compile_layer(config, work.name, work.weights, work.pattern, len(work.inputs),
                                group=config.sub_macros)
        cycles = list(trace(config, program, work.inputs))
        done = []
        for block in blocks:
            sim = _RUNS[block.kind](design.netlists[block.module], config, cycles)
            # A column that was mapped alone still stands for all of a macro.
            count = (config.sub_macros * config.units if block.kind == "Column" else block.count)
            done.append(_record(block.kind, count, work, program, sim, models[block.kind]))
        if len(done) > 1:
            done.append(_together(done))
        records += done
    return records


def _record(kind: str, count: int, work: LayerWork, program, sim: Simulator,
            model: EnergyModel) -> dict:
    densities = sim.densities()
    energy, uniform = model.energy(densities), model.uniform(DEFAULT_ACTIVITY[0])
    nets = [density for bit, density in densities.items() if isinstance(bit, int)]
    picojoules = 1e12 * count
    return {
        "of": kind, "count": count, "workload": f"{work.name}, {work.pattern}",
        "pattern": str(work.pattern), "mode": str(program.mode), "passes": program.passes,
        "sparsity": work.sparsity, "cycles": sim.cycles, "activity": sum(nets) / len(nets),
        "energy_pj": energy.total * picojoules, "internal_pj": energy.internal * picojoules,
        "switching_pj": (energy.switching + energy.input_load) * picojoules,
        "clock_pj": (energy.clock + energy.clock_load) * picojoules,
        "energy_per_mac_pj": energy.total * picojoules * sim.cycles / (
            work.weights.size * len(work.inputs)),
        "default_energy_pj": uniform.total * picojoules,
        "default_activity": DEFAULT_ACTIVITY[0],
    }


def _together(records: list[dict]) -> dict:
    """Return the sum of the blocks of a macro under one workload."""
    summed = ("energy_pj", "internal_pj", "switching_pj", "clock_pj", "energy_per_mac_pj",
              "default_energy_pj")
    return {**records[0], "of": TOGETHER, "count": 1, "activity": None,
            **{key: sum(record[key] for record in records) for key in summed}}
