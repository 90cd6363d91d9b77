"""What the design wants of the digital macro in silicon, and what it reaches."""

from collections.abc import Callable, Iterable
from typing import Any

from cimforge.silicon.designs import FLEXIBLE

__all__ = ["bars"]

Record = dict[str, Any]


def bars(records: Iterable[Record]) -> list[Record]:
    """Return every bar: wanted, reached, where."""
    records = list(records)

    def where(figure: str, **wanted: Any) -> list[Record]:
        return [r for r in records if r["figure"] == figure
                and all(r.get(key) == value for key, value in wanted.items())]

    found = [_bar("energy against fixed 4:8 at 75 %", ">= 1.5", 1.5,
                  min(where("energy_vs_best_fixed"), key=_ours), lambda x, y: x >= y)]
    for design, most in ((FLEXIBLE, 0.20), ("index_share=2", 0.10), ("max_m=4", 0.10)):
        for storage in ("flip-flops", "SRAM"):
            record, = where("area_overhead_vs_fixed_1_2", design=design, storage=storage)
            found.append(_bar(f"area over fixed 1:2, {design}, weights in {storage}",
                              f"<= {most:g}", most, record, lambda x, y: x <= y))
    for plan, least in (("uniform 2:8", 1.5), ("mix 4:8, 2:8", 1.5)):
        for clock in ("one", "own"):
            mine = where("area_normalized_latency", plan=plan, clock=clock)
            found.append(_bar(f"latency per area, 50 % class, {plan}, {clock} clock",
                              f">= {least:g}", least, _second(mine), lambda x, y: x >= y))
    for plan, least in (("uniform 2:8", 1.75), ("mix 4:8, 2:8", 1.6)):
        mine = where("latency_vs_best_fixed", plan=plan, clock="own")
        found.append(_bar(f"latency, 50 % class, {plan}, own clock", f">= {least:g}", least,
                          _second(mine), lambda x, y: x >= y))
    return found


def _ours(record: Record) -> float:
    return record["ours"]


def _second(records: list[Record]) -> Record:
    """Return the least of every model's figures, of the second-best model."""
    least = [min((r for r in records if r["model"] == model), key=_ours)
             for model in dict.fromkeys(r["model"] for r in records)]
    return sorted(least, key=_ours)[-2]


def _bar(name: str, wanted: str, limit: float, record: Record,
         met: Callable[[float, float], bool]) -> Record:
    about = [str(record[key]) for key in ("model", "plan", "against", "tokens", "weights", "buffer")
             if record.get(key) is not None]
    return {"bar": name, "wanted": wanted, "ours": record["ours"], "where": ", ".join(about),
            "met": met(record["ours"], limit)}
