"""Pictures: SVG files that are the same bytes for the same figures."""

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cimforge.spec.files import write_atomic

__all__ = ["plot_pareto", "plot_plan", "save_figure", "save_panels"]


def save_figure(path: Path, draw: Callable[[Any], None], size: tuple[float, float] = (7, 4.5)
                ) -> Path:
    """Let ``draw`` fill one pair of axes and write them as SVG; return the path."""
    return save_panels(path, lambda panels: draw(panels[0][0]), (1, 1), size)


def save_panels(path: Path, draw: Callable[[Any], None], shape: tuple[int, int],
                size: tuple[float, float]) -> Path:
    """Let ``draw`` fill rows and columns of axes, ``[row][column]``, and write them as SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "cimforge", "svg.fonttype": "none",
                                "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots(*shape, squeeze=False))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "cimforge"})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())
    return path


def plot_plan(path: Path, patterns: dict[str, str], presence: Sequence[float | None] = (),
              locality: Sequence[float | None] = ()) -> Path:
    """Draw what every layer keeps, labelled N:M, above its outliers' presence O and locality D.

    Parameters
    ----------
    path : Path
    patterns : dict of str to str
        N:M of every layer, in the order of the model.
    presence, locality : sequence of float or None
        Of the same layers; left out where empty or None.
    """
    def kept(pattern: str) -> float:
        n, m = pattern.split(":")
        return int(n) / int(m)

    def draw(axes: Any) -> None:
        x = range(len(patterns))
        axes.bar(x, [kept(p) for p in patterns.values()], color="#8fb3d9", label="kept, N/M")
        for at, pattern in enumerate(patterns.values()):
            axes.text(at, kept(pattern) + 0.01, pattern, ha="center", rotation=90, fontsize=7)
        for values, colour, name in ((presence, "#c0392b", "presence O"),
                                     (locality, "#27813f", "locality D")):
            if len(values):
                top = max((value for value in values if value is not None), default=0) or 1.0
                axes.plot(x, [math.nan if value is None else value / top for value in values],
                          ".-", color=colour, label=f"{name}, of {top:.3g}")
        axes.set_xticks(list(x), list(patterns), rotation=90, fontsize=6)
        axes.set_ylim(0, 1.2)
        axes.set_ylabel("weights kept; O and D relative to their largest")
        axes.margins(x=0.01)
        axes.legend(loc="upper right", ncols=3)

    return save_figure(path, draw, (max(6.0, 0.22 * len(patterns) + 2), 6))


def plot_pareto(path: Path, points: Sequence[dict[str, Any]], score: str) -> Path:
    """Draw score over cycles, one line per method.

    Parameters
    ----------
    path : Path
    points : sequence of dict
        With ``method``, ``cycles``, ``score`` and ``label``.
    score : str
        What the scores are.
    """
    def draw(axes: Any) -> None:
        for method in dict.fromkeys(point["method"] for point in points):
            mine = sorted((p for p in points if p["method"] == method), key=lambda p: p["cycles"])
            axes.plot([p["cycles"] for p in mine], [p["score"] for p in mine], "o-", label=method)
            for point in mine:
                axes.annotate(point["label"], (point["cycles"], point["score"]), fontsize=7,
                              textcoords="offset points", xytext=(4, -8))
        axes.set_xlabel("cycles of all layers")
        axes.set_ylabel(score)
        axes.grid(alpha=0.3)
        axes.legend()

    return save_figure(path, draw)
