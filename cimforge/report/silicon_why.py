"""Where the energy and the area of the flexible macro go that keep it from its bars."""

from collections.abc import Mapping, Sequence
from typing import Any

from cimforge.silicon.designs import FLEXIBLE, energies, macros

__all__ = ["BLOCKS", "causes"]

Record = Mapping[str, Any]
#: Blocks of a macro whose area is told apart.
BLOCKS = ("Column", "Distribution", "Merging", "SubMacro", "Macro")


def causes(netlists: Sequence[Record]) -> str:
    """Return where the energy and the area beyond the bars are."""
    whole, found = energies(netlists), macros(netlists)
    full, half = whole[FLEXIBLE, "2:8"], whole["fixed_4_8", "2:8"]
    share = half["energy_pj"] / full["energy_pj"]
    parts = {kind: (_own(found[FLEXIBLE], kind) - _own(found["fixed_1_2"], kind))
             / found["fixed_1_2"]["area"] for kind in BLOCKS}
    extra = (found[FLEXIBLE]["storage_area"] - found["fixed_1_2"]["storage_area"]
             ) / found["fixed_1_2"]["area"]
    return (
        "Where some are missed:\n\n"
        f"- Energy: fixed 4:8 takes twice the cycles at 75 %, but with half of its cells empty one "
        f"of them takes {half['energy_pj'] / 1000:.1f} instead of {full['energy_pj'] / 1000:.1f} "
        f"nJ, {share:.0%}: clock pins ({full['clock_pj'] / 1000:.1f} nJ), lines and sums toggle "
        f"all the same, products with zeros do not. So twice the cycles are {2 * share:.2f} times "
        "the energy; 1.5 would need 75 %. Macros that share indices spend less on the rest.\n"
        "- Area over fixed 1:2: " + ", ".join(
            f"{kind} {part:+.1%}" for kind, part in parts.items() if abs(part) >= 5e-4)
        + f"; of the columns' part, {extra:.1%} stores two more bits per index and bank, the rest "
        "selects one line of eight instead of one of two.\n")


def _own(macro: Record, kind: str) -> float:
    block = macro["blocks"].get(kind, {"count": 0, "own_area": 0.0})
    return block["count"] * block["own_area"]
