"""The demo's report: JSON, and a page of text made from nothing but the JSON."""

from pathlib import Path
from typing import Any

from cimforge.report.records import write_records
from cimforge.spec.files import write_atomic
from cimforge.spec.program import Program

__all__ = ["demo_page", "write_demo_report"]


def write_demo_report(out: Path, program: Program, records: dict[str, dict[str, Any]],
                      accuracy: dict[str, Any], seconds: dict[str, float], model: str) -> Path:
    """Write ``report.json`` and ``report.txt`` into ``out``; return the latter.

    Parameters
    ----------
    out : Path
    program : Program
    records : dict
        One record per layer.
    accuracy : dict
        The record of layer ``"*"``.
    seconds : dict
        Of every stage.
    model : str
        Name of the model.
    """
    report = write_records(
        out / "report.json", "make demo", [*records.values(), accuracy], model=model,
        config=program.config.to_dict(), config_digest=program.config.digest, seconds=seconds)
    path = out / "report.txt"
    write_atomic(path, demo_page(report).encode())
    return path


def demo_page(report: dict[str, Any]) -> str:
    """Return the page of text of a report as :func:`write_demo_report` makes it."""
    layers = [record for record in report["records"] if record["layer"] != "*"]
    score = next(record for record in report["records"] if record["layer"] == "*")
    config = report["config"]
    simulated = [record for record in layers if record["cycles_counted"] is not None]
    lines = [
        f"cimforge demo: {report['model']} on a digital CIM tile",
        (f"tile: {config['sub_macros']} sub-macros of {config['rows']} x {config['cols']}, "
        f"{config['select']} select, M = {config['max_m']}, INT{config['weight_bits']} "
        f"(config {report['config_digest']})"),
        "",
        f"accuracy ({score['metric']}), {score['sparsity']:.1%} of the weights pruned",
        (f"  dense {score['dense']:.4f}   pruned {score['pruned']:.4f}   "
        f"pruned and quantized {score['quantized']:.4f}"),
        "",
        (f"layers: {len(layers)}, {layers[0]['tokens']} tokens each; N:M keeps at most N of every "
        f"M inputs"),
        (f"  {sum(r['bit_exact'] for r in layers)} bit-exact (replay = golden = torch), "
        f"{len(simulated)} of them also on the RTL (cocotb, Verilator)"),
        "",
        *_table(layers),
        "",
        *_totals(layers),
        "",
        "seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in
                                report["seconds"].items()),
    ]
    return "\n".join(lines) + "\n"


def _table(layers: list[dict[str, Any]]) -> list[str]:
    width = max(len(record["layer"]) for record in layers)
    head = (f"{'layer':{width}} {'N:M':>5} {'mode':>8} {'tiles':>5} {'predicted':>9} "
            f"{'counted':>7} {'slots':>6} {'best G':>6} {'busy':>5} {'resid.':>6}")
    rows = [head, "-" * len(head)]
    for r in layers:
        counted = "-" if r["cycles_counted"] is None else str(r["cycles_counted"])
        rows.append(
            f"{r['layer']:{width}} {r['pattern']:>5} {r['mode']:>8} {r['tiles']:>5} "
            f"{r['cycles_predicted']:>9} {counted:>7} {r['slot_use']:>6.1%} "
            f"{r['slot_use_best_group']:>6.1%} {r['busy']:>5.0%} {r['busy_resident']:>6.0%}")
    return rows


def _totals(layers: list[dict[str, Any]]) -> list[str]:
    cycles = sum(record["cycles_predicted"] for record in layers)
    resident = sum(record["cycles_resident"] for record in layers)
    weights = [record["outputs"] * record["inputs"] for record in layers]
    slot_use = sum(w * r["slot_use"] for w, r in zip(weights, layers, strict=True)) / sum(weights)
    return [
        (f"all layers: {cycles} cycles with weights streamed, {resident} with weights resident; "
        f"slot use {slot_use:.1%} (weighted by parameters)"),
        ("predicted: closed form; counted: the RTL's counter; slots: weights kept over slots of "
        "the tiles; best G: the most any grouping would use;"),
        ("busy: share of cycles in which the macro computes, weights streamed; resid.: weights "
        "resident."),
    ]


