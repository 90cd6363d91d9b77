"""Energy of a column under a model's pruned layer, at several sparsities."""

from collections.abc import Iterator
from typing import Any

import cimforge as cf
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.synth.netlist import Netlist
from cimforge.synth.opensta import DEFAULT_ACTIVITY
from cimforge.synth.power import EnergyModel
from cimforge.synth.workload import Workload, run_column

__all__ = ["OUTPUTS", "TOKENS", "energy_records", "model_workloads", "patterns"]

#: Tokens of the text and outputs of the layer that run: a lane of one machine word per output.
TOKENS, OUTPUTS = 16, 64


def patterns(config: DcimConfig) -> list[int]:
    """Return the N of the modes that are run: a quarter of M, half of it, all of it."""
    legal = {mode.n for mode in config.modes if mode.group == config.sub_macros}
    return [n for n in dict.fromkeys((config.max_m // 4, config.max_m // 2, config.max_m))
            if n in legal] or sorted(legal)


def model_workloads(model: str, layer: str, config: DcimConfig) -> Iterator[Workload]:
    """Prune and quantize a model at every sparsity; yield a layer as it is then.

    Parameters
    ----------
    model : str
        Checkpoint folder, hub id, or a name such as all-MiniLM-L6-v2.
    layer : str
        Name of a linear layer; "" takes the one with the most inputs, the last of its like.
    config : DcimConfig
        Says M and the operand widths.

    Raises
    ------
    DataError
        There is no such layer.
    """
    from cimforge_sw.sentences import calibration_sentences, held_out_sentences

    loaded = cf.load_model(model)
    quantized: Any
    stats = cf.calibrate(loaded, calibration_sentences())
    for n in patterns(config):
        pruned = cf.prune(loaded, cf.Plan.uniform(f"{n}:{config.max_m}"), stats)
        quantized = cf.quantize(pruned, stats, config.weight_bits, config.act_bits)
        layers = quantized.layers
        if layer and layer not in layers:
            raise DataError(f"{model} has no layer {layer!r}; the first of {len(layers)} is "
                            f"{next(iter(layers))}")
        name = layer or max(layers, key=lambda key: (layers[key].weight.shape[1], key))
        acts = cf.capture_inputs(quantized, held_out_sentences()[:2], [name])[name]
        yield Workload(f"{name}, {n}:{config.max_m}", n,
                       layers[name].weight[:OUTPUTS].astype("int64"),
                       acts[:TOKENS].astype("int64"))


def energy_records(netlist: Netlist, config: DcimConfig, works: Iterator[Workload]) -> list[dict]:
    """Return a record per workload of a column's netlist.

    ``energy_pj`` is of a cycle of one column; ``energy_per_mac_pj`` of a multiplication of the
    dense layer: what is skipped counts as done.
    """
    model = EnergyModel(netlist)
    uniform = model.uniform(DEFAULT_ACTIVITY[0])
    records = []
    for work in works:
        sim = run_column(netlist, config, work)
        densities = sim.densities()
        energy = model.energy(densities)
        nets = [density for bit, density in densities.items() if isinstance(bit, int)]
        macs = config.rows * config.max_m / work.n / config.slices
        records.append({
            "of": "Column", "workload": work.name, "sparsity": work.sparsity, "n": work.n,
            "cycles": sim.cycles, "columns": sim.lanes, "activity": sum(nets) / len(nets),
            "energy_pj": energy.total * 1e12, "internal_pj": energy.internal * 1e12,
            "switching_pj": (energy.switching + energy.input_load) * 1e12,
            "clock_pj": (energy.clock + energy.clock_load) * 1e12,
            "energy_per_mac_pj": energy.total / macs * 1e12,
            "default_energy_pj": uniform.total * 1e12, "default_activity": DEFAULT_ACTIVITY[0],
        })
    return records
