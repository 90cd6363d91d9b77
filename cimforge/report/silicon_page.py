"""The page of ``make paper``: both papers' claims and ours, from JSON alone."""

from collections.abc import Mapping
from typing import Any

from cimforge.report import silicon_latency as cycle_tables
from cimforge.report import silicon_tables as tables
from cimforge.report.silicon_why import causes

__all__ = ["silicon_page"]

Report = dict[str, Any]
_HEAD = """# What it costs in silicon

Made by `{command}` at commit {commit}, from {sources}: cycles that the RTL counts, netlists of
{yosys} and OpenSTA {sta} with `{library}`, {volts:g} V, {node} nm. No wires, no clock tree, no
glitches (docs/synthesis.md).

The paper (arXiv 2504.14365, abstract) has two figures: latency up to 1.75 times and energy up to
1.5 times lower than existing sparse accelerators, which it does not name there. Node, clock, area
and workloads are not public. Ours are against fixed macros from the same generator: the same cells,
the same datapath, the same recipe.
"""
_CHARTS = """![Area of the macros, by block](img/silicon-area.svg)

![Energy of a macro per multiplication of the dense layer](img/silicon-energy.svg)
"""


def silicon_page(report: Report, sources: Mapping[str, Report]) -> str:
    """Return Markdown of the claims.

    Parameters
    ----------
    report : dict
        ``silicon.json``.
    sources : mapping of str to dict
        The reports that it was made from: ``estimate``, ``designs``, ``monarch``, ``synth``.
    """
    cycles, netlists, monarch, synth = (
        sources[name]["records"] for name in ("estimate", "designs", "monarch", "synth"))
    records, library = report["records"], report["library"]
    made_from = ", ".join(f"`{name}.json` ({commit})"
                          for name, commit in report["made_from"].items())
    head = _HEAD.format(command=report["command"], commit=report["commit"], sources=made_from,
                        **report["tools"], library=library["file"], volts=library["voltage"],
                        node=library["node_nm"])
    return "\n".join([
        head, tables.bars_table(report["bars"]), causes(netlists), cycle_tables.latency(
            cycles, records), cycle_tables.equal_area(records), cycle_tables.equal_accuracy(cycles),
        cycle_tables.utilization(cycles), _CHARTS, tables.areas(records, netlists),
        tables.energy(records, netlists), tables.power(netlists, synth),
        tables.cost_model(records), tables.published(records), tables.analog(monarch)])
