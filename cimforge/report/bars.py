"""Bars of reports: what is wanted of a figure, what was reached, and where it is least."""

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["bars_text", "least", "second_best", "select"]

Record = dict[str, Any]


def select(records: Iterable[Record], **where: Any) -> list[Record]:
    """Return the records that have these values."""
    return [r for r in records if all(r.get(key) == value for key, value in where.items())]


def least(records: Iterable[Record]) -> Record:
    """Return the record of the least ``ours``."""
    return min(records, key=lambda record: record["ours"])


def second_best(records: Sequence[Record]) -> Record:
    """Return the least record of the second-best model: at least two models reach it."""
    worst = [least(select(records, model=model))
             for model in dict.fromkeys(r["model"] for r in records)]
    return sorted(worst, key=lambda record: record["ours"])[-2]


def bars_text(bars: Sequence[Record]) -> tuple[str, bool]:
    """Return one line per bar, and whether all are met.

    A bar has ``bar`` (its name), ``wanted``, ``ours``, ``met`` and perhaps ``where``.
    """
    width = max((len(bar["bar"]) for bar in bars), default=0)
    lines = []
    for bar in bars:
        where = f" ({bar['where']})" if bar.get("where") else ""
        lines.append(f"{'met ' if bar['met'] else 'MISSED'} {bar['bar']:{width}} "
                     f"{bar['ours']:7.3f}, wanted {bar['wanted']}{where}\n")
    return "".join(lines), all(bar["met"] for bar in bars)
