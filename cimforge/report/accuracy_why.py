"""Why selections differ: how unevenly they prune, and whether outliers tell what layers need."""

from statistics import mean
from typing import Any

__all__ = ["explanation"]

_TARGET = 0.6
_METHODS = {"uniform": "uniform N:8 or best mix", "owl": "OWL-style, N:8",
            "flow": "FLOW, published candidates", "flow-line": "FLOW, N:8", "flow-x": "FLOW-X"}

_WHY = f"""
What the plans at {_TARGET:.0%} look like: smallest and largest N/M of a layer, its standard
deviation over the layers, and Spearman's rank correlation between the layers' N/M and their
outliers' presence O and locality D. FLOW-X measured the model, so its row says what layers need.

To be uneven is not the mistake: FLOW-X's plans are uneven, too. But FLOW gives many weights to
layers with many outliers (by design, where its candidates allow it), and FLOW-X's N/M has next to
no rank correlation with O, or a negative one: the outliers of a layer do not tell what the model
loses with its weights. FLOW with the published candidates also chooses M by D, and a small M costs
much by itself (compare uniform 1:2, 2:4 and 4:8 above), and it has no pattern between 1/4 and 1/2.
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
