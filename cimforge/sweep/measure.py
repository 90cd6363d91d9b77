"""What designs cost: the one file to which a further quantity is added.

A quantity is a line of `QUANTITIES` and a value in what `measure` returns; a picture of it is a
line of `FRONTS`. Results in stores of before are then measured again, since `code_digest` covers
this file and all that it imports.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cimforge.spec.config import DcimConfig
from cimforge.spec.pattern import NmPattern
from cimforge_sw.compile.shape_cost import Costs, Job, shape_costs, weight_loads
from cimforge_sw.cost.area import MacroArea, macro_area
from cimforge_sw.cost.delay import macro_period
from cimforge_sw.cost.energy import Events, macro_energy
from cimforge_sw.cost.technology import load_technology

__all__ = ["FRONTS", "QUANTITIES", "Work", "measure"]

#: What every point has, by key: its unit, and what it is.
QUANTITIES = {
    "cells": ("cells", "weight cells of a bank, P * R * C"),
    "area": ("mm2", "the macro in 180 nm cells, in closed form; weights in flip-flops"),
    "area_sram": ("mm2", "the same with weights as SRAM of a published density"),
    "period": ("ns", "the macro's clock in 180 nm cells without wires, in closed form"),
    "cycles": ("cycles", "all layers one after the other, weights streamed"),
    "resident_cycles": ("cycles", "the same with every tile's weights in place"),
    "latency": ("ms", "cycles with weights streamed, at that clock"),
    "resident_latency": ("ms", "cycles with weights in place, at that clock"),
    "energy": ("mJ", "the macro, weights streamed, in closed form; without memories"),
    "slot_use": ("fraction", "cells of all tiles that hold a kept weight, by parameters"),
    "macs": ("MACs", "products with kept weights, all tokens"),
    "weight_loads": ("banks", "weight banks filled from the weight stream"),
    "weight_bits": ("bits", "weights, their indices and selects on the weight stream"),
}
#: Pairs of quantities that are drawn against each other; less is better in both.
FRONTS = (("area", "latency"), ("area", "resident_latency"), ("area_sram", "latency"),
          ("energy", "latency"))


@dataclass(frozen=True)
class Work:
    """What a design is to run: the linear layers of a model, pruned, one after the other.

    Parameters
    ----------
    layers : tuple of (int, int, str, int)
        O, K, N:M and how many such layers there are.
    tokens : int
        Vectors per layer.
    """

    layers: tuple[tuple[int, int, str, int], ...]
    tokens: int

    @property
    def jobs(self) -> list[Job]:
        """The layers as `shape_costs` takes them, each distinct one once."""
        return [(f"a layer of {outputs} x {inputs} in {pattern}", outputs, inputs,
                 NmPattern.parse(pattern), self.tokens)
                for outputs, inputs, pattern, _ in self.layers]


def measure(config: DcimConfig, works: Sequence[Work]) -> list[dict[str, float]]:
    """Return the `QUANTITIES` of every work on one design; layers that they share count once.

    Parameters
    ----------
    config : DcimConfig
    works : sequence of Work
        Many at a time take a quarter of the time of one by one.

    Raises
    ------
    DataError
        A layer that the design cannot run.
    """
    jobs = list(dict.fromkeys(job for work in works for job in work.jobs))
    costs = shape_costs(config, jobs)
    at = {job: index for index, job in enumerate(jobs)}
    return [_figures(config, work, costs, [at[job] for job in work.jobs]) for work in works]


def _figures(config: DcimConfig, work: Work, costs: Costs, at: list[int]) -> dict[str, float]:
    """Return the quantities of one work, whose layers are entries ``at`` of the costs.

    Sums are Python's own: the same bits for the same layers, whatever else was asked for.
    """
    times = [count for *_, count in work.layers]
    weights = [outputs * inputs * count for outputs, inputs, _, count in work.layers]

    def total(values: Sequence[int]) -> int:
        return sum(int(value) * count for value, count in zip(values, times, strict=True))

    use = [int(costs.kept[i]) / int(costs.cells[i]) * share
           for i, share in zip(at, weights, strict=True)]
    loads = total([weight_loads(config, job, costs, i)
                   for i, job in zip(at, work.jobs, strict=True)])
    cycles, resident = (total([values[i] for i in at])
                        for values in (costs.cycles, costs.resident_cycles))
    macs = work.tokens * total([costs.kept[i] for i in at])
    events = Events(cycles, work.tokens * total([costs.cells[i] for i in at]), macs,
                    loads * config.slots * config.units)
    area, technology = _area(config), load_technology()
    period = macro_period(config, technology)
    return {
        "cells": config.slots * config.cols,
        "area": area.total * 1e-6,
        "area_sram": area.with_sram * 1e-6,
        "period": period,
        "cycles": cycles,
        "resident_cycles": resident,
        "latency": cycles * period * 1e-6,
        "resident_latency": resident * period * 1e-6,
        "energy": macro_energy(config, technology, events) * 1e-9,
        "slot_use": math.fsum(use) / sum(weights),
        "macs": macs,
        "weight_loads": loads,
        # a bank's weights, and with pair the selects of its one step: positions shared by tile
        "weight_bits": loads * (config.weight_beats + config.select_beats)
        * config.weight_beat_bits,
    }


@lru_cache(maxsize=1024)
def _area(config: DcimConfig) -> MacroArea:
    return macro_area(config, load_technology())
