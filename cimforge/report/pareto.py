"""Pareto fronts of records."""

from collections.abc import Collection, Sequence
from typing import Any

__all__ = ["pareto"]

Record = dict[str, Any]


def pareto(records: Sequence[Record], keys: Sequence[str], larger: Collection[str] = ()
           ) -> list[Record]:
    """Return the records that no other is better than, sorted by the keys.

    One is better than another if it is as good in every key and better in one; so of records that
    are equal in all keys every one stays, in their own order. Records that have no value for a key
    are left out.

    Parameters
    ----------
    records : sequence of dict
    keys : sequence of str
        Quantities of which less is better.
    larger : collection of str
        Those of the keys of which more is better.

    Examples
    --------
    >>> points = [{"area": 1, "time": 9}, {"area": 2, "time": 9}, {"area": 3, "time": 5}]
    >>> pareto(points, ["area", "time"])
    [{'area': 1, 'time': 9}, {'area': 3, 'time': 5}]
    """
    def place(record: Record) -> tuple[float, ...]:
        return tuple(-record[key] if key in larger else record[key] for key in keys)

    known = [record for record in records if all(record.get(key) is not None for key in keys)]
    front: list[tuple[tuple[float, ...], Record]] = []
    for at, record in sorted(((place(record), record) for record in known),
                             key=lambda pair: pair[0]):
        # sorted: whatever is better than this one came before it
        if not any(other != at and all(a <= b for a, b in zip(other, at, strict=True))
                   for other, _ in front):
            front.append((at, record))
    return [record for _, record in front]
