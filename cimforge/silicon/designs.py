"""The macros that are mapped: the flexible one, the fixed ones, and one change at a time."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from cimforge.silicon.mixed import MIXED, UNSEEN
from cimforge.spec.config import DcimConfig
from cimforge.spec.yaml_config import load_config
from cimforge.synth.real import TOGETHER

__all__ = ["ABLATIONS", "BASELINES", "FLEXIBLE", "WITH_ENERGY", "designs", "energies", "macros"]

Record = Mapping[str, Any]

FLEXIBLE = "default"
#: Macros of equal cells and an equal datapath.
BASELINES = (FLEXIBLE, "dense", "fixed_1_2", "fixed_2_4", "fixed_4_8", "fixed_1_4", "fixed_2_8")
#: What is changed of the flexible macro, one at a time.
ABLATIONS: Mapping[str, tuple[int | str, ...]] = MappingProxyType({
    "select": ("pair",), "index_share": (2, 4), "index_coding": ("one_hot",), "max_m": (2, 4, 16),
    "act_slice": (1, 2, 4), "adder_stages": (1,), "weight_banks": (1,), "sub_macros": (1, 2, 8),
    "rows": (16, 64), "cols": (16, 64)})
#: Macros whose energy is measured under a model's layer.
WITH_ENERGY = (*BASELINES, "select=pair", "index_share=2", "index_share=4",
               "index_coding=one_hot", "max_m=4", "act_slice=1", "act_slice=2", "rows=16",
               *MIXED, *UNSEEN)


def designs() -> dict[str, DcimConfig]:
    """Return all of them, and the mixed ones; one change is called ``parameter=value``."""
    found = {name: load_config(name) for name in BASELINES}
    for parameter, values in ABLATIONS.items():
        for value in values:
            found[f"{parameter}={value}"] = found[FLEXIBLE].replace(**{parameter: value})
    return {**found, **MIXED, **UNSEEN}


def macros(records: Iterable[Record]) -> dict[str, Record]:
    """Return the records of area and clock, by design."""
    return {record["design"]: record for record in records if record["what"] == "macro"}


def energies(records: Iterable[Record]) -> dict[tuple[str, str], Record]:
    """Return the records of the energy of whole macros, by design and pattern of the layer."""
    return {(record["design"], record["pattern"]): record for record in records
            if record["what"] == "energy" and record["of"] == TOGETHER}
