"""A mode of the macro: the N:M pattern it runs and how many sub-macros share an output."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cimforge.spec.config import DcimConfig

__all__ = ["PUBLISHED_PAIR_MODES", "Mode", "slot_blocks"]

#: N:M of the published macro with its four sub-macros (FlexCiM, arXiv 2504.14365; the closed form
#: "N sub-macros per block, M/2 pairs" is derived from the released RTL).
PUBLISHED_PAIR_MODES = ((1, 8), (2, 8), (1, 4), (4, 8), (2, 4), (1, 2), (1, 1))


@dataclass(frozen=True, slots=True, order=True)
class Mode:
    """Run-time mode of the macro.

    Attributes
    ----------
    n, m : int
        At most ``n`` weights are kept in every ``m`` consecutive inputs.
    group : int
        G, sub-macros whose columns are merged; P/G groups compute different outputs.
    """

    n: int
    m: int
    group: int

    def __str__(self) -> str:
        return f"{self.n}:{self.m} G={self.group}"


def slot_blocks(config: "DcimConfig", mode: Mode) -> np.ndarray:
    """Return the block of inputs that each slot works on.

    A group counts its slots row by row, ``s = r*G + g``; slot s keeps nonzero ``s mod N`` of
    block ``s div N``. Slots past the last whole block are unused.

    Returns
    -------
    ndarray of int64, shape (R, P)
        Block index, or -1 for an unused slot.
    """
    row, sub_macro = np.indices((config.rows, config.sub_macros))
    block = (row * mode.group + sub_macro % mode.group) // mode.n
    return np.where(block < config.rows * mode.group // mode.n, block, -1)
