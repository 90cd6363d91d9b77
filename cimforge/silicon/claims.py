"""The digital paper's claims as records, from records of cycles and of netlists."""

from collections.abc import Iterable, Mapping
from typing import Any

from cimforge.silicon.designs import BASELINES, FLEXIBLE, WITH_ENERGY, designs
from cimforge.spec.errors import DataError

__all__ = ["PAPER_ENERGY", "PAPER_LATENCY", "claims"]

Record = dict[str, Any]

#: arXiv 2504.14365, abstract: "up to", against unnamed sparse accelerators.
PAPER_LATENCY, PAPER_ENERGY = 1.75, 1.5
_REFERENCE = "fixed_1_2"
_CELLS = "equal cells; netlists of 180 nm cells, no wires"


def claims(cycles: Iterable[Record], netlists: Iterable[Record]) -> list[Record]:
    """Return every figure of the digital macro.

    Parameters
    ----------
    cycles : iterable of dict
        Records of ``reports/estimate.json``.
    netlists : iterable of dict
        Records of ``reports/designs.json``.

    Raises
    ------
    DataError
        A design that is compared is not among the netlists.
    """
    netlists = list(netlists)
    macros = {record["design"]: record for record in netlists if record["what"] == "macro"}
    powered = {record["design"] for record in netlists if record["what"] == "energy"}
    missing = set(designs()) - set(macros) | set(WITH_ENERGY) - powered
    if missing:
        raise DataError(f"designs.json lacks {', '.join(sorted(missing))}; made by "
                        "cimforge paper --netlists")
    return [*_latencies(cycles, macros), *_areas(macros), *_energies(netlists)]


def _latencies(cycles: Iterable[Record], macros: Mapping[str, Record]) -> Iterable[Record]:
    """Yield ratios of cycles as they are, at each design's own clock, and per area."""
    flexible = macros[FLEXIBLE]
    for record in cycles:
        yield {**record, "clock": "one"}
        if record["figure"] not in ("latency_vs_best_fixed", "latency_vs_best_75_class",
                                    "latency_vs_dense", "latency_at_equal_accuracy"):
            continue
        other = macros[record["against"]]
        clock = other["period_ns"] / flexible["period_ns"]
        area = other["area"] / flexible["area"]
        own = {**record, "clock": "own", "ours": record["ours"] * clock}
        yield own
        if record["figure"] == "latency_vs_best_fixed":
            for base in ({**record, "clock": "one"}, own):
                yield {**base, "figure": "area_normalized_latency", "paper": None,
                       "ours": base["ours"] * area,
                       "assumptions": f"{record['assumptions']}; ratio of latency times that of "
                                      "macro areas"}


def _areas(macros: Mapping[str, Record]) -> Iterable[Record]:
    """Yield what every design takes more than the fixed 1:2 macro, for two kinds of storage."""
    reference = macros[_REFERENCE]
    for name, record in macros.items():
        for key, storage in (("area", "weights in flip-flops"),
                             ("area_with_sram", "weights in SRAM, its density published")):
            yield {"figure": "area_overhead_vs_fixed_1_2", "model": None, "design": name,
                   "sparsity": None, "paper": None, "ours": record[key] / reference[key] - 1,
                   "unit": "fraction", "assumptions": f"{_CELLS}; {storage}",
                   "storage": "flip-flops" if key == "area" else "SRAM"}
        yield {"figure": "clock_period", "model": None, "design": name, "sparsity": None,
               "paper": None, "ours": record["period_ns"], "unit": "ns", "assumptions": _CELLS,
               "from": record["path_start"], "to": record["path_end"]}


def _energies(netlists: list[Record]) -> Iterable[Record]:
    """Yield energy of a macro per multiplication of the dense layer, and the ratios to it."""
    whole = [record for record in netlists if record["what"] == "energy" and record["count"] == 1
             and record["of"].startswith("all")]
    flexible = {r["workload"]: r for r in whole if r["design"] == FLEXIBLE}
    for record in whole:
        about = {"model": record["workload"], "design": record["design"],
                 "sparsity": record["sparsity"], "mode": record["mode"],
                 "passes": record["passes"]}
        yield {"figure": "energy_per_multiplication", **about, "paper": None,
               "ours": record["energy_per_mac_pj"], "unit": "pJ",
               "assumptions": f"{_CELLS}; toggles of netlists under the layer, no glitches "
                              "and memories; what is skipped counts as done"}
        mine = flexible.get(record["workload"])
        if mine and record["design"] in BASELINES and record["design"] != FLEXIBLE:
            best = record["design"] == "fixed_4_8" and record["pattern"] == "2:8"
            yield {"figure": "energy_vs_best_fixed" if best else "energy_vs_fixed", **about,
                   "design": FLEXIBLE, "against": record["design"],
                   "paper": PAPER_ENERGY if best else None,
                   "ours": record["energy_per_mac_pj"] / mine["energy_per_mac_pj"],
                   "unit": "ratio", "assumptions": f"{_CELLS}; the same pruned layer on both"}
