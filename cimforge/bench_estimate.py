"""How many layers a second the closed form of cycles takes, none of them twice."""

import time

import numpy as np

from cimforge.bench_speed import Row

__all__ = ["estimate_rows"]

#: In one call: twice as many layers as fill the vectors of a step take a little longer, not twice.
_LAYERS = 8192


def estimate_rows(layers: int = _LAYERS) -> list[Row]:
    """Measure seconds of processor time for distinct layers, and for Llama-2-7B as the command.

    Baselines are those layers one by one, by the recurrence that skips blocks only.
    """
    from cimforge.cycles.model import estimate_shapes
    from cimforge.spec.pattern import NmPattern
    from cimforge.spec.yaml_config import load_config
    from cimforge_sw.compile.cost import pattern_cycles
    from cimforge_sw.compile.shape_cost import shape_costs
    from cimforge_sw.plan import Plan
    from cimforge_sw.shapes import load_shapes

    config, rng = load_config("default"), np.random.default_rng(0)
    sizes = rng.integers(128, 1376, (layers, 2)) * 8  # 1024 to 11000 outputs and inputs
    jobs = [(f"layer{i}", int(outputs), int(inputs), NmPattern(2 + i % 3, 8), 16)
            for i, (outputs, inputs) in enumerate(sizes)]

    def seconds(work) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    shape_costs(config, jobs[:8])  # imports, first calls
    few = jobs[:8]
    pattern_cycles.cache_clear()
    slow = len(few) / seconds(lambda: [pattern_cycles(config, *job[1:]) for job in few])
    rate = layers / seconds(lambda: shape_costs(config, jobs))
    model = load_shapes("Llama-2-7B")
    whole = seconds(lambda: estimate_shapes(model, Plan.uniform("2:8"), config, 16))
    return [("estimate, distinct layers", "default", rate, "layers/s", slow, rate / slow,
             "one by one"),
            ("estimate, Llama-2-7B", "default", whole, "s", None, None, None),
            ("estimate, Llama-2-7B, equal layers once", "default", len(model.layers) / whole,
             "layers/s", None, None, None)]
