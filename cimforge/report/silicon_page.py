"""The page of ``make paper``: the digital paper's claims and ours, from JSON alone."""

from pathlib import Path
from typing import Any

from cimforge.report.plots import save_figure

__all__ = ["silicon_charts", "silicon_page"]

Report = dict[str, Any]
_PATTERNS = ("2:8", "4:8", "8:8")
_BLOCKS = ("Column", "Distribution", "Merging", "SubMacro", "Macro")
_HEAD = """# What it costs in silicon

Made by `{command}` at commit {commit}, from `estimate.json` ({estimate}), `designs.json`
({designs}) and `monarch.json` ({monarch}): cycles that the RTL counts, netlists of {yosys} and
OpenSTA {sta} with `{library}`, {volts:g} V, {node} nm. No wires, no clock tree, no glitches
(docs/synthesis.md).

The paper (arXiv 2504.14365, abstract) has two figures: latency up to 1.75 times and energy up to
1.5 times lower than existing sparse accelerators, which it does not name there. Node, clock, area
and workloads are not public. Ours are against fixed macros from the same generator: the same cells,
the same datapath, the same recipe.
"""
_CHARTS = """
![Area of the macros, by block](img/silicon-area.svg)

![Energy of a macro per multiplication of the dense layer](img/silicon-energy.svg)
"""


def silicon_page(report: Report, netlists: Report, monarch: Report) -> str:
    """Return Markdown of the claims."""
    tools, library = report["tools"], report["library"]
    head = _HEAD.format(command=report["command"], commit=report["commit"], **report["made_from"],
                        **tools, library=library["file"], volts=library["voltage"],
                        node=library["node_nm"])
    return "\n".join([head, _bars(report), _latency(report), _CHARTS, _area(report, netlists),
                      _energy(report, netlists), _analog(monarch)])


def _bars(report: Report) -> str:
    rows = "".join(f"| {b['bar']} | {b['wanted']} | {b['ours']:.3f} | {b['where']} | "
                   f"{'yes' if b['met'] else '**no**'} |\n" for b in report["bars"])
    return ("## Bars\n\nOf latency, the second-best of the large models, the worst of its "
            "settings; bars of cycles alone are in estimate.md.\n\n"
            f"| bar | wanted | ours | where it is least | met |\n|---|---|---|---|---|\n{rows}")


def _latency(report: Report) -> str:
    rows = []
    records = report["records"]
    keys = [(r["model"], r["plan"], r["sparsity"]) for r in records
            if r["figure"] == "latency_vs_best_fixed" and r["clock"] == "one"
            and r["tokens"] == 16 and r["plan"] in ("uniform 2:8", "mix 4:8, 2:8",
                                                    "transferred 0.75", "transferred 0.7")]
    for model, plan, sparsity in dict.fromkeys(keys):
        cells = []
        for figure, clock in (("latency_vs_best_fixed", "one"), ("latency_vs_best_fixed", "own"),
                              ("area_normalized_latency", "own")):
            for weights in ("streamed", "resident"):
                found = [r["ours"] for r in records if r["figure"] == figure
                         and r["clock"] == clock and r["model"] == model and r["plan"] == plan
                         and r["tokens"] == 16 and r["weights"] == weights
                         and r["buffer"] == "equal_bits"]
                cells.append(f"{found[0]:.2f}" if found else "")
        rows.append(f"| {model} | {plan} | {sparsity:.1%} | {' | '.join(cells)} |\n")
    return ("## Latency against the best fixed macro of the 50 % class\n\n"
            "16 tokens, buffers of equal bits; the paper's figure is 1.75, up to.\n\n"
            "| model | plan | pruned | one clock, streamed | resident | own clock, streamed | "
            "resident | own clock, per area, streamed | resident |\n"
            f"|---|---|---|---|---|---|---|---|---|\n{''.join(rows)}")


def _macros(netlists: Report) -> dict[str, Any]:
    return {r["design"]: r for r in netlists["records"] if r["what"] == "macro"}


def _area(report: Report, netlists: Report) -> str:
    over = {(r["design"], r["storage"]): r["ours"] for r in report["records"]
            if r["figure"] == "area_overhead_vs_fixed_1_2"}
    rows = "".join(
        f"| {name} | {r['area'] / 1e6:.2f} | {r['storage_area'] / 1e6:.2f} | "
        f"{r['area_with_sram'] / 1e6:.2f} | {r['period_ns']:.2f} | "
        f"{over[name, 'flip-flops']:+.1%} | {over[name, 'SRAM']:+.1%} |\n"
        for name, r in _macros(netlists).items())
    return ("## Area and clock of the macros\n\nIn mm2. \"As SRAM\": weights and indices as SRAM "
            "of a published density instead of flip-flops. A design `parameter=value` is the "
            "flexible macro, `default`, with one change; those of other cells or slices are no "
            "baselines.\n\n"
            "| design | area | of it weight storage | as SRAM | period, ns | over fixed 1:2 | "
            f"as SRAM |\n|---|---|---|---|---|---|---|\n{rows}")


def _whole(netlists: Report) -> dict[tuple[str, str], Any]:
    return {(r["design"], r["pattern"]): r for r in netlists["records"]
            if r["what"] == "energy" and r["of"].startswith("all")}


def _energy(report: Report, netlists: Report) -> str:
    whole = _whole(netlists)
    flexible = {pattern: whole["default", pattern] for pattern in _PATTERNS}
    rows = []
    for design in dict.fromkeys(design for design, _ in whole):
        cells = []
        for pattern in _PATTERNS:
            r = whole[design, pattern]
            ratio = r["energy_per_mac_pj"] / flexible[pattern]["energy_per_mac_pj"]
            cells.append(f"{r['energy_per_mac_pj']:.2f} ({ratio:.2f})")
        r = whole[design, "2:8"]
        passes = "" if r["passes"] == 1 else f", {r['passes']} passes"
        rows.append(f"| {design} | {' | '.join(cells)} | {r['mode']}{passes} | "
                    f"{r['energy_pj'] / 1000:.1f} | {r['clock_pj'] / 1000:.1f} | "
                    f"{r['default_energy_pj'] / 1000:.1f} |\n")
    workload = flexible["2:8"]["workload"].partition(",")[0]
    return (f"## Energy of the macros\n\nOf {workload}, pruned and quantized, from toggles counted "
            "in the netlists; pJ per multiplication of the dense layer, skipped ones counted as "
            "done, and in brackets over the flexible macro. The last columns are at 2:8, nJ per "
            "cycle; \"default\": 0.1 toggles per net and cycle. Memories are not counted: both "
            "macros read the same activations.\n\n"
            "| design | 75 % pruned | 50 % | none | mode at 75 % | nJ per cycle | of it clock pins "
            f"| default |\n|---|---|---|---|---|---|---|---|\n{''.join(rows)}")


def _analog(monarch: Report) -> str:
    rows = "".join(
        f"| {r['figure']} | {r['model']} | {r['mapping']} | {r['adcs'] or ''} | "
        f"{r['normalization'] or ''} | {r['paper']:.3g} | {r['ours']:.3g} | {r['assumptions']} |\n"
        for r in monarch["records"] if r["paper"] is not None)
    return ("## The analog paper's figures\n\narXiv 2510.11192; all of ours in monarch.md.\n\n"
            "| figure | model | mapping | converters | normalization | paper | ours | "
            "assumptions |\n"
            f"|---|---|---|---|---|---|---|---|\n{rows}")


def silicon_charts(report: Report, netlists: Report, folder: Path) -> None:
    """Draw areas by block, and energies at three sparsities."""
    macros = _macros(netlists)
    names = [name for name in macros if "=" not in name or name.split("=")[0] in
             ("select", "index_share", "max_m")]

    def areas(axes: Any) -> None:
        left = [0.0] * len(names)
        for block in _BLOCKS:
            sizes = [macros[name]["blocks"][block] for name in names]
            values = [s["count"] * s["own_area"] / 1e6 for s in sizes]
            axes.barh(names, values, left=left, label=block)
            left = [a + b for a, b in zip(left, values, strict=True)]
        axes.invert_yaxis()
        axes.set_xlabel("area, mm2 (180 nm cells, no wires)")
        axes.legend(fontsize=8)

    save_figure(folder / "silicon-area.svg", areas, (8, 4.5))
    whole = _whole(netlists)
    shown = list(dict.fromkeys(design for design, _ in whole))

    def energies(axes: Any) -> None:
        for i, (pattern, label) in enumerate(zip(_PATTERNS, ("75 % pruned", "50 %", "none"),
                                                 strict=True)):
            at = [n + 0.27 * (i - 1) for n in range(len(shown))]
            axes.bar(at, [whole[name, pattern]["energy_per_mac_pj"] for name in shown], 0.25,
                     label=label)
        axes.set_xticks(range(len(shown)), shown, rotation=30, ha="right")
        axes.set_ylabel("pJ per multiplication of the dense layer")
        axes.legend()

    save_figure(folder / "silicon-energy.svg", energies, (8, 4.5))
