"""Why selections differ: how unevenly they prune, and whether outliers tell what layers need."""

from statistics import mean
from typing import Any

__all__ = ["explanation"]

_TARGET = 0.6
_METHODS = {"uniform": "uniform N:8 or best mix", "owl": "OWL-style, N:8",
            "flow": "FLOW, published candidates", "flow-line": "FLOW, N:8", "flow-x": "FLOW-X"}

_WHY = f"""
What the plans at {_TARGET:.0%} look like. FLOW normalizes the outliers' presence O over the layers,
so the layer with most gets N* = 8 and the one with least N* = 1 whatever the target is: its plans
reach from nearly everything kept to one weight of eight (`least`, `most`; `spread` is the standard
deviation of N/M over the layers). A layer that loses seven weights of eight costs the model more
than another one gains by staying nearly whole, which no cost that is linear in N sees. `rank
correlation` (Spearman) is between a layer's O, or its locality D, and the N/M that a method gave
it: near 1 in the row of FLOW-X, which measured the model, outliers would tell what a layer needs;
near 0 there, they do not.
"""


def explanation(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the page's section; rows as `cimforge.accuracy.records.rows` makes."""
    lines = [_WHY.strip(), "",
             "| model | method | least | most | spread | rank correlation with O | with D |",
             "|---|---|---|---|---|---|---|"]
    for model in dict.fromkeys(row["model"] for row in rows):
        for method, title in _METHODS.items():
            found = [row for row in rows
                     if (row["model"], row["method"], row["target"]) == (model, method, _TARGET)]
            if found:
                lines.append(
                    f"| {model} | {title} | {min(r['least'] for r in found):.3f} | "
                    f"{max(r['most'] for r in found):.3f} | "
                    f"{mean(r['spread'] for r in found):.3f} | "
                    f"{mean(r['rank_presence'] for r in found):+.2f} | "
                    f"{mean(r['rank_locality'] for r in found):+.2f} |")
    return lines
