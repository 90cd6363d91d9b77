"""The figures of ``reports/monarch.json``, each beside the paper's where there is one."""

from collections.abc import Callable, Iterator
from typing import Any

from cimforge.monarch.study import NAMES, PAPER_POINT, SETTINGS, Study
from cimforge_sw.analog.factors import Matrix
from cimforge_sw.analog.latency import NORMALIZATIONS
from cimforge_sw.analog.models import WORKLOADS, Workload, workload
from cimforge_sw.analog.tech import technology_names

__all__ = ["EXAMPLE", "bars", "example_records", "model_records"]

Record = dict[str, Any]

EXAMPLE = "example"
#: (figure, mapping): what arXiv 2510.11192 reports, over its three models.
PAPER = {("arrays_vs_linear", "dense"): 0.87, ("arrays_vs_sparse", "dense"): 0.73,
         ("utilization", "dense"): 0.788, ("flops_vs_dense", "monarch"): 5.7,
         ("latency_vs_linear", "sparse"): 1.59, ("latency_vs_linear", "dense"): 1.73,
         ("energy_vs_linear", "dense"): 1.74}
_SOURCE = {"arrays_vs_linear": "figure 6", "arrays_vs_sparse": "figure 6",
           "utilization": "figure 6", "flops_vs_dense": "figure 2b, BERT-large",
           "latency_vs_linear": "figure 7", "energy_vs_linear": "figure 7"}
_BLOCKS = {"padded": "FFN padded to 4096 x 4096, b = 64; attention b = 32",
           "example": "eight 1024 x 1024 matrices, b = 32, each diagonal in an array of its own",
           "trimmed": "FFN as rectangles, k = j = 64, no padding; attention b = 32"}
_RULES = {"paper": "8, 5, 3 bits for linear, sparse, dense, and 5 for scatter",
          "paper_rows8": "8, 5, 3 bits, dense and scatter 3 bits with 8 rows at a time",
          "lossless": "as many bits as lose nothing"}
_LATENCIES = {"interval": "cycles per token, stages pipelined over tokens",
              "serial": "cycles of one token by itself"}


def _record(figure: str, model: str, mapping: str, ours: float, unit: str, assumptions: str,
            compared: bool = True, **more: Any) -> Record:
    paper = PAPER.get((figure, mapping)) if compared else None
    source = None if paper is None else f"arXiv 2510.11192, {_SOURCE[figure]}"
    return {"figure": figure, "model": model, "mapping": mapping,
            **{key: more.pop(key, None) for key in ("adcs", "normalization")}, "paper": paper,
            "paper_source": source, "ours": ours, "unit": unit, "assumptions": assumptions, **more}


def model_records(name: str, studies: dict[Any, Study],
                  progress: Callable[[int], None]) -> list[Record]:
    """Return all records of a model.

    Parameters
    ----------
    name : str
        One of `WORKLOADS`.
    studies : dict
        Of the matrices seen so far; models of the same shapes share theirs.
    progress : callable
        Called with 1 and 2 as the model with padding, then without is done.
    """
    found: list[Record] = []
    for done, blocks in enumerate(("padded", "trimmed"), start=1):
        load = workload(name, blocks == "padded")
        study = studies.setdefault(load.matrices, Study(load.matrices))
        found += _sizes(load, study, blocks)
        found += _latencies(name, study, blocks)
        found += _energies(name, study, blocks)
        progress(done)
    return found


def example_records() -> list[Record]:
    """Return the latencies of the paper's example, n = 1024 and b = 32, eight of them resident."""
    squares = [Matrix(str(n), 1024, 1024, 32, 32) for n in range(8)]
    return list(_latencies(EXAMPLE, Study(squares), "example"))


def _sizes(load: Workload, study: Study, blocks: str) -> Iterator[Record]:
    text = _BLOCKS[blocks]
    arrays = {name: work.mapping.arrays for name, work in study.work.items()}
    yield _record("flops_vs_dense", load.name, "monarch", load.flops_ratio, "ratio",
                  f"{text}; QK^T and AV dense in both, {load.tokens} tokens, no causal mask",
                  compared=blocks == "padded" and load.name == "BERT-large", blocks=blocks)
    for name, work in study.work.items():
        yield _record("arrays", load.name, name, arrays[name], "arrays of 256 x 256", text,
                      blocks=blocks)
        for what in ("utilization", "useful"):
            yield _record(what, load.name, name, getattr(work.mapping, what), "fraction",
                          f"{text}; " + {"utilization": "cells inside blocks, padding included",
                                         "useful": "cells that meet a nonzero input and reach a "
                                         "kept output"}[what], blocks=blocks)
    for base in ("linear", "sparse"):
        for name in ("sparse", "dense", "dense_shared", "scatter")[base == "sparse":]:
            yield _record(f"arrays_vs_{base}", load.name, name, 1 - arrays[name] / arrays[base],
                          "fraction saved", text, blocks=blocks)
    for name, work in study.work.items():
        for rule in _RULES:
            yield _record("saturated", load.name, name, study.saturation(work, rule),
                          "fraction of conversions", f"{text}; {_RULES[rule]}; expected for "
                          "independent fair bits", blocks=blocks, rule=rule)


def _latencies(model: str, study: Study, blocks: str) -> Iterator[Record]:
    """Yield latencies; the sweep has the interval only, with padding the paper's bits only."""
    for setting in SETTINGS:
        for rule in (_RULES if setting == PAPER_POINT else ("paper", "lossless")
                     if blocks == "trimmed" else ("paper",)):
            for normalization in NORMALIZATIONS:
                work = dict(study.work)
                if rule != "paper_rows8":
                    work["hybrid"] = (
                        study.hybrid("interval", setting, rule) if normalization == "per_array"
                        else study.hybrid_at_equal_adcs(setting, rule))
                cycles = {name: study.latency(mine, setting, rule, normalization)
                          for name, mine in work.items()}
                for name in list(cycles)[1:]:
                    for kind, meaning in _LATENCIES.items():
                        if kind == "serial" and setting != PAPER_POINT:
                            continue
                        yield _latency_record(
                            model, name, getattr(cycles["linear"], kind),
                            getattr(cycles[name], kind), f"{_BLOCKS[blocks]}; {meaning}; "
                            f"{_RULES[rule]}; {_text(name)}", setting, normalization=normalization,
                            blocks=blocks, rule=rule, latency=kind)


def _latency_record(model: str, mapping: str, linear: int, cycles: int, text: str,
                    setting: tuple[int, int], **more: str) -> Record:
    compared = (setting == PAPER_POINT and more["rule"] == "paper"
                and more["latency"] == "interval" and more["normalization"] == "per_array")
    return _record("latency_vs_linear", model, mapping, linear / cycles, "ratio", text, compared,
                   adcs=setting[0], t_settle=setting[1], cycles=cycles, linear_cycles=linear,
                   **more)


def _energies(model: str, study: Study, blocks: str) -> Iterator[Record]:
    for technology in technology_names():
        for rule in ("paper", "lossless"):
            work = study.work
            if blocks == "trimmed":
                work = {**work, "hybrid": study.hybrid("energy", PAPER_POINT, rule, technology)}
            taken = {name: study.energy(mine, rule, technology) for name, mine in work.items()}
            for name in list(taken)[1:]:
                yield _record(
                    "energy_vs_linear", model, name, taken["linear"] / taken[name], "ratio",
                    f"{_BLOCKS[blocks]}; {_RULES[rule]}; table {technology}; dynamic energy of the "
                    f"arrays and the tile's memories, half of the input bits set; {_text(name)}",
                    compared=blocks == "padded" and rule == "paper", blocks=blocks, rule=rule,
                    technology=technology, uj_per_token=taken[name] / 1e9)


def _text(mapping: str) -> str:
    return {"sparse": "as in the paper", "dense": "diagonals of Q, K, V in arrays of their own",
            "dense_shared": "diagonals of Q, K, V side by side, driven together",
            "scatter": "on as few arrays as hold all weights",
            "hybrid": "on as many arrays as dense"}[mapping]


def _worst(records: list[Record], figure: str, mappings: tuple[str, ...], **where: Any) -> float:
    """Return, of the mappings, the best one's figure for the model where that is least."""
    def best(model: str) -> float:
        return max(record["ours"] for record in records
                   if record["figure"] == figure and record["model"] == model
                   and record["mapping"] in mappings
                   and all(record.get(key) == value for key, value in where.items()))
    return min(best(model) for model in WORKLOADS)


def bars(records: list[Record]) -> list[Record]:
    """Return every bar, what is reached in the worst model, and whether that is enough."""
    point = {"adcs": PAPER_POINT[0], "t_settle": PAPER_POINT[1], "blocks": "trimmed",
             "latency": "interval"}
    ours = ("dense", "dense_shared", "scatter", "hybrid")
    found = [
        ("arrays vs linear, dense, padded", 0.89,
         _worst(records, "arrays_vs_linear", ("dense",), blocks="padded")),
        ("arrays vs sparse, dense, padded", 0.79,
         _worst(records, "arrays_vs_sparse", ("dense",), blocks="padded")),
        ("useful utilization, dense, trimmed", 0.95,
         _worst(records, "useful", ("dense",), blocks="trimmed"))]
    for rule in ("paper", "lossless"):
        found += [(f"latency vs linear, best mapping, {rule} bits, {normalization}", 2.0,
                   _worst(records, "latency_vs_linear", ours, rule=rule,
                          normalization=normalization, **point))
                  for normalization in NORMALIZATIONS]
        found += [(f"energy vs linear, dense, padded, {rule} bits, {technology}", 2.0,
                   _worst(records, "energy_vs_linear", ("dense",), rule=rule, blocks="padded",
                          technology=technology)) for technology in technology_names()]
    checked = [{"bar": bar, "wanted": wanted, "ours": value, "met": value >= wanted}
               for bar, wanted, value in found]
    flops = next(r["ours"] for r in records if r["figure"] == "flops_vs_dense" and r["paper"])
    checked.append({"bar": "FLOPs, BERT-large, padded", "wanted": 5.78, "ours": flops,
                    "met": round(flops, 2) == 5.78})
    return [*checked, *_sweep_bars(records)]


def _sweep_bars(records: list[Record]) -> list[Record]:
    """Return the bars of the sweep: who is first where, and by how much the hybrid leads."""
    keys = ("model", "mapping", "adcs", "blocks", "rule", "normalization", "latency")
    sweep = {tuple(r[key] for key in keys): r["ours"] for r in records
             if r["figure"] == "latency_vs_linear" and r.get("t_settle") == 4}

    def lead(first: str, second: str, adcs: int) -> float:
        where = adcs, "padded", "paper", "per_array", "interval"
        return min(sweep[model, first, *where] / sweep[model, second, *where]
                   for model in WORKLOADS)

    others = [name for name in NAMES if name != "linear"]
    least = min(value / max(sweep[key[0], name, *key[2:]] for name in others)
                for key, value in sweep.items() if key[1] == "hybrid" and key[0] in WORKLOADS)
    rows = (("sweep: dense over sparse at 4 converters, padded", lead("dense", "sparse", 4)),
            ("sweep: sparse over dense at 32 converters, padded", lead("sparse", "dense", 32)),
            ("sweep: hybrid over the best other, everywhere", least))
    return [{"bar": bar, "wanted": 1.0, "ours": ours, "met": ours >= 1 - 1e-9}
            for bar, ours in rows]
