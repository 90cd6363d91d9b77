"""The accuracy table as a page and pictures, made from nothing but its JSON."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from cimforge.accuracy.records import rows
from cimforge.report.accuracy_shared import shared_positions
from cimforge.report.accuracy_why import explanation

__all__ = ["accuracy_page", "accuracy_plots", "verdicts"]

_TITLES = {"flow": "FLOW, published candidates", "flow-line": "FLOW, N:8", "flow-x": "FLOW-X",
           "owl": "OWL-style, N:8", "uniform": "uniform N:8 or best mix"}
_UNIFORM = ("1:2", "2:4", "4:8", "3:8", "1:4", "2:8", "uniform")
_ORDER = (*_UNIFORM, "owl", "flow", "flow-line", "flow-x")
_UPDATED = ("uniform+update", "flow+update", "flow-x+update")

_HOW = """
Masks by Wanda score unless a table says SparseGPT, no retraining; all methods of a seed share the
calibration text. Mean over {seeds} calibration seeds, ± half their range.

Models of the standard library's sources: bits per byte of a span of every held-out file, lower is
better.
all-MiniLM-L6-v2: mean cosine of held-out sentence embeddings to the dense model's, higher is
better. Uniform patterns stand at the sparsity they have; `uniform` is the pattern that hits a
target, or the best mix (on calibration text) of the two N:8 levels next to it by whole layers."""

Records = list[dict[str, Any]]


def _title(method: str) -> str:
    method = method.removesuffix("+update")
    return _TITLES.get(method, f"uniform {method}")


def _higher_is_better(model: str) -> bool:
    return not model.startswith("stdlib-")


def _by_model(records: Records) -> dict[str, Records]:
    found: dict[str, Records] = defaultdict(list)
    for record in records:
        found[record["model"]].append(record)
    return dict(found)


def _scores(records: Iterable[dict[str, Any]], method: str, target: float, key: str) -> list[float]:
    """Return one score per seed, in the order of the seeds."""
    return [r[key] for r in sorted(records, key=lambda r: r["seed"])
            if r["method"] == method and r["target"] == target]


def _cell(scores: list[float]) -> str:
    """Return mean and spread: half the range of the seeds, where there are several."""
    if len(scores) < 2:
        return f"{scores[0]:.4f}" if scores else "-"
    spread = (max(scores) - min(scores)) / 2
    return f"{mean(scores):.4f} ±{spread:.4f}"


def _table(records: Records, key: str, methods: tuple[str, ...] = _ORDER) -> list[str]:
    targets = sorted({r["target"] for r in records} - {0.0})
    lines = ["| method | " + " | ".join(f"{target:.1%}" for target in targets) + " |",
             "|---|" + "---|" * len(targets)]
    for method in methods:
        row = [_cell(_scores(records, method, target, key)) for target in targets]
        if any(cell != "-" for cell in row):
            lines.append(f"| {_title(method)} | " + " | ".join(row) + " |")
    return lines


def verdicts(records: Records, method: str = "flow-x", others: tuple[str, ...] = _ORDER,
             key: str = "score") -> Records:
    """Return, for each model and target, a method beside the best of others.

    Parameters
    ----------
    records : list of dict
        Cells of the table, as `cimforge.accuracy.records.rows` makes them.
    method : str
        Whose verdicts these are.
    others : tuple of str
        What it is compared with; itself does not count.
    key : str
        ``"score"`` or ``"score_int8"``.

    Returns
    -------
    list of dict
        ``model``, ``target``, ``ours`` and ``best`` (means), ``best_method``, ``margin`` (positive
        where the method is better), ``spread`` (the larger of both methods' half ranges over the
        seeds) and ``clear`` (the method is better with every seed).
    """
    found: Records = []
    for model, mine in _by_model(records).items():
        sign = 1 if _higher_is_better(model) else -1
        for target in sorted({r["target"] for r in mine} - {0.0}):
            ours = _scores(mine, method, target, key)
            theirs = {name: scores for name in others if name != method
                      and (scores := _scores(mine, name, target, key))}
            if not ours or not theirs:
                continue
            best = max(theirs, key=lambda name: sign * mean(theirs[name]))
            # With every seed against whatever is best with that seed.
            gaps = [min(sign * (a - b) for b in others) for a, *others in
                    zip(ours, *theirs.values(), strict=False)]
            found.append({
                "model": model, "target": target, "ours": mean(ours), "best_method": best,
                "best": mean(theirs[best]), "margin": sign * (mean(ours) - mean(theirs[best])),
                "spread": max((max(s) - min(s)) / 2 for s in (ours, theirs[best])),
                "seeds": len(ours),
                "clear": min(gaps) > 0})
    return found


def _verdict_table(verdict: Records, title: str) -> list[str]:
    lines = [f"| model | target | {title} | best other | | margin | seeds' spread | every seed |",
             "|---|---|---|---|---|---|---|---|"]
    for row in verdict:
        spread = f"{row['spread']:.4f}" if row["seeds"] > 1 else "-"
        every = ("yes" if row["clear"] else "no") if row["seeds"] > 1 else "-"
        lines.append(
            f"| {row['model']} | {row['target']:.1%} | {row['ours']:.4f} | {row['best']:.4f} | "
            f"{_title(row['best_method'])} | {row['margin']:+.4f} | {spread} | {every} |")
    return lines


def _beyond(records: Records) -> list[str]:
    """Return the line of methods that prune more than was asked for by over a per mille."""
    found = []
    for method in (*_ORDER, *_UPDATED):
        for target in sorted({r["target"] for r in records if r["method"] == method}):
            reached = mean(_scores(records, method, target, "sparsity"))
            if reached > target + 1e-3:
                update = ", SparseGPT" if method.endswith("+update") else ""
                found.append(f"{_title(method)}{update} {reached:.2%} for {target:.1%}")
    if not found:
        return ["Every plan prunes its target, and at most 0.1 percentage points more.", ""]
    line = ("Every plan prunes its target, and at most 0.1 percentage points more, but for these, "
            f"which whole layers force higher: {'; '.join(found)}.")
    return [line, ""]


def _held_out(about: dict[str, Any]) -> list[str]:
    """Return what must be known of the text that a model of the zoo is scored on."""
    spans, whole = about["spans"], about["whole_files"]
    text = (
        f"The text: {spans['size']} characters of every held-out file. {spans['repeated']:.1%} of "
        "its bytes are in files that repeat training files (exact and near duplicates, mostly "
        "tables of character sets); all methods are compared on the same text. Without those, "
        f"dense is {spans['without_repeated']:.4f} instead of {spans['bits_per_byte']:.4f}; on "
        f"the other held-out files, whole, it is {whole['test']:.4f} (gzip {whole['gzip']:.4f}, xz "
        f"{whole['xz']:.4f}).")
    return [text, ""]


def accuracy_page(report: dict[str, Any]) -> str:
    """Return the Markdown page of a report as ``make accuracy`` writes it."""
    records, texts = rows(report["records"]), report.get("held_out", {})
    seeds = len({record["seed"] for record in records})
    made = (f"Made by `{report['command']}` from `accuracy.json`, commit {report['commit']}: "
            f"{len(records)} of {report['cells']} cells measured.")
    lines = ["# Accuracy of N:M selection", "", made, _HOW.format(seeds=seeds), ""]
    for model, mine in _by_model(records).items():
        dense = _scores(mine, "dense", 0.0, "score")
        int8 = _scores(mine, "dense", 0.0, "score_int8")
        lines += [f"## {model}", "", f"Dense {mean(dense):.4f}, in INT8 {mean(int8):.4f}.", "",
                  *(_held_out(texts[model]) if model in texts else []),
                  *_beyond(mine), *_table(mine, "score"), "", "After quantization to INT8:", "",
                  *_table(mine, "score_int8"), "",
                  "With SparseGPT, which updates the weights that stay (first seed):", "",
                  *_table(mine, "score", _UPDATED), "", "The same after quantization to INT8:", "",
                  *_table(mine, "score_int8", _UPDATED), "",
                  f"![{model}](img/accuracy-{model}.svg)", ""]
    lines += ["## FLOW-X against the best of the others", "",
              *_verdict_table(verdicts(records), "FLOW-X"),
              "", "With SparseGPT's update, FLOW-X choosing for it (first seed):", "",
              *_verdict_table(verdicts(records, "flow-x+update", _UPDATED), "FLOW-X"),
              "", "## FLOW against the best uniform pattern or mix", ""]
    for method in ("flow", "flow-line"):
        found = verdicts(records, method, _UNIFORM)
        lines += [*_verdict_table(found, _TITLES[method]), ""]
        lost = sum(row["margin"] < 0 for row in found)
        lines += [f"{_TITLES[method]}: worse than uniform in {lost} of {len(found)}.", ""]
    lines += ["## Why", "", *explanation(records), *shared_positions(records)]
    return "\n".join(lines) + "\n"


def accuracy_plots(report: dict[str, Any], folder: Path) -> list[Path]:
    """Draw the score of every method over sparsity, one SVG per model."""
    from cimforge.report.plots import save_figure

    paths = []
    for model, mine in _by_model(rows(report["records"])).items():
        def draw(axes: Any, mine: Records = mine, model: str = model) -> None:
            for method in ("uniform", "owl", "flow", "flow-line", "flow-x"):
                targets = sorted({r["target"] for r in mine if r["method"] == method})
                scores = [_scores(mine, method, target, "score") for target in targets]
                axes.errorbar(targets, [mean(s) for s in scores],
                              yerr=[[mean(s) - min(s) for s in scores],
                                    [max(s) - mean(s) for s in scores]],
                              marker="o", capsize=3, label=_TITLES[method])
            for pattern in ("1:2", "2:4", "1:4"):
                found = [r for r in mine if r["method"] == pattern]
                if found:
                    axes.plot(found[0]["target"], mean(r["score"] for r in found), "kx")
                    axes.annotate(pattern, (found[0]["target"], mean(r["score"] for r in found)),
                                  textcoords="offset points", xytext=(5, 2))
            axes.set_xlabel("sparsity")
            axes.set_ylabel("cosine to the dense model" if _higher_is_better(model)
                            else "bits per byte")
            axes.set_title(model)
            axes.grid(alpha=0.3)
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1))  # beside: no corner is free
        paths.append(save_figure(folder / f"accuracy-{model}.svg", draw, (8.5, 4.5)))
    return paths
