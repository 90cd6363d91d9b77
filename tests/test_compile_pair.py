"""Select steps of ``pair``: one for patterns that columns share, as many as needed otherwise."""

import numpy as np
import pytest
from compile_interpreter import SMALL, Interpreter, random_acts, random_weight

from cimforge.spec.commands import Compute
from cimforge.spec.pattern import NmPattern
from cimforge.spec.timing import cycles
from cimforge.spec.yaml_config import load_config
from cimforge_sw.compile import compile_layer
from cimforge_sw.compile.steps import select_steps
from cimforge_verif.replay import replay

PAIR = load_config("pair")
SMALL_PAIR = SMALL.replace(select="pair", sub_macros=4, max_m=8)


def steps_of(layer):
    return [c.steps for c in layer.commands if isinstance(c, Compute)]


@pytest.mark.parametrize("pattern", ["2:4", "4:8", "1:4", "2:8", "1:8"])
@pytest.mark.parametrize("group", [None, 4])
def test_a_free_pattern_takes_several_steps(pattern, group):
    rng, pattern = np.random.default_rng(0), NmPattern.parse(pattern)
    weight = random_weight(rng, 21, 67, pattern.n, pattern.m)
    layer = compile_layer(SMALL_PAIR, "layer", weight, pattern, 5, group=group)
    assert 1 < layer.steps <= SMALL_PAIR.max_steps
    x = random_acts(rng, SMALL_PAIR, 5, 67)
    wanted = x @ weight.astype(np.int64).T
    assert (Interpreter(SMALL_PAIR, layer, x).run() == wanted).all()
    assert (replay(SMALL_PAIR, layer, x).y == wanted).all()


@pytest.mark.parametrize("pattern", ["1:2", "2:4", "4:8", "1:4", "2:8", "1:8", "1:1"])
def test_a_pattern_shared_by_the_columns_takes_one_step(pattern):
    rng, pattern = np.random.default_rng(1), NmPattern.parse(pattern)
    weight = random_weight(rng, 96, 512, pattern.n, pattern.m, shared=32)
    weight[rng.random(weight.shape) < 0.2] = 0  # quantized to zero: still one step
    for group in (g for g in PAIR.groups if g % pattern.n == 0):
        layer = compile_layer(PAIR, "layer", weight, pattern, 2, group=group)
        assert set(steps_of(layer)) == {1}
        x = random_acts(rng, PAIR, 2, 512)
        assert (replay(PAIR, layer, x).y == x @ weight.astype(np.int64).T).all()


def test_half_of_pairs_is_always_one_step():
    weight = random_weight(np.random.default_rng(2), 40, 300, 1, 2)
    assert compile_layer(PAIR, "layer", weight, NmPattern(1, 2), 2).steps == 1


def test_fastest_mode_beats_many_steps():
    rng = np.random.default_rng(3)
    weight = random_weight(rng, 64, 256, 2, 4)
    own = compile_layer(PAIR, "layer", weight, NmPattern(2, 4), 16)
    best = compile_layer(PAIR, "layer", weight, NmPattern(2, 4), 16, mode="fastest")
    assert (own.mode.n, own.mode.m, own.steps) == (2, 4, 32)
    assert (best.mode.n, best.mode.m, best.steps) == (1, 1, 1)
    assert cycles(PAIR, best.commands) < cycles(PAIR, own.commands)


def test_fastest_is_the_best_of_all():
    rng = np.random.default_rng(4)
    for n, m in ((1, 4), (3, 8), (5, 8), (1, 8)):
        weight = random_weight(rng, 17, 40, n, m)
        best = compile_layer(SMALL_PAIR, "layer", weight, NmPattern(n, m), 7, mode="fastest")
        forced = [compile_layer(SMALL_PAIR, "layer", weight, NmPattern(n, m), 7, group=mode.group,
                                mode=f"{mode.n}:{mode.m}") for mode in SMALL_PAIR.modes]
        costs = [cycles(SMALL_PAIR, layer.commands) for layer in forced if layer.passes == 1]
        assert len(costs) > 2
        assert cycles(SMALL_PAIR, best.commands) == min(costs)


def test_select_steps_puts_every_column_where_all_agree():
    rng = np.random.default_rng(5)
    for group in (1, 2, 4):
        need = rng.integers(-1, 4, (3, 4, 9)) * rng.integers(0, 2, (3, 4, 9))
        level1, mask = select_steps(need, group)
        assert (mask.sum(axis=0) == 1).all()
        for step, p, c in np.argwhere(mask):
            cares = need[:, p, c] >= 0
            assert (level1[step, cares, p] == need[cares, p, c]).all()


def test_columns_that_do_not_care_join_others():
    need = np.full((1, 2, 3), -1)
    need[0, 0] = [0, 1, -1]
    need[0, 1] = [-1, 1, 0]
    level1, mask = select_steps(need, 2)
    assert level1.tolist() == [[[0, 0]], [[1, 1]]]
    assert mask[:, 0].tolist() == [[1, 0, 1], [0, 1, 0]]


def test_columns_of_two_patterns_take_two_steps():
    patterns = np.array([[0, 1, 2, 3], [1, 1, -1, 0]]).reshape(2, 2, 2)
    need = patterns[[0, 1, 1, 0, 0, 1]].transpose(1, 2, 0)
    level1, mask = select_steps(need, 2)
    assert level1.tolist() == [[[0, 1], [2, 3]], [[1, 1], [0, 0]]]
    assert mask[:, 0].tolist() == [[1, 0, 0, 1, 1, 0], [0, 1, 1, 0, 0, 1]]
