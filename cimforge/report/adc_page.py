"""Score against ADC resolution as a page and pictures, made from nothing but its JSON."""

from pathlib import Path
from typing import Any

from cimforge.report.plots import save_figure

__all__ = ["adc_page", "adc_plots", "least_bits"]

Records = list[dict[str, Any]]

_HOW = """
Linear layers in INT8, inputs a bit at a time and weights in eight planes of one-bit cells, on
arrays of {array} x {array}; embeddings, norms, attention products and heads in float32. Texts are
those of [accuracy.md](accuracy.md), calibration seed 0, one in {every} of the held-out ones.

- `clip`: a converter of A bits reads 0 to 2^A - 1 cells; larger sums are clamped.
- `shift`: full scale is that of the lossless converter, and the low bits that are too many are
  dropped, rounded half up.
- Columns that need fewer than A bits get what they need, so that they lose nothing.
- `linear`: all rows of an array at once; more inputs than {array} are cut, and their parts added
  after conversion.
- `monarch`: all rows of a block of R or L at once. A column meets the cells of its own block alone,
  so that every mapping of the blocks (sparse, dense, scatter, hybrid) gives these same integers.

A step of a column sum counts up to 2^14 in the product (the sign bit's pulse, the topmost plane),
so that one dropped bit can outweigh a whole product, while a clamp costs nothing until sums reach
it. No model was trained to bear coarse converters, and dither was not tried. A conversion takes A
cycles.
"""
_TOLERANCE = 0.01  # of the lossless score


def _by_model(records: Records) -> dict[str, dict[tuple[str, int], dict[str, Any]]]:
    found: dict[str, dict[tuple[str, int], dict[str, Any]]] = {}
    for record in records:
        found.setdefault(record["model"], {})[record["rule"], record["adc_bits"]] = record
    return found


def least_bits(mine: dict[tuple[str, int], dict[str, Any]], rule: str,
               tolerance: float = _TOLERANCE) -> int | None:
    """Return the fewest bits from which on a rule stays near the lossless score.

    Parameters
    ----------
    mine : dict of (rule, bits) to record
        Of one model.
    rule : str
    tolerance : float
        Share of the lossless score that may be lost.

    Returns
    -------
    int or None
        None where not even the most bits are enough.
    """
    lossless, best = mine["lossless", 0], None
    sign = 1 if lossless["higher_is_better"] else -1
    for (name, bits), record in sorted(mine.items(), reverse=True):
        if name != rule:
            continue
        if sign * (lossless["value"] - record["value"]) > tolerance * lossless["value"]:
            break
        best = bits
    return best


def _model_lines(model: str, mine: dict[tuple[str, int], dict[str, Any]]) -> list[str]:
    first = mine["lossless", 0]
    better = "higher" if first["higher_is_better"] else "lower"
    what = "mean cosine to the float embeddings" if first["metric"] == "cosine" else (
        "bits per byte")
    about = (f"{what[0].upper()}{what[1:]} of {first['texts']} held-out texts, {better} is better. "
             f"Columns need up to {first['lossless_bits']} bits.")
    lines = [f"## {model}, {first['mapping']}", "", about, "",
             "| ADC bits | clip | shift |", "|---|---|---|",
             f"| float weights | {mine['float', 0]['value']:.4f} | |",
             f"| INT8, lossless | {first['value']:.4f} | |"]
    for bits in sorted({bits for _, bits in mine if bits}, reverse=True):
        row = [mine.get((rule, bits)) for rule in ("clip", "shift")]
        lines.append(f"| {bits} | " + " | ".join(
            "-" if record is None else f"{record['value']:.4f}" for record in row) + " |")
    enough = {rule: least_bits(mine, rule) for rule in ("clip", "shift")}
    told = ", ".join(f"`{rule}` from {bits} bits on" if bits else f"`{rule}` with none of these"
                     for rule, bits in enough.items())
    return [*lines, "", f"Within {_TOLERANCE:.0%} of the lossless score: {told}.", "",
            f"![{model}](img/adc-{model}.svg)", ""]


def _tuning_lines(tuned: dict[str, Any]) -> list[str]:
    about = (f"`{tuned['model']}`: the linear layers of the dense model's blocks as "
             f"`{tuned['rule']}` ({tuned['compression']:.1f} times fewer weights in them), then "
             f"{tuned['steps']} steps on training files, all parameters. Bits per byte of "
             "whole held-out files that repeat no training file (the spans above may):")
    return ["## Fine-tuning after D2S", "", about, "",
            "| dense | after D2S | after recovery | fine-tuned |", "|---|---|---|---|",
            "| " + " | ".join(f"{tuned[key]:.4f}" for key in (
                "dense", "d2s", "recovered", "fine_tuned")) + " |", ""]


def adc_page(report: dict[str, Any]) -> str:
    """Return the Markdown page of a report as ``make adc`` writes it."""
    records = report["records"]
    made = (f"Made by `{report['command']}` from `adc.json`, commit {report['commit']}: "
            f"{len(records)} of {report['cells']} cells measured.")
    how = _HOW.format(array=report["array"], every=report["every"])
    lines = ["# Score against ADC resolution", "", made, how]
    for model, mine in _by_model(records).items():
        lines += _model_lines(model, mine)
    return "\n".join([*lines, *_tuning_lines(report["fine_tuning"])])


def adc_plots(report: dict[str, Any], folder: Path) -> list[Path]:
    """Draw both rules over the bits, the lossless score beside them: one SVG per model."""
    paths = []
    for model, mine in _by_model(report["records"]).items():
        def draw(axes: Any, model: str = model,
                 mine: dict[tuple[str, int], dict[str, Any]] = mine) -> None:
            first = mine["lossless", 0]
            for rule, marker in (("clip", "o-"), ("shift", "s-")):
                points = sorted((bits, record["value"]) for (name, bits), record in mine.items()
                                if name == rule)
                axes.plot(*zip(*points, strict=True), marker, label=rule)
            axes.axhline(first["value"], color="0.3", linestyle="--", linewidth=1,
                         label=f"lossless ({first['lossless_bits']} bits)")
            axes.set_ylabel("cosine to the float embeddings, higher is better"
                            if first["higher_is_better"] else "bits per byte, lower is better")
            axes.set_xlabel("ADC bits")
            axes.set_title(f"{model}, {first['mapping']}")
            axes.grid(alpha=0.3)
            axes.legend()
        paths.append(save_figure(folder / f"adc-{model}.svg", draw, (6, 4)))
    return paths
