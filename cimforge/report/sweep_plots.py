"""Pictures of a sweep: for every model its designs, and the Pareto front of every plan."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cimforge.report.pareto import pareto
from cimforge.report.plots import save_panels

__all__ = ["sweep_plots"]

Records = list[dict[str, Any]]
_COLOURS = ("#1f6f8b", "#c8553d", "#5b8c5a", "#8e6c8a", "#d9a441", "#44475a")
_SHAPE = ("sub_macros", "rows", "cols")
#: Points of a front with the shape of their macro beside them: more would overlap.
_NAMED = 6
#: What scores are drawn against.
_COST = "latency"
#: Largest over least value of an axis that stays linear.
_LINEAR = 4


def sweep_plots(report: dict[str, Any], folder: Path) -> dict[str, str]:
    """Draw the pictures; return their file names by model.

    Parameters
    ----------
    report : dict
        ``sweep.json``.
    folder : Path
    """
    found = {}
    for model in dict.fromkeys(record["model"] for record in report["records"]):
        name = f"{report['sweep']}-{re.sub(r'[^A-Za-z0-9._-]+', '-', model)}.svg"
        _model(report, [r for r in report["records"] if r["model"] == model], folder / name)
        found[model] = name
    return found


def _model(report: dict[str, Any], records: Records, path: Path) -> None:
    """Draw a row of panels per front and a column per number of tokens; the last: scores."""
    tokens = list(dict.fromkeys(record["tokens"] for record in records))
    fronts, units = report["fronts"], report["quantities"]
    plans = dict.fromkeys(record["plan"] for record in records)
    colours = {plan: _COLOURS[at % len(_COLOURS)] for at, plan in enumerate(plans)}
    scored = [record for record in records if record["score"] is not None]
    rows = len(fronts) + bool(scored)

    def draw(panels: Any) -> None:
        for row, (x, y) in enumerate(fronts):
            for column, count in enumerate(tokens):
                axes = panels[row][column]
                _panel(axes, [r for r in records if r["tokens"] == count], x, y, colours)
                if row == 0:
                    axes.set_title(f"{count} token{'s' * (count > 1)}", fontsize=9, color="#444")
                axes.set_xlabel(_axis(x, units[x]["unit"]))
                if column == 0:
                    axes.set_ylabel(_axis(y, units[y]["unit"]))
        for column, count in enumerate(tokens if scored else []):
            axes = panels[-1][column]
            _scores(axes, [r for r in scored if r["tokens"] == count], colours)
            axes.set_xlabel(_axis(_COST, units[_COST]["unit"]))
            if column == 0:
                axes.set_ylabel(scored[0]["metric"])
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure = panels[0][0].figure
        figure.suptitle(records[0]["model"], x=0.01, ha="left", fontweight="bold")
        figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), fontsize=8,
                      frameon=False)

    size = (1.2 + 3.6 * len(tokens), 0.8 + 2.9 * rows)
    save_panels(path, draw, (rows, len(tokens)), size)


def _axis(key: str, unit: str) -> str:
    name = key.replace("_", " ")
    return name if unit in name else f"{name}, {unit}"


def _panel(axes: Any, records: Records, x: str, y: str, colours: Mapping[str, str]) -> None:
    """Draw all designs as dots, and over them the front of every plan as a step."""
    _scale(axes.xaxis, axes.set_xscale, [record[x] for record in records])
    _scale(axes.yaxis, axes.set_yscale, [record[y] for record in records])
    fronts = {}
    for plan, colour in colours.items():
        mine = [record for record in records if record["plan"] == plan]
        _dots(axes, sorted({(record[x], record[y]) for record in mine}), colour)
        fronts[plan] = pareto(mine, (x, y))
        line = sorted({(record[x], record[y]) for record in fronts[plan]})
        axes.plot(*zip(*line, strict=True), "o-", drawstyle="steps-post", color=colour,
                  linewidth=1.3, markersize=3.5, label=_plan(mine[0]))
    _names(axes, list(fronts.values())[-1], x, y)
    axes.margins(x=0.14, y=0.08)
    _plain(axes)


def _scores(axes: Any, records: Records, colours: Mapping[str, str]) -> None:
    """Draw what the scored plans cost on all designs, and the front of all of them together."""
    _scale(axes.xaxis, axes.set_xscale, [record[_COST] for record in records])
    for plan in dict.fromkeys(record["plan"] for record in records):
        mine = {(record[_COST], record["score"]) for record in records if record["plan"] == plan}
        _dots(axes, sorted(mine), colours[plan])
    larger = ["score"] if records[0]["higher_is_better"] else []
    front = sorted({(r[_COST], r["score"]) for r in pareto(records, (_COST, "score"), larger)})
    axes.plot(*zip(*front, strict=True), "o-", drawstyle="steps-post", color="#222", linewidth=1.3,
              markersize=3.5)
    _plain(axes)


def _scale(axis: Any, set_scale: Callable[..., None], values: list[float]) -> None:
    """Make an axis logarithmic where that helps, with plain numbers and few of them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    span = max(values) / min(values)
    if span < _LINEAR:
        axis.set_major_locator(MaxNLocator(5))
        return
    set_scale("log")
    axis.set_major_locator(LogLocator(subs=(1,) if span > 100 else (1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _plain(axes: Any) -> None:
    axes.grid(alpha=0.25, linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _dots(axes: Any, points: list[tuple[float, float]], colour: str) -> None:
    """Draw points as lines of no length with round ends: one path, a third of a marker's bytes."""
    nan = float("nan")
    ends = [end for point in points for end in (point, point, (nan, nan))]
    line, = axes.plot(*zip(*ends, strict=True), color=colour, alpha=0.25, linewidth=2.6,
                      solid_capstyle="round")
    line.get_path().should_simplify = False  # it would drop them; another scale is another path


def _plan(record: dict[str, Any]) -> str:
    """Return what the legend calls the plan of a record."""
    return f"{record['plan']}{', transferred' * (record['plan_kind'] == 'transferred')}"


def _names(axes: Any, front: Records, x: str, y: str) -> None:
    """Write the shape P x R x C of the macro below some points of one front."""
    if not all(key in front[0] for key in _SHAPE):
        return
    named = sorted({(record[x], record[y]): record for record in reversed(front)}.items(),
                   key=lambda item: item[0])
    for (at, height), record in named[::1 + len(named) // _NAMED]:
        axes.annotate("\u00d7".join(str(record[key]) for key in _SHAPE), (at, height), fontsize=6,
                      color="#555", ha="right", va="top", textcoords="offset points",
                      xytext=(-2, -3))
