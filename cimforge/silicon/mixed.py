"""Small macros that differ from the flexible one in several parameters at once: for calibration.

Closed forms that hold for one change at a time may fail for several.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from cimforge.spec.config import DcimConfig

__all__ = ["MIXED", "UNSEEN"]


def _named(*changes: dict[str, Any]) -> Mapping[str, DcimConfig]:
    """Return macros of 2 x R x 8 cells, unless said otherwise, by their changes."""
    found = {}
    for each in changes:
        change: dict[str, Any] = {"sub_macros": 2, "cols": 8, **each}
        name = ",".join(f"{parameter}={value}" for parameter, value in change.items())
        found[name] = DcimConfig(**change)
    return MappingProxyType(found)


#: Macros that calibration sees.
MIXED = _named(
    dict(rows=16, act_slice=2, max_m=4, weight_banks=1, index_share=2),
    dict(rows=16, act_slice=1, adder_stages=1, weight_banks=1),
    dict(rows=16, weight_bits=4, act_bits=4, act_slice=4),
    dict(sub_macros=4, act_slice=2, max_m=4, weight_banks=1),
    dict(weight_bits=4, act_bits=4, act_slice=2, max_m=4),
    dict(rows=64, act_slice=2, weight_banks=1, index_share=2),
    dict(rows=16, max_m=2, adder_stages=1, weight_banks=1),
    dict(act_slice=4, index_share=4, max_m=16),
    dict(rows=16, weight_bits=4, weight_banks=1))
#: Macros that only judge it.
UNSEEN = _named(
    dict(sub_macros=4, cols=16, rows=16, act_slice=2, weight_banks=1),
    dict(act_slice=4, max_m=4, weight_banks=1, index_share=2),
    dict(weight_bits=4, act_bits=4, act_slice=4, max_m=4, weight_banks=1),
    dict(sub_macros=1, rows=64, act_slice=2, max_m=4),
    dict(rows=16, max_m=16, weight_banks=1, index_share=4),
    dict(act_bits=4, act_slice=4, adder_stages=1))
