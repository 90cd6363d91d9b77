"""Pictures of the analog tile: mappings, programs in time, sweeps."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimforge.report.plots import save_figure
from cimforge.spec.analog.timing import Timeline

if TYPE_CHECKING:
    from cimforge_sw.analog.placement import Mapping

__all__ = ["draw_gantt", "draw_mapping", "plot_sweep"]

# Okabe and Ito's colours, which most people can tell apart; lighter for the first factor.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#999933", "#7f3c8d")
_GAP = 0.12  # between arrays, of an array's side


def _light(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at:at + 2], 16) / 255 for at in (1, 3, 5))
    return (1 + red) / 2, (1 + green) / 2, (1 + blue) / 2


def draw_mapping(path: Path, mapping: "Mapping", *, title: str = "", most: int = 64,
                 across: int = 0) -> Path:
    """Draw arrays with their blocks: a colour per matrix, the first factor lighter.

    Parameters
    ----------
    path : Path
    mapping : Mapping
    title : str
    most : int
        Arrays to draw, from the first on.
    across : int
        Arrays in a row; 0: as suits their number.

    Returns
    -------
    Path
    """
    shown = min(mapping.arrays, most)
    wide = across or min(shown, 16 if shown > 24 else 8)
    down = -(-shown // wide)
    colours = {matrix.name: _COLOURS[n % len(_COLOURS)]
               for n, matrix in enumerate(mapping.matrices)}

    def draw(axes: Any) -> None:
        from matplotlib.patches import Patch

        _draw_blocks(axes, mapping, colours, shown, wide)
        plural = "s" * (mapping.arrays != 1)
        rest = f", the first {shown}" if shown < mapping.arrays else ""
        axes.set_title(f"{title or mapping.name}: {mapping.arrays} array{plural}{rest}, "
                       f"{mapping.utilization:.1%} of the cells in blocks", fontsize=9)
        handles = [Patch(color=colour, label=name) for name, colour in
                   list(colours.items())[:len(_COLOURS)]]
        if any(factor.stage == "R" for factor in mapping.factors):
            handles.append(Patch(color="#cccccc", label="lighter: R"))
        axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), frameon=False,
                    ncols=min(len(handles), 9), handlelength=1, columnspacing=1)

    width = max(6.5, min(9.5, wide * 1.1))
    return save_figure(path, draw, (width, down * min(1.2, 0.95 * width / wide) + 1.1))


def _draw_blocks(axes: Any, mapping: "Mapping", colours: dict[str, str], shown: int, wide: int
                 ) -> None:
    """Draw the first ``shown`` arrays, ``wide`` in a row, and the blocks in them."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    step, down = 1 + _GAP, -(-shown // wide)

    def corner(array: int) -> tuple[float, float]:
        return array % wide * step, (down - 1 - array // wide) * step

    frames = [Rectangle(corner(array), 1, 1) for array in range(shown)]
    axes.add_collection(PatchCollection(frames, facecolor="#f4f4f4", edgecolor="#666666",
                                        linewidth=0.6))
    boxes, faces = [], []
    for place in mapping.placements:
        if place.array >= shown:
            continue
        x, y = corner(place.array)
        boxes.append(Rectangle(
            (x + place.col / mapping.array, y + 1 - (place.row + place.rows) / mapping.array),
            place.cols / mapping.array, place.rows / mapping.array))
        factor = place.block.factor
        colour = colours[factor.matrix]
        faces.append(_light(colour) if factor.stage == "R" else colour)
    axes.add_collection(PatchCollection(boxes, facecolor=faces, edgecolor="white", linewidth=0.3))
    axes.set_xlim(-0.05, wide * step)
    axes.set_ylim(-0.05, down * step)
    axes.set_aspect("equal")
    axes.axis("off")


def draw_gantt(path: Path, timeline: Timeline, *, title: str = "",
               group: Callable[[int], str] | None = None) -> Path:
    """Draw when the buses and arrays work.

    Parameters
    ----------
    path : Path
    timeline : Timeline
        As `cimforge.spec.analog.timing.timeline` returns it.
    title : str
    group : callable, optional
        What a command, by its position, is part of; groups have colours of their own.
    """
    arrays = sorted({span.array for span in timeline.spans if span.array is not None})
    rows = {"load": 0, **{f"array {array}": n + 1 for n, array in enumerate(arrays)},
            "retire": len(arrays) + 1}
    bars: dict[str, list[tuple[int, int, int]]] = {}  # group -> (row, first cycle, cycles)
    for span in timeline.spans:
        mine = bars.setdefault(group(span.position) if group else "", [])
        work = (("load", span.load), (f"array {span.array}", span.convert),
                ("retire", span.retire))
        mine += [(rows[name], when[0], when[1] - when[0] + 1) for name, when in work if when]

    def draw(axes: Any) -> None:
        for n, (name, mine) in enumerate(bars.items()):
            narrow = timeline.end / 100  # a white edge would leave nothing of it
            axes.barh([row for row, _, _ in mine], [width for _, _, width in mine],
                      left=[first for _, first, _ in mine], height=0.72,
                      color=_COLOURS[n % len(_COLOURS)], label=name or None, linewidth=0.5,
                      edgecolor=["none" if width < narrow else "white" for _, _, width in mine])
        axes.set_yticks(list(rows.values()), list(rows))
        axes.invert_yaxis()
        axes.set_xlim(0, timeline.end)
        axes.set_xlabel("cycles")
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
        axes.set_title(title, fontsize=9)
        if group:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)

    return save_figure(path, draw, (8.5, 1.3 + 0.26 * len(rows)))


def plot_sweep(path: Path, curves: dict[str, Sequence[tuple[int, float]]], *, title: str,
               label: str) -> Path:
    """Draw speed-ups over the converters per array, one line per mapping.

    Parameters
    ----------
    path : Path
    curves : dict of str to sequence of (adcs, ratio)
    title, label : str
        Of the picture and its vertical axis.
    """
    styles = {"hybrid": ("s", 4.0), "scatter": ("o", 1.8)}

    def draw(axes: Any) -> None:
        for n, (name, points) in enumerate(curves.items()):
            marker, width = styles.get(name, ("o", 1.8))
            axes.plot([adcs for adcs, _ in points], [ratio for _, ratio in points],
                      marker=marker, markersize=4, linewidth=width,
                      color=_COLOURS[n % len(_COLOURS)], alpha=0.5 if name == "hybrid" else 1,
                      label=name)
        ticks = sorted({adcs for points in curves.values() for adcs, _ in points})
        axes.axhline(1, color="#666666", linewidth=0.8, linestyle="--")
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}x")
        axes.set_xlabel("converters per array and plane")
        axes.set_ylabel(label)
        axes.set_title(title, fontsize=9)
        axes.grid(alpha=0.3)
        axes.legend(ncols=2)

    return save_figure(path, draw, (6, 4))
