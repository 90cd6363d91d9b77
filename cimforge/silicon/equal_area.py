"""Fixed macros that are given as many columns as the flexible one's area holds, in cycles."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cimforge.cycles.designs import CLASS_50, CLASS_75, KINDS, designs
from cimforge.cycles.model import estimate_shapes
from cimforge.cycles.plans import LARGE, mixed, uniform
from cimforge.silicon.designs import FLEXIBLE
from cimforge.spec.config import DcimConfig
from cimforge_sw.cost.area import macro_area
from cimforge_sw.cost.technology import Technology
from cimforge_sw.shapes import load_shapes

__all__ = ["equal_area_records", "widened"]

Record = dict[str, Any]
TOKENS = 16
_MOST_COLUMNS = 256
_BUFFER = "equal_bits"


def widened(config: DcimConfig, area: float, technology: Technology) -> DcimConfig:
    """Return a macro with the columns that bring it nearest to an area in square micrometres.

    Its result port stays one word per column, so that none of them waits for it.
    """
    def columns(cols: int) -> DcimConfig:
        return config.replace(cols=cols, out_port=cols)

    share = config.index_share
    return min((columns(cols) for cols in range(share, _MOST_COLUMNS + 1, share)),
               key=lambda each: abs(macro_area(each, technology).total - area))


def equal_area_records(technology: Technology, period: Mapping[str, float]) -> Iterator[Record]:
    """Yield ``latency_at_equal_area`` of the large shapes against every fixed macro.

    Each at one clock and at each macro's own; buffers hold equal bits.

    Parameters
    ----------
    technology : Technology
        Says the areas.
    period : mapping of str to float
        Nanoseconds of the macros of 32 columns, by name: of 16 and of 64 they differ by 1 %.
    """
    macros = designs(_BUFFER)
    flexible = macros[FLEXIBLE]
    area = macro_area(flexible, technology).total
    wide = {name: widened(macros[name], area, technology)
            for name in ("dense", *CLASS_50, *CLASS_75)}
    for model in LARGE:
        shapes = load_shapes(model)
        for plan, patterns in {"uniform 2:8": uniform(shapes, "2:8"), **mixed(shapes)}.items():
            mine = estimate_shapes(shapes, patterns, flexible, TOKENS)
            for name, config in wide.items():
                theirs = estimate_shapes(shapes, patterns, config, TOKENS)
                cycles = (theirs.cycles / mine.cycles,
                          theirs.resident_cycles / mine.resident_cycles)
                about = {"figure": "latency_at_equal_area", "model": model, "plan": plan,
                         "design": FLEXIBLE, "against": name, "cols": config.cols,
                         "area_ratio": macro_area(config, technology).total / area,
                         "sparsity": mine.sparsity, "tokens": TOKENS, "paper": None,
                         "unit": "ratio", "buffer": _BUFFER}
                yield from _clocks(about, cycles, period[name] / period[FLEXIBLE])


def _clocks(about: Record, cycles: Iterable[float], clock: float) -> Iterator[Record]:
    for weights, ratio in zip(KINDS, cycles, strict=True):
        for kind, factor in (("one", 1.0), ("own", clock)):
            yield {**about, "weights": weights, "clock": kind, "ours": ratio * factor,
                   "assumptions": f"the fixed macro has {about['cols']} columns instead of 32, its "
                   f"area is {about['area_ratio']:.3f} of the flexible one's, both in closed form "
                   "with weights in flip-flops"}
