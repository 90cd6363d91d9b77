"""Tables of ``make paper`` that are about cycles: latency and utilization, from records alone."""

from typing import Any

from cimforge.report.bars import least, select
from cimforge.report.tables import figure_of, table

__all__ = ["equal_accuracy", "equal_area", "latency", "utilization"]

Record = dict[str, Any]
_PLANS = ("uniform 2:8", "mix 4:8, 2:8", "transferred 0.75", "transferred 0.7")
_TOKENS = 16


def latency(cycles: list[Record], records: list[Record]) -> str:
    """Return latency against the 50 % class: one clock, own clock, per area."""
    mine = [r for r in select(cycles, figure="latency_vs_best_fixed", tokens=_TOKENS,
                              buffer="equal_bits", weights="streamed") if r["plan"] in _PLANS]
    rows = []
    for r in mine:
        about = {"model": r["model"], "plan": r["plan"], "tokens": _TOKENS, "buffer": "equal_bits"}
        cells = [figure_of(source, figure=figure, weights=weights, **about, **clock)
                 for source, figure, clock in (
                     (cycles, "latency_vs_best_fixed", {}),
                     (records, "latency_vs_best_fixed", {"clock": "own"}),
                     (records, "area_normalized_latency", {"clock": "own"}))
                 for weights in ("streamed", "resident")]
        rows.append([r["model"], r["plan"], f"{r['sparsity']:.1%}", *cells])
    return ("## Latency against the best fixed macro of the 50 % class\n\n"
            f"{_TOKENS} tokens, buffers of equal bits; the paper's figure is 1.75, up to.\n\n"
            + table(["model", "plan", "pruned", "one clock, streamed", "resident",
                     "own clock, streamed", "resident", "own clock, per area, streamed",
                     "resident"], rows))


def equal_area(records: list[Record]) -> str:
    """Return latency against fixed macros with as many columns as the same area holds."""
    mine = select(records, figure="latency_at_equal_area", clock="own", weights="streamed")
    against = {r["against"]: f"{r['against']}, {r['cols']} columns" for r in mine}
    rows = [[model, plan, *(figure_of(mine, model=model, plan=plan, against=name)
                            for name in against)]
            for model, plan in dict.fromkeys((r["model"], r["plan"]) for r in mine)]
    return ("## Latency at equal area\n\nEach fixed macro has as many columns as bring its area, "
            "in closed form, nearest to that of the flexible one; own clocks, weights streamed, "
            f"{_TOKENS} tokens. Above 1 the flexible macro is faster.\n\n"
            + table(["model", "plan", *against.values()], rows))


def equal_accuracy(cycles: list[Record]) -> str:
    """Return latency at equal accuracy on the models that are scored."""
    mine = select(cycles, figure="latency_at_equal_accuracy", tokens=_TOKENS, buffer="equal_bits")
    names = list(dict.fromkeys(r["against"] for r in mine))
    rows = [[model, weights, len(least(found)["seeds"]),
             *(figure_of(found, against=name) for name in names)]
            for model in dict.fromkeys(r["model"] for r in mine)
            for weights in ("streamed", "resident")
            if (found := select(mine, model=model, weights=weights))]
    return ("## Latency at equal accuracy\n\nCycles of each fixed macro with its own uniform "
            "pattern over those of the flexible macro with the fastest recorded plan that scores "
            f"no worse: INT8, no retraining, {_TOKENS} tokens, one clock, geometric mean over "
            "seeds.\n\n" + table(["model", "weights", "seeds", *names], rows))


def utilization(cycles: list[Record]) -> str:
    """Return the share of the cells that hold a kept weight."""
    mine = select(cycles, figure="slot_use", tokens=_TOKENS)
    plans = [plan for plan in dict.fromkeys(r["plan"] for r in mine) if "transfer" not in plan]
    rows = [[model, *(figure_of(mine, model=model, plan=plan) for plan in plans)]
            for model in dict.fromkeys(r["model"] for r in mine)]
    return ("## Utilization\n\nShare of the cells of all tiles that hold a kept weight; G as the "
            "compiler chooses it, by cycles. What is missing is in tails of O and K.\n\n"
            + table(["model", *plans], rows))
