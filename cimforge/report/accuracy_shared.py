"""What it costs that outputs share their positions: a section of the accuracy page."""

from typing import Any

from cimforge.accuracy.cells import SEEDS, SHARED, SHARINGS, TILE_COLS

__all__ = ["shared_positions"]

_WHO = {"share2": "2 outputs", "share4": "4 outputs", "tile": f"pairs in {TILE_COLS} outputs"}
_HOW = f"""
Uniform patterns, Wanda masks, calibration seed {SEEDS[0]}. Free: every output has its own positions
(`select: line`, `index_share: 1`). 2 or 4 adjacent outputs share them (`index_share: 2`, `4`), by
the sum of their scores. Pairs: {TILE_COLS} outputs share which pairs of inputs are read, and each
takes the better weight of a pair (`select: pair`)."""

Rows = list[dict[str, Any]]


def _scores(rows: Rows, key: str) -> dict[tuple[str, str], float]:
    """Return the scores of the first seed by model and method."""
    return {(row["model"], row["method"]): row[key] for row in rows if row["seed"] == SEEDS[0]}


def _table(models: list[str], scores: dict[tuple[str, str], float]) -> list[str]:
    lines = ["| model | pattern | free | " + " | ".join(_WHO.values()) + " |",
             "|---|---|" + "---|" * (1 + len(_WHO))]
    for model in models:
        for pattern in SHARED:
            row = [scores[model, method]
                   for method in (pattern, *(f"{pattern}/{who}" for who in SHARINGS))]
            lines.append(f"| {model} | {pattern} | "
                         + " | ".join(f"{score:.4f}" for score in row) + " |")
    return lines


def _reading(models: list[str], scores: dict[tuple[str, str], float]) -> str:
    """Return how many times the loss of free positions that of shared ones is."""
    found = []
    for who in SHARINGS:
        times = [(scores[model, f"{pattern}/{who}"] - scores[model, "dense"])
                 / (scores[model, pattern] - scores[model, "dense"])
                 for model in models for pattern in SHARED]
        found.append(f"with {_WHO[who]} {min(times):.1f} to {max(times):.1f} times")
    return (f"The loss against dense, both in INT8, is {', '.join(found[:-1])} and {found[-1]} "
            "that with free positions.")


def shared_positions(rows: Rows) -> list[str]:
    """Return the lines of the page's section; none where no model has such cells.

    Parameters
    ----------
    rows : list of dict
        As `cimforge.accuracy.records.rows` makes them.
    """
    models = list(dict.fromkeys(row["model"] for row in rows if "/" in row["method"]))
    if not models:
        return []
    plain, int8 = (_scores(rows, key) for key in ("score", "score_int8"))
    return ["", "## Positions shared by outputs", "", _HOW.strip(), "", *_table(models, plain), "",
            "After quantization to INT8:", "", *_table(models, int8), "", _reading(models, int8)]
