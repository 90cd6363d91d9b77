"""Cells of the table as flat records, which other programs read, and back."""

from typing import Any

from cimforge.accuracy.cells import (
    NUMBERS,
    PATTERNS,
    SHARED,
    SHARINGS,
    TEXTS,
    WITHIN,
    Cell,
    wrong_key,
)

__all__ = ["flat", "rows"]

# Column of the table -> method and candidates in a record.
_METHODS = {"dense": ("dense", "1:1"), "uniform": ("uniform", "N:8"), "owl": ("owl", "N:8"),
            "flow": ("flow", "published"), "flow-line": ("flow", "N:8"),
            "flow-x": ("flow-x", "N:8"), "uniform+update": ("uniform+update", "N:8"),
            "flow+update": ("flow+update", "published"), "flow-x+update": ("flow-x+update", "N:8"),
            **{method: ("flow-x", f"N:8 within cycles of {pattern}")
               for method, (_, pattern) in WITHIN.items()},
            **{pattern: ("uniform", pattern) for pattern in PATTERNS},
            **{f"{pattern}/{who}": (f"uniform/{who}", pattern)
               for pattern in SHARED for who in SHARINGS}}
_COLUMNS = {record: column for column, record in _METHODS.items()}
#: Further results of a cell that are the same in both of its records.
_SHARED = ("sparsity", "digest", *TEXTS,
           *(key for key in NUMBERS if key not in ("sparsity", "score", "score_int8")))


def flat(cell: Cell, result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a cell's records: its score in float, then in INT8.

    Keys: ``model``, ``method``, ``pattern_set`` (candidates; of ``uniform`` the pattern, or N:8 for
    the best mix), ``sparsity_target``, ``sparsity``, ``seed``, ``metric``, ``higher_is_better``,
    ``value``, ``quantized``, and what `Subject.measure` says besides. ``+update`` methods are with
    SparseGPT; ``uniform/share2``, ``/share4`` and ``/tile`` share positions (`sharing`).
    """
    method, candidates = _METHODS[cell.method]
    causal = cell.model.startswith("stdlib-")
    about = {"model": cell.model, "method": method, "pattern_set": candidates,
             "sparsity_target": cell.target, "seed": cell.seed,
             "metric": "bits per byte" if causal else "cosine", "higher_is_better": not causal}
    shared = {key: result[key] for key in _SHARED}
    return [{**about, "quantized": quantized, "value": result[key], **shared}
            for quantized, key in ((False, "score"), (True, "score_int8"))]


def rows(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per cell, the inverse of `flat`: ``score``, ``score_int8`` and the rest.

    Raises
    ------
    KeyError, TypeError, ValueError
        Not records of the table.
    """
    found: dict[Cell, dict[str, Any]] = {}
    for record in records:
        cell = Cell(record["model"], _COLUMNS[record["method"], record["pattern_set"]],
                    record["sparsity_target"], record["seed"])
        row = found.setdefault(cell, {
            "model": cell.model, "method": cell.method, "target": cell.target, "seed": cell.seed,
            **{key: record[key] for key in _SHARED}})
        row["score_int8" if record["quantized"] else "score"] = record["value"]
    for row in found.values():
        if wrong := wrong_key(row):  # a KeyError where one of both scores is missing
            raise ValueError(f"{wrong} is {row[wrong]!r}")
    return list(found.values())
