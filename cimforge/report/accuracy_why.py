"""Why selections differ: how unevenly they prune, and whether outliers tell what layers need."""

from statistics import mean
from typing import Any

import numpy as np

from cimforge.spec.pattern import NmPattern

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


def _densities(record: dict[str, Any]) -> np.ndarray:
    return np.array([NmPattern.parse(pattern).density for pattern in record["plan"].values()])


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's coefficient; 0 where one side does not vary."""
    from scipy.stats import rankdata

    first, second = rankdata(a), rankdata(b)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def explanation(records: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the page's section; records as in ``accuracy.json``."""
    lines = [_WHY.strip(), "",
             "| model | method | least | most | spread | rank correlation with O | with D |",
             "|---|---|---|---|---|---|---|"]
    for model in dict.fromkeys(record["model"] for record in records):
        mine = [record for record in records if record["model"] == model]
        statistics = {r["seed"]: r["details"] for r in mine if r["method"] == "dense"}
        for method, title in _METHODS.items():
            found = [r for r in mine if (r["method"], r["target"]) == (method, _TARGET)]
            if not found:
                continue
            kept = [_densities(record) for record in found]
            cells = [f"{min(k.min() for k in kept):.3f}", f"{max(k.max() for k in kept):.3f}",
                     f"{mean(float(k.std()) for k in kept):.3f}"]
            for key in ("presence", "locality"):
                pairs = [(statistics[r["seed"]][key], k) for r, k in zip(found, kept, strict=True)
                         if key in statistics.get(r["seed"], {})]
                cells.append(f"{mean(_rank_correlation(np.array(s), k) for s, k in pairs):+.2f}"
                             if pairs else "-")
            lines.append(f"| {model} | {title} | " + " | ".join(cells) + " |")
    return lines
