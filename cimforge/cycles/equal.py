"""Latency at equal accuracy, from the scores of the accuracy table and of the cells between."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from cimforge.cycles.designs import BUFFERS, CLASS_50, CLASS_75, FLEXIBLE, KINDS, totals
from cimforge.cycles.limits import TOKENS
from cimforge.cycles.plans import accuracy_rows, uniform
from cimforge.cycles.records import Record, counted
from cimforge.spec.pattern import NmPattern

__all__ = ["OWN", "equal_records"]

#: Pattern that each fixed macro was made for.
OWN = {"dense": "1:1", "fixed_1_2": "1:2", "fixed_2_4": "2:4", "fixed_4_8": "4:8",
       "fixed_1_4": "1:4", "fixed_2_8": "2:8"}
_SPARSEST = "1:8"
_HOW = ("fewest cycles of a recorded plan (uniform, OWL, FLOW, FLOW-X by sparsity or within "
        "cycles; Wanda masks, INT8, no retraining) whose score is not worse than that of the "
        "fixed macro's own uniform pattern, same calibration seed; geometric mean over seeds; "
        "equal cells, one clock")


def equal_records(*tables: Path) -> list[Record]:
    """Return ``latency_at_equal_accuracy`` against every fixed macro, on every recorded model.

    Parameters
    ----------
    tables : Path
        Files of `accuracy_rows`: the accuracy table, and those with further plans. A plan counts
        only beside a fixed pattern of the same model, weights, texts and seed; seeds of a model
        that further plans do not have yet are left out.

    Raises
    ------
    DataError
        If one of them is no accuracy table.
    """
    from cimforge_sw.shapes import load_shapes

    found = [[row for row in accuracy_rows(table)
              if row["quantized"] and not row["method"].endswith("+update")] for table in tables]
    further = {(row["model"], row["seed"]) for more in found[1:] for row in more}
    partly = {model for model, _ in further}
    rows = [row for table in found for row in table
            if row["model"] not in partly or (row["model"], row["seed"]) in further]
    shapes = {name: load_shapes(name) for name in dict.fromkeys(row["model"] for row in rows)}
    keys = {}
    for row in rows:
        names = (layer.name for layer in shapes[row["model"]].layers)
        row["key"] = f"{row['model']}|{row['plan']}"
        keys[row["key"]] = counted(shapes[row["model"]],
                                   dict(zip(names, row["levels"], strict=True)))
    for name, model in shapes.items():
        for pattern in OWN.values():
            keys[f"{name}|own {pattern}"] = counted(model, uniform(model, pattern))
        keys[f"{name}|own {_SPARSEST}"] = counted(model, uniform(model, _SPARSEST))
    cycles = totals(keys, TOKENS)
    return [record for name in shapes for design in OWN
            for record in _against(design, [r for r in rows if r["model"] == name], cycles)]


def _own(row: Record, pattern: str) -> bool:
    """Return whether a row is the uniform plan of a pattern; dense is recorded as such."""
    return set(row["levels"]) == {NmPattern.parse(pattern)} and row["method"] in (
        "uniform", "dense") and row["pattern_set"] == pattern


def _against(design: str, rows: list[Record], cycles: Mapping) -> Iterator[Record]:
    for tokens in TOKENS:
        for buffer in BUFFERS:
            for kind in KINDS:
                def taken(row: Record, where: tuple = (tokens, FLEXIBLE, buffer, kind)) -> int:
                    return cycles[row["key"], *where]

                pairs = [(own, min(_as_good(rows, own), key=taken))
                         for own in rows if _own(own, OWN[design])]
                found = [cycles[f"{own['model']}|own {OWN[design]}", tokens, design, buffer, kind]
                         / taken(best) for own, best in pairs]
                model = rows[0]["model"]
                most = (cycles[f"{model}|own {OWN[design]}", tokens, design, buffer, kind]
                        / cycles[f"{model}|own {_SPARSEST}", tokens, FLEXIBLE, buffer, kind])
                yield _record(design, pairs, found, tokens=tokens, weights=kind, buffer=buffer,
                              most=most)


def _as_good(rows: list[Record], own: Record) -> list[Record]:
    """Return the rows of the same seed whose score is not worse; ``own`` is one of them.

    The digest of model and texts may have a revision of the method after a point.
    """
    sign = 1 if own["higher_is_better"] else -1

    def about(row: Record) -> tuple[Any, ...]:
        return row["seed"], row["metric"], row["digest"].partition(".")[0]

    return [row for row in rows if about(row) == about(own)
            and sign * row["value"] >= sign * own["value"]]


def _record(design: str, pairs: list[tuple[Record, Record]], found: list[float],
            **more: Any) -> Record:
    own = pairs[0][0]
    plans = [f"{best['method']} {best['pattern_set']} at {best['sparsity']:.3f}"
             for _, best in pairs]
    scores = [best["value"] for _, best in pairs]
    return {"figure": "latency_at_equal_accuracy", "model": own["model"], "design": FLEXIBLE,
            "sparsity": sum(best["sparsity"] for _, best in pairs) / len(pairs), "paper": None,
            "ours": geometric_mean(found), "unit": "ratio",
            "assumptions": f"{_HOW}; {BUFFERS[more['buffer']]}", "against": design, **more,
            "class_75": design in CLASS_75, "class_50": design in CLASS_50, "by_seed": found,
            "seeds": [fixed["seed"] for fixed, _ in pairs], "plans": plans,
            "metric": own["metric"], "scores": scores,
            "fixed_scores": [fixed["value"] for fixed, _ in pairs]}
