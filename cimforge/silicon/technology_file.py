"""A calibrated technology as YAML: every number with its unit and where it is from."""

from collections.abc import Mapping
from typing import Any

import yaml

from cimforge_sw.cost.technology import Technology

__all__ = ["technology_yaml"]

_JUDGED = {"area": "largest error of a macro's area on netlists that the fit did not see",
           "energy": "the same of its energy per cycle, under one layer at three sparsities",
           "delay": "the same of its clock period"}


def technology_yaml(technology: Technology, library: str, source: str, sram_source: str) -> str:
    """Return the text of ``cost/silicon/NAME.yaml``.

    Parameters
    ----------
    technology : Technology
    library : str
        File name of the cells.
    source, sram_source : str
        What was fitted, and where the density of SRAM is from.
    """
    data = {
        "name": technology.name, "node_nm": technology.node_nm, "library": library,
        "source": source,
        "uncertainty": {kind: {"value": round(value, 4), "unit": "relative",
                               "source": _JUDGED[kind]}
                        for kind, value in technology.uncertainty.items()},
        "sram_bit": {"value": round(technology.sram_bit, 4), "unit": "um2/bit",
                     "source": sram_source},
        "area": {block: _terms(terms, "um2") for block, terms in technology.area.items()},
        "energy": _terms(technology.energy, "pJ"),
        "activity": _terms(technology.activity, "relative"),
        "delay": _terms(technology.delay, "ns")}
    return ("# What one of everything in a macro costs; made by cimforge paper --netlists.\n"
            + yaml.safe_dump(data, sort_keys=False, width=96))


def _terms(terms: Mapping[str, float], unit: str) -> dict[str, dict[str, Any]]:
    return {term: {"value": float(f"{value:.6g}"), "unit": unit} for term, value in terms.items()}
