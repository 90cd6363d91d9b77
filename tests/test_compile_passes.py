"""Several passes of a sparser mode: taken where they need fewer cycles, and predicted exactly."""

import numpy as np
import pytest
from compile_interpreter import Interpreter, random_acts, random_weight
from hw_deliberate import check_caught, check_without_bugs, name_of
from test_compile_estimate import random_config
from test_estimate_cycles import random_tilings

from cimforge.spec.config import DcimConfig
from cimforge.spec.mode import Mode
from cimforge.spec.pattern import NmPattern
from cimforge.spec.yaml_config import load_config
from cimforge_sw.compile import bound, compile_layer, estimate, layer_cycles, patterns, shape_cost
from cimforge_sw.compile.cost import pattern_cycles
from cimforge_sw.compile.geometry import Geometry
from cimforge_sw.compile.lanes import lane_cycles
from cimforge_sw.compile.patterns import most_per_block
from cimforge_sw.compile.tiling import Tiling

SEEDS = range(12)


def line_config(rng):
    """Return hardware with ``line``, some with shared indices or a single N."""
    config = random_config(rng).replace(select="line", max_m=int(rng.choice([2, 4, 8])))
    share = int(rng.choice([s for s in (1, 2) if config.cols % s == 0]))
    fixed = int(rng.integers(1, config.max_m + 1)) if rng.random() < 0.25 else 0
    return config.replace(index_share=share, fixed_n=min(fixed, config.slots))


def random_layers(rng, count):
    """Yield hardware, weights, pattern and tokens; inputs end in the middle of a group or not."""
    while count:
        config = line_config(rng)
        pattern = NmPattern(int(rng.integers(1, config.max_m + 1)), config.max_m)
        outputs, tokens = int(rng.integers(1, 5 * config.slots)), int(rng.integers(1, 60))
        inputs = int(rng.integers(config.max_m, 9 * config.slots + config.max_m))
        widest = max(config.modes, key=config.k_tile)
        if inputs > 4000 or not Tiling(config, widest, outputs, inputs).fits:
            continue
        weight = random_weight(rng, outputs, inputs, pattern.n, pattern.m, config.weight_bits,
                               config.index_share)
        yield config, weight, pattern, tokens
        count -= 1


def every_choice(config, weight, pattern):
    """Return all tilings that fit, of the patterns on offer."""
    offered = patterns.runnable_patterns(config, most_per_block(config, weight), pattern)
    tilings = [Tiling(config, mode, *weight.shape, offered[NmPattern(mode.n, mode.m)])
               for mode in config.modes if NmPattern(mode.n, mode.m) in offered]
    return [tiling for tiling in tilings if tiling.fits]


def cycles_of(tiling, tokens):
    mode = tiling.mode
    return layer_cycles(tiling.config, tiling.outputs, tiling.inputs, mode.n, tokens, mode.group,
                        m=mode.m, passes=tiling.passes)


def check_bound(seed):
    """See that no tiling, ``pair`` included, is as fast as what is said to be out of reach."""
    rng = np.random.default_rng(seed)
    config = random_config(rng)
    tilings, tokens, _ = zip(*random_tilings(rng, config, 12), strict=True)
    geometry = Geometry.of(config, [t.mode for t in tilings], *(
        np.array([getattr(t, name) for t in tilings]) for name in ("outputs", "inputs", "passes")))
    exact = lane_cycles(geometry, tokens)
    assert (bound.least_cycles(geometry, np.array(tokens)) < exact).all(), (config, tilings, tokens)


def check_choice(seed):
    """See that the compiler takes the fastest of all choices, and never less than one pass has."""
    for config, weight, pattern, tokens in random_layers(np.random.default_rng(seed), 6):
        cycles = {tiling: cycles_of(tiling, tokens)
                  for tiling in every_choice(config, weight, pattern)}
        best = min(cycles, key=lambda t: (cycles[t], t.passes, -t.mode.group))
        layer = compile_layer(config, "layer", weight, pattern, tokens)
        assert (layer.mode, layer.passes) == (best.mode, best.passes)
        single = [cycles_of(tiling, tokens) for mode in config.modes if mode.n >= pattern.n
                  and (tiling := Tiling(config, mode, *weight.shape)).fits]
        assert estimate(config, layer).cycles == cycles[best] <= min(single, default=cycles[best])


def check_agreement(seed):
    """See that shapes alone say what the compiler does: cycles, mode, passes and slot use."""
    for config, weight, pattern, tokens in random_layers(np.random.default_rng(seed), 6):
        layer = compile_layer(config, "layer", weight, pattern, tokens)
        costs = shape_cost.shape_costs(config, [("layer", *weight.shape, pattern, tokens)])
        numbers = estimate(config, layer)
        assert costs.cycles[0] == numbers.cycles == pattern_cycles(
            config, *weight.shape, pattern, tokens)
        assert costs.resident_cycles[0] == numbers.resident_cycles
        assert (costs.modes[0], costs.passes[0]) == (layer.mode, layer.passes)
        if config.index_share == 1 and weight.shape[1] % config.max_m == 0:
            assert costs.slot_use[0] == pytest.approx(layer.slot_use, abs=0)


def check_product(seed):
    """See that weights of several passes are all placed: the products come out right."""
    rng, several = np.random.default_rng(seed), 0
    for config, weight, pattern, tokens in random_layers(rng, 4):
        layer = compile_layer(config, "layer", weight, pattern, tokens)
        x = random_acts(rng, config, tokens, weight.shape[1])
        assert (Interpreter(config, layer, x).run() == x @ weight.T.astype(int)).all()
        several += layer.passes > 1
    return several


@pytest.mark.parametrize("seed", range(40))
def test_the_bound_is_below_the_cycles(seed):
    check_bound(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_choice_is_the_fastest(seed):
    check_choice(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_shapes_say_what_the_compiler_does(seed):
    check_agreement(seed)


def test_products_of_several_passes():
    assert sum(check_product(seed) for seed in range(10)) >= 6


def test_what_is_on_offer():
    def offered(config, most):
        found = patterns.runnable_patterns(config, {config.max_m: most}, None)
        return [f"{pattern} x{passes}" for pattern, passes in found.items()]

    line, fixed = DcimConfig(), load_config("fixed_2_8")
    assert offered(line, 1) == ["1:8 x1"]
    assert offered(line, 3) == ["3:8 x1", "2:8 x2", "1:8 x3"]
    assert offered(line, 8) == ["8:8 x1", "4:8 x2", "3:8 x3", "2:8 x4", "1:8 x8"]
    assert offered(fixed, 8) == ["2:8 x4"]
    assert offered(fixed, 1) == ["2:8 x1"]
    assert offered(line.replace(sub_macros=1, rows=2), 5) == ["2:8 x3", "1:8 x5"]
    assert offered(load_config("dense"), 1) == ["1:1 x1"]


def test_three_of_eight_fills_the_slots():
    jobs = [("q", 4096, 4096, NmPattern(3, 8), tokens) for tokens in (16, 128)]
    costs = shape_cost.shape_costs(DcimConfig(), jobs)
    assert costs.modes == (Mode(1, 8, 2), Mode(1, 8, 4))
    assert costs.passes.tolist() == [3, 3]
    assert costs.slot_use.tolist() == [1.0, 1.0]


def test_tilings_left_out_are_slower():
    for config, weight, pattern, tokens in random_layers(np.random.default_rng(5), 60):
        choices = every_choice(config, weight, pattern)
        found = bound.contenders(choices, tokens)
        assert found == {tiling: cycles_of(tiling, tokens) for tiling in found}
        least = min(found.values())
        assert all(cycles_of(tiling, tokens) > least for tiling in choices if tiling not in found)
    assert bound.contenders([], 1) == {}


def many(check, seeds):
    """Run a check for so many seeds."""
    for seed in range(seeds):
        check(seed)


#: As in test_deliberate_bugs: what is wrong, where, what it says, what instead, what notices.
BUGS = [
    ("loads-wait-for-every-bank", bound._wait, "np.maximum(held - beats, 0)", "held",
     many, check_bound, 40),
    ("results-slower-than-they-are", bound.least_cycles, "(tokens - chunks) * sending",
     "2 * tokens * sending", many, check_bound, 40),
    ("a-contender-left-out", bound.contenders, "bounds[i] >= min(found.values())", "found",
     test_tilings_left_out_are_slower),
    ("passes-rounded-down", patterns.runnable_patterns, "-(-most[p.m] // p.n)",
     "most[p.m] // p.n", test_what_is_on_offer),
    ("densest-of-equal-passes", patterns.runnable_patterns, "sparsest.setdefault(count, choice)",
     "sparsest[count] = choice", test_what_is_on_offer),
    ("ties-to-more-passes", shape_cost.shape_costs, "(-options.group, options.passes, cycles",
     "(-options.group, -options.passes, cycles", many, check_agreement, 12),
]


@pytest.mark.parametrize("bug", BUGS, ids=name_of)
def test_the_bug_is_caught(bug, monkeypatch):
    check_caught(bug, monkeypatch)


def test_every_test_that_notices_passes_without_a_bug():
    check_without_bugs(BUGS)
