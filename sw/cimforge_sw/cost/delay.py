"""Clock period of a macro in closed form."""

from math import log2

from cimforge.spec.config import DcimConfig
from cimforge_sw.cost.technology import Technology

__all__ = ["delay_counts", "macro_period"]


def delay_counts(config: DcimConfig) -> dict[str, float]:
    """Return what is on the slowest path: from the bank's select to a column's first sums."""
    return {"bank select": config.weight_banks - 1,
            "level of a line select": log2(max(config.lines, 1)),
            "level of a shared index": log2(config.index_share),
            "level of the rows": log2(config.rows),
            "level of a weight": log2(config.weight_bits),
            "level of a slice": log2(config.act_slice),
            "sign of a serial slice": int(config.act_slice == 1),
            "level of the last sum": log2(config.term_bits) * (config.adder_stages == 1)}


def macro_period(config: DcimConfig, technology: Technology) -> float:
    """Return nanoseconds: no wires, no clock skew."""
    return sum(technology.delay[term] * count for term, count in delay_counts(config).items())
