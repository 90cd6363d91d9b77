"""What D2S costs a real model: errors of its layers and its score, before and after recovery.

Run as ``python -m cimforge.bench_monarch``; minutes per rule.
"""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import cimforge as cf
from cimforge.report.records import write_records
from cimforge.spec.files import check_writable, write_atomic

if TYPE_CHECKING:
    from cimforge_sw.models import Model
    from cimforge_sw.monarch.fidelity import LayerFidelity

__all__ = ["MODEL", "RULES", "measure_rule", "monarch_page", "run_bench_monarch"]

MODEL = "all-MiniLM-L6-v2"
#: The paper's padding, rectangles of three ranks, and a low-rank product as large as the second.
RULES = ("square", "12x12", "12x12 r4", "12x12 r8", "1x1 r48")
_COMMAND = "python -m cimforge.bench_monarch"
_ERRORS = ("weight_error", "output_error", "weight_error_recovered", "output_error_recovered")

_HEAD = """# Fidelity of D2S

{model}, all {layers} linear layers of its blocks as Monarch factors, no retraining; made by
`{command}`. Calibration and held-out text are the two halves of the sentences
that ship with the package. Weight error is `|W - M| / |W|`, output error the same of the outputs on
the calibration text, mean over layers; the cosine is that of held-out sentence embeddings to the
dense model's, mean over sentences. `a → b`: projection → after layer-wise recovery, which takes the
seconds of one processor in the last column. Rules and formulas: [monarch.md](../docs/monarch.md).
"""


def measure_rule(model: "Model", rule: str, texts: Sequence[str], held_out: Sequence[str],
                 progress: Callable[[int, int], None] | None = None) -> list[dict[str, Any]]:
    """Convert a model by one rule with and without recovery; return the records.

    Parameters
    ----------
    model : Model
        An encoder: its score is `cosine_to` the dense model.
    rule : str
        As `MonarchPlan` takes it.
    texts, held_out : sequence of str
        Calibration, and what the score is measured on.
    progress : callable(done, total), optional
        Called after each layer of the recovery.

    Returns
    -------
    list of dict
        One per layer: ``rule``, ``layer``, ``outputs``, ``inputs``, ``blocks``, counts of `Cost`,
        and the errors; then one with ``layer: "*"``: the counts, mean errors, ``compression``,
        ``speedup``, ``cosine``, ``cosine_recovered`` and the processor's ``seconds`` of recovery.
    """
    plan = cf.MonarchPlan.uniform(rule)
    start = time.process_time()
    recovered = cf.d2s_with_recovery(model, plan, texts, progress=progress)
    seconds = time.process_time() - start
    records = [{"rule": rule, "layer": layer.name, "outputs": layer.outputs,
                "inputs": layer.inputs, "blocks": layer.blocks, **asdict(layer.cost),
                **_errors(layer)} for layer in recovered.layers.values()]
    cost = recovered.cost
    return [*records, {
        "rule": rule, "layer": "*", **asdict(cost),
        **{key: mean(record[key] for record in records) for key in _ERRORS},
        "compression": cost.compression, "speedup": cost.speedup,
        "cosine": cf.cosine_to(model, cf.d2s(model, plan).model, held_out),
        "cosine_recovered": cf.cosine_to(model, recovered.model, held_out),
        "seconds": round(seconds, 1)}]


def _errors(layer: "LayerFidelity") -> dict[str, float | None]:
    before, after = layer.projected, layer.errors
    return dict(zip(_ERRORS, (before.weight, before.output, after.weight, after.output),
                    strict=True))


def run_bench_monarch(out: Path, source: str = MODEL, rules: Sequence[str] = RULES) -> str:
    """Measure all rules into ``monarch_fidelity.json`` and ``.md``; return the page.

    Parameters
    ----------
    out : Path
        Folder of the report.
    source : str
        What ``load_model`` takes.
    rules : sequence of str
    """
    from cimforge.report.progress import progress
    from cimforge_sw.sentences import calibration_sentences, held_out_sentences

    check_writable(out)
    texts, held_out = calibration_sentences(), held_out_sentences()
    records: list[dict[str, Any]] = []
    with progress() as bars:
        model = cf.load_model(source)
        for rule in rules:
            with bars.task(f"d2s {rule}", None) as bar:
                records += measure_rule(model, rule, texts, held_out, bar.of)
    report = write_records(out / "monarch_fidelity.json", _COMMAND, records, model=source,
                           texts=len(texts), held_out=len(held_out))
    page = monarch_page(report)
    write_atomic(out / "monarch_fidelity.md", page.encode())
    return page


def monarch_page(report: dict[str, Any]) -> str:
    """Return the page of a report: a line per rule, then a table of layers for each."""
    rules: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in report["records"]:
        rules[record["rule"]].append(record)
    lines = ["| rule | parameters | FLOPs | weight error | output error | cosine | recovery |",
             "|---|---|---|---|---|---|---|"]
    for rule, (*_, total) in rules.items():
        lines.append(f"| {rule} | {total['compression']:.2f}x fewer | {total['speedup']:.2f}x fewer"
                     f" | {_pair(total, 'weight_error')} | {_pair(total, 'output_error')} | "
                     f"{_pair(total, 'cosine')} | {total['seconds']:.0f} s |")
    for rule, (*layers, _) in rules.items():
        lines += ["", f"## {rule}", "", "| layers | O x K | weight error | output error |",
                  "|---|---|---|---|"]
        kinds: dict[tuple[str, int, int], list[dict[str, Any]]] = defaultdict(list)
        for layer in layers:
            kind = re.sub(r"(^|\.)\d+(?=\.)", r"\1*", layer["layer"])
            kinds[kind, layer["outputs"], layer["inputs"]].append(layer)
        for (kind, outputs, inputs), members in kinds.items():
            means = {key: mean(member[key] for member in members) for key in _ERRORS}
            lines.append(f"| `{kind}` | {outputs} x {inputs} | {_pair(means, 'weight_error')} | "
                         f"{_pair(means, 'output_error')} |")
    count = len(next(iter(rules.values()))) - 1
    head = _HEAD.format(model=report["model"], layers=count, command=report["command"])
    return "\n".join([head, *lines, ""])


def _pair(record: dict[str, Any], key: str) -> str:
    return f"{record[key]:.3f} → {record[f'{key}_recovered']:.3f}"


if __name__ == "__main__":
    print(run_bench_monarch(Path("reports")), end="")
