"""The bars of the cycle tables: wanted, reached, and where it is least."""

from typing import Any

from cimforge.cycles.designs import BUFFERS, KINDS
from cimforge.report.bars import least, second_best, select

__all__ = ["bars"]

Record = dict[str, Any]
_LATENCY = (("uniform 2:8", 1.75), ("mix 4:8, 2:8", 1.6), ("mix 3:8, 2:8", 1.6),
            ("transferred 0.75", 1.75), ("transferred 0.7", 1.6))


def bars(records: list[Record]) -> list[Record]:
    """Return every bar; latency bars are those of the second-best of the large models.

    Each is the worst of all numbers of tokens.
    """
    return [*_latency(records), *_never_behind(records), *_slots(records), *_equal(records)]


def _bar(name: str, wanted: float, record: Record, key: str = "ours",
         above: bool = False) -> Record:
    ours = record[key]
    where = [str(record[part]) for part in ("model", "plan", "against", "tokens", "weights")
             if part in record]
    return {"bar": name, "wanted": wanted, "ours": ours, "where": ", ".join(where),
            "met": bool(ours > wanted if above else ours >= wanted - 1e-9)}


def _latency(records: list[Record]) -> list[Record]:
    found = []
    for plan, wanted in _LATENCY:
        for buffer in BUFFERS:
            for kind in KINDS:
                mine = select(records, figure="latency_vs_best_fixed", plan=plan, buffer=buffer,
                              weights=kind)
                found.append(_bar(f"latency against the 50 % class, {plan}, {kind}, {buffer}, "
                                  "second-best model", wanted, second_best(mine)))
    return found


def _never_behind(records: list[Record]) -> list[Record]:
    return [_bar(f"never behind in cycles, {text}, {kind}, {buffer}", 1.0, least(select(
        records, figure=figure, weights=kind, buffer=buffer)))
        for figure, text in (("latency_vs_best_fixed", "50 % class"),
                             ("latency_vs_best_75_class", "75 % class"))
        for buffer in BUFFERS for kind in KINDS]


def _slots(records: list[Record]) -> list[Record]:
    rows = [r for r in records if r["figure"] == "slot_use"]
    found = []
    for plan in dict.fromkeys(r["plan"] for r in rows):
        wide = [r for r in rows if r["plan"] == plan and r["inputs_from_4096"] is not None]
        found.append(_bar(f"slot use, layers of K >= 4096, {plan}", 0.95,
                          min(wide, key=lambda r: r["inputs_from_4096"]), "inputs_from_4096"))
    gap = [{**r, "share": r["ours"] / r["best_group"]} for r in rows]
    worst = min(gap, key=lambda r: r["share"])
    return [*found, _bar("slot use over that of the best G, all layers", 0.99, worst, "share")]


def _equal(records: list[Record]) -> list[Record]:
    mine = select(records, figure="latency_at_equal_accuracy")
    sparse = [record for record in mine if record["against"] != "dense"]
    return [_bar(f"latency at equal accuracy, {text}, {kind}, {buffer}", 1.0,
                 least(select(some, weights=kind, buffer=buffer)), above=True)
            for text, some in (("every fixed design", mine),
                               ("every fixed design but dense", sparse))
            for buffer in BUFFERS for kind in KINDS]
