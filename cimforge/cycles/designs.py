"""The macros that are compared, and the cycles of whole models on all of them."""

from collections.abc import Iterable, Mapping

from cimforge.spec.config import DcimConfig
from cimforge.spec.pattern import NmPattern
from cimforge.spec.yaml_config import load_config

__all__ = ["BUFFERS", "CLASS_50", "CLASS_75", "FLEXIBLE", "KINDS", "Cycles", "Totals", "designs",
           "totals"]

FLEXIBLE = "default"
CLASS_50 = ("fixed_1_2", "fixed_2_4", "fixed_4_8")
CLASS_75 = ("fixed_1_4", "fixed_2_8")
KINDS = ("streamed", "resident")
#: How large the activation buffers of the fixed macros are.
BUFFERS = {"equal_bits": "activation buffers of as many bits as the flexible macro's",
           "equal_rows": "activation buffers of 512 windows, of each macro's own width"}

#: Layers of a model as (O, K, N:M) with how often each is there.
Totals = Mapping[tuple[int, int, NmPattern], int]
#: Cycles by model key, tokens, design, buffer and kind.
Cycles = dict[tuple[str, int, str, str, str], int]


def designs(buffer: str) -> dict[str, DcimConfig]:
    """Return all macros of equal cells, with one of `BUFFERS`.

    A window is as wide as the inputs that a tile covers in a macro's sparsest mode, so at equal
    rows the flexible macro would have the largest buffer and stream its weights less often.
    """
    flexible = load_config(FLEXIBLE)
    found = {FLEXIBLE: flexible}
    for name in ("dense", *CLASS_50, *CLASS_75):
        config = load_config(name)
        if buffer == "equal_bits":
            rows = flexible.act_depth * flexible.window_inputs // config.window_inputs
            config = config.replace(act_depth=rows)
        found[name] = config
    return found


def totals(models: Mapping[str, Totals], tokens: Iterable[int]) -> Cycles:
    """Return the cycles of models on every design: each distinct layer is computed once."""
    from cimforge_sw.compile.shape_cost import shape_costs

    tokens = tuple(tokens)
    jobs = [("layer", *key, count) for count in tokens
            for key in dict.fromkeys(key for layers in models.values() for key in layers)]
    found: Cycles = {}
    for buffer in BUFFERS:
        for design, config in designs(buffer).items():
            costs = shape_costs(config, jobs)
            for kind, values in zip(KINDS, (costs.cycles, costs.resident_cycles), strict=True):
                at = dict(zip((job[1:] for job in jobs), values.tolist(), strict=True))
                for model, layers in models.items():
                    for count in tokens:
                        found[model, count, design, buffer, kind] = sum(
                            times * at[(*key, count)] for key, times in layers.items())
    return found
