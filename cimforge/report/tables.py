"""Tables in Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any

from cimforge.report.bars import select

__all__ = ["figure_of", "table"]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def figure_of(records: Iterable[dict[str, Any]], **where: Any) -> str:
    """Return the figure of the record that has these values, as text; "" where there is none."""
    found = select(records, **where)
    return f"{found[0]['ours']:.2f}" if found else ""
