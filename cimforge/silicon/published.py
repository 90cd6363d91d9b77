"""Our macro beside published digital CIM macros, at the node nearest to theirs."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from cimforge.silicon.designs import FLEXIBLE
from cimforge.spec.config import DcimConfig
from cimforge.spec.files import read_bytes, shipped
from cimforge_sw.cost.nodes import nodes, scaling

__all__ = ["published_records"]

Record = dict[str, Any]
#: What our 8 x 8-bit product counts as, by the operands of a product of theirs.
_BITS = 8 * 8


def published_records(macros: Mapping[str, Any], energies: Mapping[tuple[str, str], Any],
                      node_nm: float) -> Iterator[Record]:
    """Yield ``tops_per_mm2`` and ``tops_per_watt`` of each published macro, with ours scaled.

    A multiplication and its addition are two operations, of 8 x 8 bits in ours; where a paper says
    its bits, its figure is brought to 8 x 8 by the product of the widths. Ours does what is asked
    of it without pruning (8:8), and at 2:8 with skipped products counted as done.

    Parameters
    ----------
    macros, energies : mapping
        Of :mod:`cimforge.silicon.designs`.
    node_nm : float
        Of the netlists.
    """
    table = yaml.safe_load(read_bytes(shipped("cost") / "published_dcim.yaml"))
    macro = macros[FLEXIBLE]
    config = DcimConfig(**macro["config"])
    products = config.slots * config.cols / config.slices
    for entry in table["macros"]:
        node = min(nodes(), key=lambda each: abs(each / entry["node_nm"] - 1))
        factor = scaling(int(node_nm), node)
        for figure, unit in (("tops_per_mm2", "TOPS/mm2"), ("tops_per_watt", "TOPS/W")):
            value = entry[figure]
            if value is None:
                continue
            for pattern, skipped in (("8:8", 1), ("2:8", 4)):
                if figure == "tops_per_mm2":
                    area = macro["area"] * 1e-6 * factor.area
                    ours = 2e-3 * products * skipped / (
                        macro["period_ns"] * factor.delay * area)
                else:
                    ours = 2 / (energies[FLEXIBLE, pattern]["energy_per_mac_pj"] * factor.energy)
                yield {"figure": figure, "model": None, "design": FLEXIBLE, "against":
                       entry["where"], "paper": _bounds(value, entry["bits"]), "ours": ours,
                       "pattern": pattern, "unit": unit,
                       "node_nm": entry["node_nm"], "scaled_to_nm": node,
                       "bits": entry["bits"], "note": entry.get("note", ""),
                       "assumptions": f"{node_nm:g} nm netlists times Stillmaker-Baas factors to "
                       f"{node} nm: area {factor.area:.3g}, delay {factor.delay:.3g}, energy "
                       f"{factor.energy:.3g}; weights in clocked flip-flops; nominal supplies, no "
                       "wires"}


def _bounds(value: float | list[float], bits: list[int] | None) -> list[float]:
    """Return the least and the most that is claimed, in operations of 8 x 8 bits if they say."""
    scale = 1.0 if bits is None else bits[0] * bits[1] / _BITS
    values = value if isinstance(value, list) else [value]
    return [min(values) * scale, max(values) * scale]
