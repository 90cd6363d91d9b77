"""Tables in Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any

from cimforge.report.bars import select

__all__ = ["figure_of", "table", "table_lines"]


def table_lines(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table."""
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
            *("| " + " | ".join(map(str, row)) + " |" for row in rows)]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as text."""
    return "".join(f"{line}\n" for line in table_lines(head, rows))


def figure_of(records: Iterable[dict[str, Any]], **where: Any) -> str:
    """Return the figure of the record that has these values, as text; "" where there is none."""
    found = select(records, **where)
    return f"{found[0]['ours']:.2f}" if found else ""
