"""The page of cycles from shapes, made from nothing but its JSON."""

from pathlib import Path
from typing import Any

from cimforge.report.bars import select
from cimforge.report.plots import save_figure
from cimforge.report.tables import table_lines

__all__ = ["estimate_chart", "estimate_page"]

Records = list[dict[str, Any]]
_ABOUT = """
Linear layers of language models, from their shapes, on the flexible macro (`default`) and on fixed
ones of equal cells at one clock. Cycles are what the compiler predicts, exactly; layers run one
after the other. Nothing here claims accuracy, except where scores are named.

- `streamed`: weights are loaded while the layer runs, once per chunk of tokens that the activation
  buffer holds. `resident`: every tile's weights are in place; activations are still loaded.
- A window, a row of the activation buffer, is as wide as the inputs of a tile in a macro's sparsest
  mode: 1024 inputs for the flexible macro, 256 for 2:4 and 4:8, 512 for 1:4 and 2:8, 128 for dense.
  `equal_rows`: all have 512 rows, so the flexible macro has the largest buffer. `equal_bits`: the
  others have more rows, until their buffers are as large.
- A fixed macro runs layers that do not keep to its pattern in as many passes as they need: the
  kinder of two readings, since a macro that only knows its pattern and dense would need more.
- `transferred`: levels of a FLOW-X plan of a small model, by role of the matrix and relative depth;
  `mix`: two levels by depth. Both come near 70 % and 75 %; each row has its exact sparsity."""
_CAUSES = """
- Activations: a chunk's first block of outputs waits for the port (32 inputs a cycle), whatever is
  pruned. That part is largest for narrow layers and small O.
- Never behind: 4:8 runs as passes of a sparser mode, whose windows are wider, so that a buffer of
  as many bits holds as many tokens. 13,824 inputs (Llama-2-13B) are 13.5 windows of 1:8, so 14 are
  taken. The compiler minimizes streamed cycles; `resident` is the same program without its loads.
- Equal accuracy: plans of the accuracy table, and of FLOW-X within fewer cycles than a fixed macro
  takes with its own pattern (`accuracy_equal.json`, `make accuracy-equal`). Ports and outputs bound
  the narrow layers of these models, so that not even 1:8 everywhere is much faster: column `most`.
  Against `dense` there is none: on stdlib-llama, which was tried, even the pruning that saves 1 to
  2 % of the cycles costs a little of the score.
"""
_RATIO = ("Ratio of cycles to the best fixed macro of the class; above 1 the flexible one is "
          "faster.")
_THREE = ("{tokens} tokens; three ratios: streamed at equal rows / streamed at equal bits / "
          "resident.")
_EQUAL = ("How many times fewer cycles than a fixed macro with its own uniform pattern, at a score "
          "that is not worse (INT8; geometric mean of the seeds for which FLOW-X plans within "
          "cycles are recorded, and the least of them); `most`: with all layers in 1:8, whatever "
          "the score.")


def estimate_page(report: dict[str, Any]) -> str:
    """Return the Markdown page of a report as ``cimforge estimate --table`` writes it."""
    records = report["records"]
    lines = ["# Cycles from shapes", "",
             f"Made by `{report['command']}` from `estimate.json`, commit {report['commit']}.",
             _ABOUT, "", "## Bars", "", *_bars(report["bars"]), "", "Why some are missed:",
             _CAUSES, "## Latency against fixed macros, 16 tokens", "",
             _RATIO, "", *_latency(records, 16), "",
             "![Latency against the best fixed macro of the 50 % class](img/estimate-latency.svg)",
             "",
             "## The same, 128 tokens", "", *_latency(records, 128), "",
             "## Slot use, weighted by parameters", "",
             *_slots(records), "", "## Latency at equal accuracy", "",
             _EQUAL, "",
             *_equal(records), ""]
    return "\n".join(lines)


def _bars(bars: Records) -> list[str]:
    return table_lines(("bar", "wanted", "ours", "where it is least", "met"), (
        (bar["bar"], f"{bar['wanted']:g}", f"{bar['ours']:.3f}", bar["where"],
         "yes" if bar["met"] else "**no**") for bar in bars))


def _latency(records: Records, tokens: int) -> list[str]:
    kinds = [("streamed", "equal_rows"), ("streamed", "equal_bits"), ("resident", "equal_bits")]
    figures = ("latency_vs_best_fixed", "latency_vs_best_75_class", "latency_vs_dense")
    mine = select(records, tokens=tokens)
    rows = []
    for base in select(mine, figure=figures[0], weights="streamed", buffer="equal_rows"):
        cells = [select(mine, figure=figure, model=base["model"], plan=base["plan"],
                        weights=kind, buffer=buffer)[0]["ours"]
                 for figure in figures for kind, buffer in kinds]
        groups = [" / ".join(f"{value:.2f}" for value in cells[i:i + 3]) for i in (0, 3, 6)]
        rows.append((base["model"], base["plan"], f"{base['sparsity']:.1%}", *groups))
    head = ("model", "plan", "pruned", "against the 50 % class", "the 75 % class", "dense")
    return [_THREE.format(tokens=tokens), "", *table_lines(head, rows)]


def _slots(records: Records) -> list[str]:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    return table_lines(("model", "plan", "tokens", "all layers", "K >= 4096", "best G"), (
        (r["model"], r["plan"], str(r["tokens"]), share(r["ours"]), share(r["inputs_from_4096"]),
         share(r["best_group"])) for r in select(records, figure="slot_use", tokens=16)))


def _equal(records: Records) -> list[str]:
    rows = select(records, figure="latency_at_equal_accuracy", tokens=128)
    head = ("model", "against", "tokens", "weights", "buffers", "ratio", "least seed", "seeds",
            "most", "plan, first seed")
    return table_lines(head, (
        (r["model"], r["against"], str(r["tokens"]), r["weights"], r["buffer"],
         f"{r['ours']:.3f}", f"{min(r['by_seed']):.3f}",
         str(len(r["seeds"])), f"{r['most']:.2f}", r["plans"][0])
        for r in rows))


def estimate_chart(report: dict[str, Any], path: Path) -> Path:
    """Draw latency against the best fixed macro of the 50 % class over sparsity, 16 tokens."""
    mine = [r for r in select(report["records"], figure="latency_vs_best_fixed", tokens=16,
                              weights="resident", buffer="equal_bits")
            if r["plan"].startswith(("uniform", "mix 4:8"))]

    def draw(axes: Any) -> None:
        for model in dict.fromkeys(r["model"] for r in mine):
            points = sorted((1 / (1 - r["sparsity"]), r["ours"]) for r in mine
                            if r["model"] == model)
            axes.plot(*zip(*points, strict=True), "o-", label=model, markersize=4, alpha=0.7)
        axes.plot([2, 8], [1, 4], "k--", linewidth=0.8, label="limit")
        axes.set_xticks([2, 4, 8], ["2 (50 %)", "4 (75 %)", "8 (87.5 %)"])
        axes.set_xlabel("weights per kept weight (pruned), uniform N:8 or a mix of 4:8 and 2:8")
        axes.set_ylabel("fewer cycles than the best of the 50 % class, resident")
        axes.set_ylim(bottom=0.9)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)

    return save_figure(path, draw)
