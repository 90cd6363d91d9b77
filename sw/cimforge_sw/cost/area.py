"""Area of a macro in closed form."""

from collections.abc import Mapping
from dataclasses import dataclass

from cimforge.spec.config import DcimConfig
from cimforge_sw.cost.features import BLOCKS, features, instances
from cimforge_sw.cost.technology import Technology

__all__ = ["STORAGE", "MacroArea", "macro_area"]

#: Terms of a column that weights and indices take as flip-flops with their write gates.
STORAGE = ("stored bit", "word")


@dataclass(frozen=True)
class MacroArea:
    """Square micrometres.

    Attributes
    ----------
    blocks : dict of str to float
        Of all blocks of a kind, each without those in it.
    storage : float
        The part of the columns that is weights and indices as flip-flops with their write gates.
    with_sram : float
        The whole, if they were SRAM.
    """

    blocks: Mapping[str, float]
    storage: float
    with_sram: float

    @property
    def total(self) -> float:
        """All blocks."""
        return sum(self.blocks.values())


def macro_area(config: DcimConfig, technology: Technology) -> MacroArea:
    """Return the area of a configuration's macro."""
    counts, times, costs = features(config), instances(config), technology.area
    blocks = {block: times[block] * sum(costs[block][term] * count
                                        for term, count in counts[block].items())
              for block in BLOCKS}
    column = counts["Column"]
    storage = times["Column"] * sum(costs["Column"][term] * column[term] for term in STORAGE)
    as_sram = times["Column"] * column["stored bit"] * technology.sram_bit
    return MacroArea(blocks, storage, sum(blocks.values()) - storage + as_sram)
