"""The page of a sweep, made from nothing but its JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from cimforge.report.pareto import pareto
from cimforge.report.tables import table_lines

__all__ = ["sweep_page"]

Records = list[dict[str, Any]]
_ABOUT = """
Layers run one after the other on one tile, from their shapes: cycles are what the compiler predicts
for weights as full as their pattern allows. Area, clock and energy are those of the macro in 180 nm
cells, in closed form (docs/silicon.md), without activation buffer and accumulators; cells are those
of one bank.
`transferred`: the levels of a small model's plan, by role and depth of the layers; no score."""
_EQUAL = "`+n`: as many further designs that are equal in all of these; `sweep.json` has them."
_SCORES = ("Scores are those of the accuracy table for this very plan, in INT8, without "
           "retraining; they hold where a cell selects by itself (`line`, `index_share: 1`).")


def sweep_page(report: dict[str, Any], pictures: Mapping[str, str]) -> str:
    """Return the Markdown page of a report as ``cimforge sweep`` writes it.

    Parameters
    ----------
    report : dict
        ``sweep.json``.
    pictures : mapping of str to str
        Files in ``img`` by model.
    """
    records = report["records"]
    designs = len({record["config"] for record in records})
    lines = [f"# Sweep {report['sweep']}", "",
             f"Made by `{report['command']}` from `sweep.json`, commit {report['commit']}.", "",
             f"{designs} designs, {len(records)} points, {len(report['skipped'])} skipped.",
             _ABOUT, "", *_axes(report), "", *_quantities(report), ""]
    for model in dict.fromkeys(record["model"] for record in records):
        lines += _model(report, [r for r in records if r["model"] == model], pictures.get(model))
    return "\n".join([*lines, *_skipped(report["skipped"])])


def _axes(report: dict[str, Any]) -> list[str]:
    base = report["base"]
    return table_lines(("axis", "values", "base"), (
        (f"`{name}`", ", ".join(map(str, values)), str(base[name]))
        for name, values in report["axes"].items()))


def _quantities(report: dict[str, Any]) -> list[str]:
    return table_lines(("quantity", "unit", "what"), (
        (f"`{name}`", about["unit"], about["what"])
        for name, about in report["quantities"].items()))


def _model(report: dict[str, Any], records: Records, picture: str | None) -> list[str]:
    """Return the section of one model: picture, fronts by plan, and scores where there are any."""
    model = records[0]["model"]
    lines = [f"## {model}", ""]
    if picture:
        lines += [f"![Designs of {model} and the Pareto front of every plan](img/{picture})", ""]
    keys = report["fronts"][0]
    for tokens in dict.fromkeys(record["tokens"] for record in records):
        mine = [record for record in records if record["tokens"] == tokens]
        lines += [f"### {tokens} token{'s' * (tokens > 1)}: {' against '.join(keys)}", "", _EQUAL,
                  ""]
        fronts = [pareto([r for r in mine if r["plan"] == plan], keys)
                  for plan in dict.fromkeys(r["plan"] for r in mine)]
        lines += [*_front([r for front in fronts for r in front], report, keys), ""]
        if any(record["score"] is not None for record in mine):
            larger = ["score"] if any(r["higher_is_better"] for r in mine) else []
            metric = next(r["metric"] for r in mine if r["metric"])
            lines += [f"### {tokens} token{'s' * (tokens > 1)}: the same and {metric}", "", _SCORES,
                      "", *_front(pareto(mine, [*keys, "score"], larger), report,
                                  [*keys, "score"]), ""]
    return lines


def _front(front: Records, report: dict[str, Any], keys: Sequence[str]) -> list[str]:
    """Return the table of a front, records that are equal in the keys in one line."""
    axes, shown = list(report["axes"]), list(keys)
    shown += [key for key in report["quantities"] if key not in shown]
    groups: dict[tuple, Records] = {}
    for record in front:
        groups.setdefault((record["plan"], *(record[key] for key in keys)), []).append(record)
    rows = [(_plan(first[0]), f"{first[0]['sparsity']:.1%}",
             *(_number(first[0][key]) for key in shown), *(str(first[0][key]) for key in axes),
             f"+{len(first) - 1}" if len(first) > 1 else "") for first in groups.values()]
    return table_lines(("plan", "pruned", *(key.replace("_", " ") for key in shown),
                   *(f"`{axis}`" for axis in axes), "equal"), rows)


def _plan(record: dict[str, Any]) -> str:
    """Return what the table calls the plan of a record."""
    return f"{record['plan']}{', transferred' * (record['plan_kind'] == 'transferred')}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _skipped(skipped: list[dict[str, str]]) -> list[str]:
    """Return how many combinations were skipped for which reason."""
    if not skipped:
        return []
    reasons: dict[str, list[str]] = {}
    for each in skipped:
        reasons.setdefault(each["reason"], []).append(each["design"])
    return ["## Skipped", "", *table_lines(("reason", "how many", "the first"), (
        (reason, str(len(found)), f"`{found[0]}`") for reason, found in reasons.items())), ""]
