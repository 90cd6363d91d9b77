"""Tables of ``make paper`` that are about silicon: each a section, from records alone."""

from collections.abc import Sequence
from typing import Any

from cimforge.report.bars import select
from cimforge.report.tables import figure_of, table
from cimforge.silicon.claims import VARIANTS
from cimforge.silicon.designs import FLEXIBLE, energies, macros

__all__ = ["PRUNED", "analog", "areas", "bars_table", "cost_model", "energy", "power", "published"]

Record = dict[str, Any]
#: Patterns of the layer whose energy is measured, and how much of it is pruned.
PRUNED = {"2:8": "75 % pruned", "4:8": "50 %", "8:8": "none"}


def bars_table(bars: Sequence[Record]) -> str:
    """Return the bars: wanted, reached, met."""
    rows = ((b["bar"], b["wanted"], f"{b['ours']:.3f}", b["where"],
             "yes" if b["met"] else "**no**") for b in bars)
    return ("## Bars\n\nOf latency, the second-best of the large models, the worst of its "
            "settings; bars of cycles alone are in estimate.md.\n\n"
            + table(["bar", "wanted", "ours", "where it is least", "met"], rows))


def areas(records: list[Record], netlists: list[Record]) -> str:
    """Return area and clock of every macro."""
    over = {(r["design"], r["storage"]): r["ours"]
            for r in select(records, figure="area_overhead_vs_fixed_1_2")}
    rows = ((name, *(f"{r[key] / 1e6:.2f}" for key in ("area", "storage_area", "area_with_sram")),
             f"{r['period_ns']:.2f}", f"{over[name, 'flip-flops']:+.1%}",
             f"{over[name, 'SRAM']:+.1%}") for name, r in macros(netlists).items()
            if (name, "SRAM") in over)
    return ("## Area and clock of the macros\n\nIn mm2. \"As SRAM\": weights and indices as SRAM "
            "of a published density instead of flip-flops: a lower bound, for that density is of a "
            "memory that reads a word at a time, where a macro reads all rows. A design "
            "`parameter=value` is the flexible macro, `default`, with one change; those of other "
            "cells or slices are no baselines.\n\n"
            + table(["design", "area", "of it weight storage", "as SRAM", "period, ns",
                     "over fixed 1:2", "as SRAM"], rows))


def energy(records: list[Record], netlists: list[Record]) -> str:
    """Return energy per multiplication of every macro, and ratios of the flexible ones."""
    whole = energies(netlists)
    rows = []
    shown = [r["design"] for r in select(records, figure="energy_per_multiplication")]
    for design in dict.fromkeys(shown):
        cells = [f"{r['energy_per_mac_pj']:.2f} "
                 f"({r['energy_per_mac_pj'] / whole[FLEXIBLE, pattern]['energy_per_mac_pj']:.2f})"
                 for pattern in PRUNED for r in (whole[design, pattern],)]
        r = whole[design, "2:8"]
        passes = "" if r["passes"] == 1 else f", {r['passes']} passes"
        rows.append([design, *cells, f"{r['mode']}{passes}", f"{r['energy_pj'] / 1000:.1f}",
                     f"{r['clock_pj'] / 1000:.1f}"])
    workload = whole[FLEXIBLE, "2:8"]["workload"].partition(",")[0]
    return (f"## Energy of the macros\n\nOf {workload}, pruned and quantized, from toggles counted "
            "in the netlists; pJ per multiplication of the dense layer, skipped ones counted as "
            "done, and in brackets over the flexible macro. The last columns are at 2:8. Macros "
            "that share indices run the layer pruned with positions shared alike. Memories are not "
            "counted: those that need several passes would read and accumulate more often.\n\n"
            + table(["design", *PRUNED.values(), "mode at 75 %", "nJ per cycle",
                     "of it clock pins"], rows) + "\n" + _ratios(records))


def _ratios(records: list[Record]) -> str:
    ratios = [r for r in records if r["figure"] == "energy_vs_fixed"
              and r["model"].endswith("2:8")]
    against = list(dict.fromkeys(r["against"] for r in ratios))
    rows = [[variant, positions, storage,
             *(figure_of(ratios, design=variant, against=name, storage=storage)
               for name in against)]
            for variant, positions in VARIANTS.items() for storage in ("flip-flops", "SRAM")]
    return ("Energy of fixed macros over that of flexible ones, 75 % pruned. The flip-flops that "
            "hold weights are clocked in all macros alike, which flatters the one that takes fewer "
            "cycles; \"SRAM\" takes their clock away. What shared positions cost in accuracy is in "
            "accuracy.md.\n\n"
            + table(["flexible macro", "positions", "weights in", *against], rows))


def power(netlists: list[Record], synth: list[Record]) -> str:
    """Return the flexible macro's power at three sparsities beside that at a default activity."""
    whole, macro = energies(netlists), macros(netlists)[FLEXIBLE]
    sta = next((r for r in synth if r.get("block") == "Macro"), None)
    rows = [[PRUNED[pattern], f"{r['sparsity']:.1%}", *(
        f"{energy / macro['period_ns']:.0f}" for energy in (
            r["energy_pj"], r["clock_pj"], r["default_energy_pj"],
            *([sta["default_energy_pj"]] if sta else [])))]
            for pattern in PRUNED for r in (whole[FLEXIBLE, pattern],)]
    return (f"## Power of the flexible macro\n\nmW at {macro['period_ns']:.2f} ns; \"default\": "
            "0.1 toggles per net and cycle, ours and OpenSTA's, whose version charges every toggle "
            "with both edges (docs/synthesis.md).\n\n"
            + table(["layer", "zero weights", "real activity", "of it clock pins", "default, ours",
                     *(["default, OpenSTA"] if sta else [])], rows))


def cost_model(records: list[Record]) -> str:
    """Return how far off the closed forms are on netlists that they were not fitted to."""
    mine = select(records, figure="cost_model_error", held_out=True)
    kinds = list(dict.fromkeys(r["kind"] for r in mine))
    rows = [[design, *(f"{r[0]['ours']:+.1%}" if r else "" for kind in kinds
                       for r in (select(mine, design=design, kind=kind),))]
            for design in dict.fromkeys(r["design"] for r in mine)]
    return ("## Cost model\n\nError of the closed forms (docs/silicon.md) on netlists that the fit "
            "did not see; of the energy, the largest of three sparsities.\n\n"
            + table(["design", *kinds], rows))


def published(records: list[Record]) -> str:
    """Return published macros beside ours, scaled."""
    rows = []
    keys = ((r["against"], r["node_nm"], r["scaled_to_nm"], r["figure"]) for r in records
            if r["figure"] in ("tops_per_mm2", "tops_per_watt"))
    for where, node, scaled, figure in dict.fromkeys(keys):
        dense, sparse = select(records, figure=figure, against=where)
        low, high = dense["paper"]
        bits = "not said" if dense["bits"] is None else "x".join(map(str, dense["bits"]))
        claim = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        rows.append([where, f"{node} nm", dense["unit"], claim, bits, dense["note"],
                     f"{scaled} nm", f"{dense['ours']:.3g}", f"{sparse['ours']:.3g}"])
    return ("## Beside published digital CIM macros\n\nTheir figures are those of titles, at "
            "voltages, toggle rates and sparsities that those do not say; where bits are said, "
            "brought to 8 x 8 by the product of the widths. Ours: 2 operations per 8 x 8-bit "
            "product, 180 nm netlists at the nominal supply, scaled by Stillmaker and Baas "
            "(cost/nodes.yaml) to the node nearest to theirs that the rule has, 7 nm for all "
            "below; weights in clocked flip-flops: standard cells and no wires against custom bit "
            "cells and silicon. A scaled figure is an order of magnitude and no claim.\n\n"
            + table(["macro", "node", "unit", "claim", "bits", "note", "ours at",
                     "not pruned", "2:8, skipped counted"], rows))


def analog(monarch: list[Record]) -> str:
    """Return the analog paper's figures beside ours."""
    rows = ((r["figure"], r["model"], r["mapping"], r["adcs"] or "", r["normalization"] or "",
             f"{r['paper']:.3g}", f"{r['ours']:.3g}", r["assumptions"])
            for r in monarch if r["paper"] is not None)
    return ("## The analog paper's figures\n\narXiv 2510.11192; all of ours in monarch.md.\n\n"
            + table(["figure", "model", "mapping", "converters", "normalization", "paper", "ours",
                     "assumptions"], rows))
