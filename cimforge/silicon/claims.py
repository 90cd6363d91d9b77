"""The digital paper's claims as records, from records of cycles and of netlists."""

from collections.abc import Iterable, Mapping
from typing import Any

from cimforge.silicon.designs import BASELINES, FLEXIBLE, WITH_ENERGY, designs, energies, macros
from cimforge.silicon.mixed import MIXED, UNSEEN
from cimforge.spec.errors import DataError

__all__ = ["PAPER_ENERGY", "VARIANTS", "claims"]

Record = dict[str, Any]

#: arXiv 2504.14365, abstract: "up to", against unnamed sparse accelerators.
PAPER_ENERGY = 1.5
#: Flexible macros whose energy is compared, and what their layers' positions keep to.
VARIANTS = {FLEXIBLE: "free positions", "index_share=2": "positions shared by 2 outputs",
            "index_share=4": "positions shared by 4 outputs",
            "select=pair": "positions shared by all outputs of a tile",
            "max_m=4": "free positions; 2:8 runs as 2:4"}
_REFERENCE = "fixed_1_2"
_CELLS = "equal cells; netlists of 180 nm cells, no wires"
#: What of the cycle tables the clock changes.
_LATENCIES = ("latency_vs_best_fixed", "latency_vs_best_75_class", "latency_vs_dense",
              "latency_at_equal_accuracy")


def claims(cycles: Iterable[Record], netlists: Iterable[Record]) -> list[Record]:
    """Return every figure of the digital macro that netlists are needed for.

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
    found, powered = macros(netlists), {design for design, _ in energies(netlists)}
    missing = set(designs()) - set(found) | set(WITH_ENERGY) - powered
    if missing:
        raise DataError(f"designs.json lacks {', '.join(sorted(missing))}; made by "
                        "cimforge paper --netlists")
    return [*_latencies(cycles, found), *_areas(found), *_energies(netlists)]


def _latencies(cycles: Iterable[Record], found: Mapping[str, Any]) -> Iterable[Record]:
    """Yield ratios at each design's own clock, and per area."""
    clock, area = ({name: record[key] / found[FLEXIBLE][key] for name, record in found.items()}
                   for key in ("period_ns", "area"))
    for record in cycles:
        if record["figure"] not in _LATENCIES:
            continue
        yield _best(record, clock, clock="own")
        if record["figure"] == "latency_vs_best_fixed":
            text = f"{record['assumptions']}; ratio of latency times that of macro areas"
            both = {name: clock[name] * area[name] for name in area}
            for kind, scale in (("one", area), ("own", both)):
                yield {**_best(record, scale, clock=kind), "figure": "area_normalized_latency",
                       "paper": None, "assumptions": text}


def _best(record: Record, scale: Mapping[str, float], **more: str) -> Record:
    """Return the ratio to the rival that is best once each is scaled."""
    rivals = record.get("rivals") or {record["against"]: record["ours"]}
    scaled = {name: ratio * scale[name] for name, ratio in rivals.items()}
    best = min(scaled, key=scaled.__getitem__)
    kept = {key: value for key, value in record.items() if key != "rivals"}
    return {**kept, **more, "against": best, "ours": scaled[best]}


def _areas(found: Mapping[str, Any]) -> Iterable[Record]:
    """Yield what every design takes more than the fixed 1:2 macro, for two kinds of storage."""
    reference = found[_REFERENCE]
    for name, record in found.items():
        if name in MIXED or name in UNSEEN:
            continue
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
    """Yield energy of a macro per multiplication of the dense layer, and ratios of it."""
    whole, flops = energies(netlists), macros(netlists)
    for (design, pattern), record in whole.items():
        if design in MIXED or design in UNSEEN:
            continue
        about = {"model": record["workload"], "design": design, "sparsity": record["sparsity"],
                 "mode": record["mode"], "passes": record["passes"]}
        energy = _by_storage(record, flops[design])
        yield {"figure": "energy_per_multiplication", **about, "paper": None,
               "ours": energy["flip-flops"], "unit": "pJ",
               "assumptions": f"{_CELLS}; toggles of netlists under the layer, no glitches "
                              "and memories; what is skipped counts as done"}
        if design not in BASELINES or design == FLEXIBLE:
            continue
        headline = design == "fixed_4_8" and pattern == "2:8"
        for variant, positions in VARIANTS.items():
            mine = _by_storage(whole[variant, pattern], flops[variant])
            for storage, text in (("flip-flops", "weights in clocked flip-flops"),
                                  ("SRAM", "weights' flip-flops taken as not clocked")):
                yield {"figure": "energy_vs_fixed", **about,
                       "design": variant, "against": design, "storage": storage,
                       "paper": PAPER_ENERGY if headline else None,
                       "ours": energy[storage] / mine[storage],
                       "unit": "ratio", "assumptions": f"{_CELLS}; the same layer, pruned to "
                       f"{pattern}; of the flexible macro, {positions}; {text}"}


def _by_storage(record: Mapping[str, Any], macro: Mapping[str, Any]) -> dict[str, float]:
    """Return the energy per multiplication, and without the clock of what stores weights.

    All flip-flops are one cell of the library: the clock's energy is shared out by their number.
    """
    whole = record["energy_per_mac_pj"]
    clock = record["clock_pj"] / record["energy_pj"] * macro["storage_bits"] / macro["flops"]
    return {"flip-flops": whole, "SRAM": whole * (1 - clock)}
