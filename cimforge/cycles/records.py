"""Records of the cycle tables: latency and slot use on the large shapes, and the bars."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimforge.cycles.designs import (
    BUFFERS,
    CLASS_50,
    CLASS_75,
    FLEXIBLE,
    KINDS,
    Totals,
    designs,
    totals,
)
from cimforge.cycles.model import ModelCost, estimate_shapes
from cimforge.cycles.plans import (
    DONORS,
    LARGE,
    UNIFORM,
    accuracy_rows,
    mixed,
    transferred,
    uniform,
)
from cimforge.spec.pattern import NmPattern

if TYPE_CHECKING:
    from cimforge_sw.shapes import ModelShapes

__all__ = ["TOKENS", "Record", "counted", "large_records", "ratios", "shape_plans"]

Record = dict[str, Any]
TOKENS = (1, 16, 128)
_TRANSFERRED = (0.7, 0.75)
#: arXiv 2504.14365, abstract: latency against existing sparse accelerators.
_PAPER = 1.75
_FAIR = ("equal cells, one clock; a fixed macro runs layers that do not keep to its pattern in as "
         "many passes as they need")


def counted(shapes: "ModelShapes", patterns: Mapping[str, NmPattern]) -> Totals:
    """Return how often each (O, K, N:M) is there."""
    return Counter((layer.outputs, layer.inputs, patterns[layer.name]) for layer in shapes.layers)


def shape_plans(shapes: "ModelShapes", rows: list[Record]) -> dict[str, dict[str, NmPattern]]:
    """Return the plans of a large model by name.

    Parameters
    ----------
    shapes : ModelShapes
        One of `LARGE`.
    rows : list of dict
        `accuracy_rows`; FLOW-X plans of the first seed are transferred.
    """
    from cimforge_sw.shapes import load_shapes

    plans = {f"uniform {pattern}": uniform(shapes, pattern) for pattern in UNIFORM.values()}
    plans |= mixed(shapes)
    donor = DONORS[shapes.model]
    for row in rows:
        if (row["model"], row["method"], row["seed"], row["quantized"]) == (
                donor, "flow-x", 0, True) and row["sparsity_target"] in _TRANSFERRED:
            plans[f"transferred {row['sparsity_target']:g}"] = transferred(
                shapes, load_shapes(donor), row["levels"])
    return plans


def ratios(cycles: Mapping, key: str, tokens: int, buffer: str, kind: str) -> dict[str, float]:
    """Return how many times fewer cycles the flexible macro takes than each of the others."""
    ours = cycles[key, tokens, FLEXIBLE, buffer, kind]
    return {design: cycles[key, tokens, design, buffer, kind] / ours
            for design in ("dense", *CLASS_50, *CLASS_75)}


def large_records(accuracy: Path) -> list[Record]:
    """Return the records of all large shapes.

    Parameters
    ----------
    accuracy : Path
        The accuracy table's ``accuracy.json``, for plans to transfer.

    Raises
    ------
    DataError
        If that is none.
    """
    from cimforge_sw.shapes import load_shapes

    rows = accuracy_rows(accuracy)
    shapes = {name: load_shapes(name) for name in LARGE}
    plans = {name: shape_plans(shapes[name], rows) for name in LARGE}
    keys = {f"{name}|{plan}": counted(shapes[name], patterns)
            for name in LARGE for plan, patterns in plans[name].items()}
    cycles = totals(keys, TOKENS)
    found: list[Record] = []
    for name in LARGE:
        for plan, patterns in plans[name].items():
            costs = {tokens: estimate_shapes(shapes[name], patterns, designs("equal_bits")[
                FLEXIBLE], tokens) for tokens in TOKENS}
            about = {"model": name, "design": FLEXIBLE, "plan": plan,
                     "sparsity": costs[TOKENS[0]].sparsity}
            found += _latency(about, cycles, f"{name}|{plan}")
            found += [_slots(about, cost) for cost in costs.values()]
    return found


def _latency(about: Record, cycles: Mapping, key: str) -> list[Record]:
    found = []
    for tokens in TOKENS:
        for buffer, text in BUFFERS.items():
            for kind in KINDS:
                ratio = ratios(cycles, key, tokens, buffer, kind)
                more = {"unit": "ratio", "assumptions": f"{_FAIR}; {text}", "tokens": tokens,
                        "weights": kind, "buffer": buffer,
                        "cycles": cycles[key, tokens, FLEXIBLE, buffer, kind]}
                for figure, rivals in (("latency_vs_best_fixed", CLASS_50),
                                       ("latency_vs_best_75_class", CLASS_75),
                                       ("latency_vs_dense", ("dense",))):
                    best = min(rivals, key=lambda design: ratio[design])
                    paper = _PAPER if figure == "latency_vs_best_fixed" else None
                    found.append({"figure": figure, **about, "paper": paper, "ours": ratio[best],
                                  "against": best, **more,
                                  "rivals": {design: ratio[design] for design in rivals}})
    return found


def _slots(about: Record, cost: ModelCost) -> Record:
    wide = cost.slot_use(least_inputs=4096)
    return {"figure": "slot_use", **about, "paper": None, "ours": cost.slot_use(),
            "unit": "fraction", "assumptions": "kept weights over cells of all tiles, weighted by "
            "parameters; G as the compiler chooses it, by cycles", "tokens": cost.tokens,
            "inputs_from_4096": None if wide != wide else wide,
            "best_group": cost.slot_use(best=True)}
