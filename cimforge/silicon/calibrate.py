"""Fits the area's closed form to netlists, and says how far off it is on others."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import nnls

from cimforge.spec.config import DcimConfig
from cimforge_sw.cost.area import STORAGE, Technology, macro_area
from cimforge_sw.cost.features import BLOCKS, features, instances

__all__ = ["HELD_OUT", "calibrate", "errors"]

Record = Mapping[str, Any]

#: Designs that calibration does not see: they say how good it is.
HELD_OUT = ("fixed_2_4", "fixed_2_8", "index_share=2", "act_slice=2", "sub_macros=2", "rows=16",
            "cols=64")


def calibrate(records: Iterable[Record], full_adder: float, sram_bit: float, node_nm: float,
              name: str = "osu018") -> Technology:
    """Return what one of every term costs: nonnegative, of least relative error.

    Storage is fitted to the storage of the netlists, and a full adder is a cell of the library, so
    that both mean what they say; the rest is fitted to what remains.

    Parameters
    ----------
    records : iterable of dict
        ``macro`` records of :func:`~cimforge.silicon.netlists.design_records`; those of `HELD_OUT`
        only judge.
    full_adder : float
        Square micrometres of the library's cell.
    sram_bit : float
        Square micrometres of a bit of SRAM.
    node_nm : float
        Of the library.
    name : str
    """
    macros = [record for record in records if record["what"] == "macro"]
    seen = [record for record in macros if record["design"] not in HELD_OUT]
    configs = [DcimConfig(**record["config"]) for record in seen]
    counts = [features(config) for config in configs]
    columns = np.array([instances(config)["Column"] for config in configs])
    storage = np.array([record["storage_area"] for record in seen]) / columns
    known = _fit([count["Column"] for count in counts], storage, STORAGE)
    known["full adder"] = full_adder
    terms: dict[str, dict[str, float]] = {}
    for block in BLOCKS:
        mine = [count[block] for count in counts]
        areas = np.array([_own_area(record, block) for record in seen])
        fixed = known if block == "Column" else {}
        rest = areas - [sum(count[term] * fixed[term] for term in fixed) for count in mine]
        found = _fit(mine, rest, [term for term in mine[0] if term not in fixed], areas)
        terms[block] = {term: {**fixed, **found}[term] for term in mine[0]}
    made = Technology(name, node_nm, terms, sram_bit, 0.0)
    judged = errors(made, [record for record in macros if record["design"] in HELD_OUT])
    worst = max((abs(error) for error in judged.values()), default=float("nan"))
    return Technology(name, node_nm, terms, sram_bit, worst)


def _own_area(record: Record, block: str) -> float:
    """Return the area of one block; 0 where the macro has none, as slicers."""
    return record["blocks"].get(block, {"own_area": 0.0})["own_area"]


def _fit(counts: list[dict[str, float]], areas: np.ndarray, names: Sequence[str],
         scale: np.ndarray | None = None) -> dict[str, float]:
    """Return nonnegative costs of terms, of least error relative to ``scale``."""
    scale = areas if scale is None else scale
    kept = scale > 0
    matrix = np.array([[count[term] for term in names] for count in counts], dtype=float)
    found, _ = nnls(matrix[kept] / scale[kept, None], areas[kept] / scale[kept])
    return dict(zip(names, found.tolist(), strict=True))


def errors(technology: Technology, records: Iterable[Record]) -> dict[str, float]:
    """Return the relative error of the area of every macro, by design."""
    return {record["design"]:
            macro_area(DcimConfig(**record["config"]), technology).total / record["area"] - 1
            for record in records if record["what"] == "macro"}
