"""Pictures of ``make paper``: areas by block, and energies at three sparsities."""

from pathlib import Path
from typing import Any

from cimforge.report.plots import save_figure
from cimforge.report.silicon_tables import PRUNED
from cimforge.report.silicon_why import BLOCKS
from cimforge.silicon.designs import energies, macros

__all__ = ["silicon_charts"]

#: Ablations that keep the cells, ports and slices of the flexible macro.
_COMPARABLE = ("select", "index_share", "index_coding", "max_m")


def silicon_charts(netlists: dict[str, Any], folder: Path) -> None:
    """Draw ``silicon-area.svg`` and ``silicon-energy.svg`` from ``designs.json``."""
    _areas(macros(netlists["records"]), folder / "silicon-area.svg")
    _energies(energies(netlists["records"]), folder / "silicon-energy.svg")


def _comparable(name: str) -> bool:
    return "=" not in name or name.split("=")[0] in _COMPARABLE


def _areas(found: dict[str, Any], path: Path) -> None:
    names = [name for name in found if _comparable(name)]

    def draw(axes: Any) -> None:
        left = [0.0] * len(names)
        for block in BLOCKS:
            sizes = [found[name]["blocks"][block] for name in names]
            values = [s["count"] * s["own_area"] / 1e6 for s in sizes]
            axes.barh(names, values, left=left, label=block)
            left = [a + b for a, b in zip(left, values, strict=True)]
        axes.invert_yaxis()
        axes.set_xlabel("area, mm2 (180 nm cells, no wires)")
        axes.legend(fontsize=8)

    save_figure(path, draw, (8, 4.5))


def _energies(found: dict[tuple[str, str], Any], path: Path) -> None:
    names = [name for name in dict.fromkeys(design for design, _ in found) if _comparable(name)]

    def draw(axes: Any) -> None:
        for i, (pattern, label) in enumerate(PRUNED.items()):
            at = [n + 0.27 * (i - 1) for n in range(len(names))]
            axes.bar(at, [found[name, pattern]["energy_per_mac_pj"] for name in names], 0.25,
                     label=label)
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axes.set_ylabel("pJ per multiplication of the dense layer")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(PRUNED))

    save_figure(path, draw, (8, 4.5))
