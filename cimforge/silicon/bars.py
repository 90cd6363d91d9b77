"""What the design wants of the digital macro in silicon, and what it reaches."""

from collections.abc import Callable, Iterable
from operator import ge, le
from typing import Any

from cimforge.report.bars import least, second_best, select
from cimforge.silicon.claims import VARIANTS
from cimforge.silicon.designs import FLEXIBLE

__all__ = ["bars"]

Record = dict[str, Any]
_STORAGES = ("flip-flops", "SRAM")


def bars(records: Iterable[Record]) -> list[Record]:
    """Return every bar: wanted, reached, where."""
    records = list(records)
    found = []
    for design, positions in VARIANTS.items():
        if design != "max_m=4":  # no faster than fixed 4:8
            for storage in _STORAGES:
                mine = [r for r in select(records, figure="energy_vs_fixed", against="fixed_4_8",
                                          design=design, storage=storage) if r["paper"]]
                found.append(_bar(f"energy against fixed 4:8 at 75 %, {design}, {positions}, "
                                  f"weights in {storage}", ge, 1.5, least(mine)))
    for design, most in ((FLEXIBLE, 0.20), ("index_share=2", 0.10), ("max_m=4", 0.10)):
        for storage in _STORAGES:
            record, = select(records, figure="area_overhead_vs_fixed_1_2", design=design,
                             storage=storage)
            found.append(_bar(f"area over fixed 1:2, {design}, weights in {storage}", le, most,
                              record))
    for plan in ("uniform 2:8", "mix 4:8, 2:8"):
        for clock in ("one", "own"):
            mine = select(records, figure="area_normalized_latency", plan=plan, clock=clock)
            found.append(_bar(f"latency per area, 50 % class, {plan}, {clock} clock", ge, 1.5,
                              second_best(mine)))
    for plan, wanted in (("uniform 2:8", 1.75), ("mix 4:8, 2:8", 1.6)):
        mine = select(records, figure="latency_vs_best_fixed", plan=plan, clock="own")
        found.append(_bar(f"latency, 50 % class, {plan}, own clock", ge, wanted,
                          second_best(mine)))
    return found


def _bar(name: str, met: Callable[[float, float], bool], limit: float, record: Record) -> Record:
    about = [str(record[key]) for key in ("model", "plan", "against", "tokens", "weights", "buffer")
             if record.get(key) is not None]
    return {"bar": name, "wanted": f"{'>=' if met is ge else '<='} {limit:g}",
            "ours": record["ours"], "where": ", ".join(about), "met": met(record["ours"], limit)}
