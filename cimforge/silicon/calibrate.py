"""Fits the area's closed form to netlists, and says how far off it is on others."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy.optimize import nnls

from cimforge.spec.config import DcimConfig
from cimforge_sw.cost.area import Technology, macro_area
from cimforge_sw.cost.features import BLOCKS, features

__all__ = ["HELD_OUT", "calibrate", "errors"]

Record = Mapping[str, Any]

#: Designs that calibration does not see: they say how good it is.
HELD_OUT = ("fixed_2_4", "fixed_2_8", "index_share=2", "act_slice=2", "sub_macros=2", "rows=16",
            "cols=64")


def calibrate(records: Iterable[Record], sram_bit: float, node_nm: float,
              name: str = "osu018") -> Technology:
    """Return what one of every term costs: nonnegative, of least relative error.

    Parameters
    ----------
    records : iterable of dict
        ``macro`` records of :func:`~cimforge.silicon.netlists.design_records`; those of `HELD_OUT`
        only judge.
    sram_bit : float
        Square micrometres of a bit of SRAM.
    node_nm : float
        Of the library.
    name : str
    """
    macros = [record for record in records if record["what"] == "macro"]
    seen = [record for record in macros if record["design"] not in HELD_OUT]
    terms: dict[str, dict[str, float]] = {}
    for block in BLOCKS:
        counts = [features(DcimConfig(**record["config"]))[block] for record in seen]
        names = list(counts[0])
        areas = np.array([record["blocks"][block]["own_area"] for record in seen])
        matrix = np.array([[count[term] for term in names] for count in counts])
        kept = areas > 0
        found, _ = nnls(matrix[kept] / areas[kept, None], np.ones(kept.sum()))
        terms[block] = dict(zip(names, found.tolist(), strict=True))
    made = Technology(name, node_nm, terms, sram_bit, 0.0)
    judged = errors(made, [record for record in macros if record["design"] in HELD_OUT])
    worst = max((abs(error) for error in judged.values()), default=float("nan"))
    return Technology(name, node_nm, terms, sram_bit, worst)


def errors(technology: Technology, records: Iterable[Record]) -> dict[str, float]:
    """Return the relative error of the area of every macro, by design."""
    return {record["design"]:
            macro_area(DcimConfig(**record["config"]), technology).total / record["area"] - 1
            for record in records if record["what"] == "macro"}
