"""The page about Monarch factors on ADC-shared arrays, made from nothing but its JSON."""

from collections.abc import Sequence
from statistics import geometric_mean
from typing import Any

from cimforge.report.bars import select
from cimforge.report.tables import table_lines

__all__ = ["monarch_page"]

Records = list[dict[str, Any]]
_POINT = {"adcs": 8, "t_settle": 7}
_MAPPINGS = ("sparse", "dense", "dense_shared", "scatter", "hybrid")

_ABOUT = """
Linear layers of three language models, from their shapes, on arrays of 256 x 256 INT8 weights whose
columns share converters: dense matrices (`linear`), or the factors R and L of a Monarch matrix,
mapped in several ways. The paper is arXiv 2510.11192; what it leaves open is reconstructed so that
its array counts come out. Accuracy is no subject of this page.

- `padded`: as the paper seems to do. Attention matrices are 1024 x 1024 with b = 32; FFN matrices
  are padded to 4096 x 4096 with b = 64. `trimmed`, ours: the same FFN blocks without the rows and
  columns that only padding reaches. GPT-2's fused `c_attn` is split before anything is padded.
- `dense`: packed diagonals, those of Q, K and V in arrays of their own. `dense_shared`, ours: side
  by side, driven together; fewer pulses, but more conversions in one array. `scatter`, ours:
  blocks dealt out to all arrays that hold weights of their shape. `hybrid`: an exact choice for
  each layer, on at most as many arrays as dense takes; for latency the one of least interval per
  array (under `equal_adcs` the best of that and the others that fit), for energy that of least
  energy.
- Bits `paper`: 8 / 5 / 3 for linear / sparse / dense, and 5 for scatter, which the paper does not
  have. `paper_rows8`: 3 bits for dense and scatter, 8 rows at a time. `lossless`: what each column
  needs: 9 for 256 cells, 7 for 64, 6 for 32, 5 for 16.
- `per_array`: every array has the same converters. A mapping that spreads a layer over more arrays
  than linear then converts with more of them, and linear could be spread out as well: look at
  `equal_adcs`, where at most as many convert at once as linear has for the same layer.
- `interval`: cycles per token with R and L pipelined over tokens. `serial`: cycles of one token.
  Q, K and V run at once, other layers one after the other.

Formulas and further assumptions: [docs/monarch-cost.md](../docs/monarch-cost.md)."""

_LATENCY = """At the point that gives the paper's figures, 8 converters per array and t_settle = 7;
ratio of cycles, geometric mean of the models; a dash where nothing was computed: hybrid has no
`paper_rows8`, which is there to show what dense and scatter pay for few clamps.

Hybrid equals scatter in every row, here and in the sweep below, because it scatters every layer:
linear and sparse take more arrays than its budget, and on the arrays that dense takes, all of which
scatter uses too, no other choice has a lesser interval. Its program finds that; it cannot find
better. The two part in `example`, where every diagonal has an array of its own, and in the picture
of 14 arrays below."""

_ENERGY = """
Ratio of energies per token, geometric mean of the models; tables in `cost/tech`. A dash: hybrid was
not computed for `padded`, which is there to be compared with the paper, and the paper has no
hybrid. For `trimmed` it equals dense_shared, which takes the least energy of all that fit its
budget: one drive for Q, K and V. Sparse takes less without loss, on about seven times as many
arrays."""

_SATURATION = """
Three bits hold sums up to 7, so columns of 32 or 64 driven cells are clamped more often than not;
`paper` latency and energy of `dense` are those of a converter that loses that much. With 8 rows at
a time only the sum 8 is clamped, at two to eight times the pulses (`paper_rows8`). Five bits lose
little: more than 31 of 64 cells rarely conduct at once. The table has expected shares of clamped
conversions if all bits are independent fair coins; the golden tile counts real ones."""

_DISTANCES = """
- Arrays: the reconstruction saves more than the paper reports because dense leaves no slot empty;
  at the paper's 78.8 % utilization it would save 86.8 % and 73.6 %.
- Latency: at 8 converters and t_settle = 7 the closed forms of a 1024 x 1024 matrix with one
  diagonal per array (`example`) give 1.575 and 1.730, the paper's 1.59 and 1.73. With FFN blocks of
  64 only four drives follow one another in an array, so dense is faster on whole padded models.
  Counted serially, sparse and dense are slower than linear: the paper must pipeline its stages.
- Trimmed FFN blocks of R have 16 rows, and an array has 16 rows of them: dense takes turns more
  often and is slower than sparse everywhere. Scatter and hybrid do not suffer from it.
- Energy: dynamic energy of arrays, converters and the tile's memories only. The paper's 1.74
  includes parts of its system that do not shrink with the arrays and are not known here."""


def monarch_page(report: dict[str, Any]) -> str:
    """Return the Markdown page of a report as ``make paper-monarch`` writes it."""
    records = report["records"]
    models = [record["model"] for record in select(records, figure="flops_vs_dense",
                                                   blocks="padded")]
    lines = ["# Monarch factors on ADC-shared arrays", "",
             f"Made by `{report['command']}` from `monarch.json`, commit {report['commit']}.",
             _ABOUT, "", "## Bars", "", *_bars(report["bars"]), "", "Where we differ:", _DISTANCES,
             "", "## Beside the paper", "", *_beside(records), "",
             "## Arrays and utilization", "", *_arrays(records, models), "",
             "## Latency against linear", "",
             _LATENCY, "", *_latency(records), "", "## Converters per array", "",
             "t_settle = 4, the paper's bits, cycles per token, geometric mean of the models.", "",
             *_sweep(records), ""]
    lines += [f"![Sweep, {blocks}, {kind}](img/monarch-sweep-{blocks}-{kind}.svg)"
              for blocks in ("padded", "trimmed") for kind in ("per_array", "equal_adcs")]
    lines += ["", "## Saturation", _SATURATION, "", *_saturation(records, models[0]), "",
              "## Energy against linear", "",
              *_ENERGY.split("\n")[1:], "", *_energy(records), "", "## Mappings", "",
              "Q, K, V and O of one layer, n = 1024, b = 32.", ""]
    lines += [f"![{name}](img/monarch-{name}.svg)" for name in ("linear", *_MAPPINGS)]
    lines += ["", "## Programs in time", "",
              "One 256 x 256 matrix, b = 16, on arrays of 64, lossless; with dense and scatter",
              "three other matrices are resident in the same arrays.", ""]
    lines += [f"![{name}](img/monarch-gantt-{name}.svg)"
              for name in ("sparse", "dense", "scatter", "scatter-pipelined")]
    return "\n".join(lines) + "\n"


def _bars(bars: Records) -> list[str]:
    return table_lines(("bar", "wanted", "ours, worst model", "met"), (
        (bar["bar"], f"{bar['wanted']:g}", f"{bar['ours']:.3f}", "yes" if bar["met"] else "**no**")
        for bar in bars))


def _mean(records: Records, **where: Any) -> str:
    """Return the geometric mean over the models."""
    found = [record["ours"] for record in select(records, **where)]
    return f"{geometric_mean(found):.2f}" if found else "-"


def _beside(records: Records) -> list[str]:
    """Return every figure that the paper has, a column per model and one for the example."""
    models = list(dict.fromkeys(record["model"] for record in records))
    keys = ("figure", "mapping", "paper", "paper_source", "technology", "blocks")
    rows: dict[tuple, dict[str, float]] = {}
    for record in records:
        if record["paper"] is not None:
            found = rows.setdefault(tuple(record.get(key) for key in keys), {})
            found[record["model"]] = record["ours"]
    return table_lines(("figure", "mapping", "blocks", "paper", *models), (
        (figure + (f", {technology}" if technology else ""), mapping, blocks,
         f"{paper:g} ({source.removeprefix('arXiv 2510.11192, ')})",
         *(f"{found[model]:.3f}" if model in found else "-" for model in models))
        for (figure, mapping, paper, source, technology, blocks), found in rows.items()))


def _arrays(records: Records, models: Sequence[str]) -> list[str]:
    rows = []
    for blocks in ("padded", "trimmed"):
        for name in ("linear", "sparse", "dense", "dense_shared", "scatter"):
            mine = [select(records, model=model, mapping=name, blocks=blocks) for model in models]

            def one(found: Records, figure: str) -> float:
                return next(r["ours"] for r in found if r["figure"] == figure)

            rows.append((blocks, name, *(
                f"{one(found, 'arrays'):.0f}, {one(found, 'utilization'):.1%}, "
                f"{one(found, 'useful'):.1%}" for found in mine)))
    head = ("blocks", "mapping", *(f"{model}: arrays, raw, useful" for model in models))
    flops = [f"{r['blocks']} {r['model']} {r['ours']:.2f}"
             for r in select(records, figure="flops_vs_dense")]
    return [*table_lines(head, rows), "", "FLOPs, dense over Monarch: " + ", ".join(flops) + "."]


def _latency(records: Records) -> list[str]:
    cases = [(blocks, rule, kind, how) for blocks in ("padded", "trimmed")
             for rule in ("paper", "paper_rows8", "lossless") for kind in ("interval", "serial")
             for how in ("per_array", "equal_adcs")]
    return table_lines(("blocks", "bits", "latency", "converters", *_MAPPINGS), (
        (blocks, rule, kind, how, *(
            _mean(records, figure="latency_vs_linear", mapping=name, blocks=blocks, rule=rule,
                  latency=kind, normalization=how, **_POINT) for name in _MAPPINGS))
        for blocks, rule, kind, how in cases))


def _sweep(records: Records) -> list[str]:
    return table_lines(("blocks", "converters", "adcs", *_MAPPINGS), (
        (blocks, how, str(adcs), *(
            _mean(records, figure="latency_vs_linear", mapping=name, blocks=blocks, rule="paper",
                  latency="interval", normalization=how, adcs=adcs, t_settle=4)
            for name in _MAPPINGS))
        for blocks in ("padded", "trimmed") for how in ("per_array", "equal_adcs")
        for adcs in (4, 8, 16, 32)))


def _saturation(records: Records, model: str) -> list[str]:
    names = ("linear", "sparse", "dense", "scatter")
    mine = select(records, figure="saturated", model=model)
    return table_lines((f"blocks, {model}", "bits", *names), (
        (blocks, rule, *(f"{r['ours']:.2g}" for name in names
                         for r in select(mine, mapping=name, blocks=blocks, rule=rule)))
        for blocks in ("padded", "trimmed") for rule in ("paper", "paper_rows8", "lossless")))


def _energy(records: Records) -> list[str]:
    return table_lines(("blocks", "bits", "table", *_MAPPINGS), (
        (blocks, rule, table, *(
            _mean(records, figure="energy_vs_linear", mapping=name, blocks=blocks, rule=rule,
                  technology=table) for name in _MAPPINGS))
        for blocks in ("padded", "trimmed") for rule in ("paper", "lossless")
        for table in ("isaac", "zigzag")))
