"""Selection: the knapsack against brute force, budgets, uniform mixes, OWL, FLOW, FLOW-X."""

import ctypes
import os
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.select import (
    PUBLISHED_CANDIDATES,
    Budget,
    flow,
    line_candidates,
    owl,
    uniform_mixes,
)
from cimforge_sw.select.budget import kept_weights
from cimforge_sw.select.journal import Journal
from cimforge_sw.select.knapsack import Limit, choose
from cimforge_sw.solver_output import no_solver_output

SHAPES = {"a": (16, 32), "b": (16, 32), "c": (64, 32), "d": (32, 64)}


def _brute_force(cost, use, low, high):
    """Return the least cost of all choices within the limit, or None."""
    layers, options = cost.shape
    found = [sum(cost[i, o] for i, o in enumerate(choice))
             for choice in product(range(options), repeat=layers)
             if low <= sum(use[i, o] for i, o in enumerate(choice)) <= high]
    return min(found) if found else None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 4))
def test_choose_is_as_good_as_brute_force(seed, layers, options):
    rng = np.random.default_rng(seed)
    cost, use = rng.random((layers, options)), rng.integers(0, 9, (layers, options))
    low, high = sorted(rng.integers(0, 9 * layers, 2).tolist())
    choice = choose(cost, [Limit(use, low, high)])
    best = _brute_force(cost, use, low, high)
    if best is None:
        assert choice is None
    else:
        rows = np.arange(layers)
        assert low <= use[rows, choice].sum() <= high
        assert cost[rows, choice].sum() == pytest.approx(best, rel=1e-9)


def test_choose_never_takes_what_is_not_to_be_had():
    cost = np.array([[np.inf, 3.0], [1.0, np.inf]])
    assert choose(cost).tolist() == [1, 0]
    with pytest.raises(DataError, match="layer 1 has no option"):
        choose(np.array([[0.0], [np.inf]]))


def test_the_solver_prints_nothing(capfd):
    """Numbers for which HiGHS prints from its C++ code, past its options and `sys.stdout`."""
    rng = np.random.default_rng(147)
    layers = int(rng.integers(10, 120))
    sizes = rng.choice([147456, 589824, 36864, 98304], layers)
    use = np.round(sizes[:, None] * (1 - np.arange(1, 9) / 8)).astype(float)
    cost = rng.normal(size=(layers, 8)) * 10.0 ** rng.uniform(-6, 0)
    target = rng.choice([0.5, 0.6, 0.625, 0.7, 0.75]) * sizes.sum()
    moves = Limit(np.where(np.arange(8) == 3, 0.0, 1.0) * np.ones((layers, 1)),
                  high=int(rng.integers(2, layers)))
    print("before")
    choose(cost, [Limit(use, target, target + 1e-3 * sizes.sum()), moves])
    print("after")
    ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr() == ("before\nafter\n", "")


def test_standard_output_is_back_after_an_error_and_may_be_closed(capfd):
    def interrupted():
        with no_solver_output():
            os.write(1, b"unseen\n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    os.write(1, b"seen\n")
    assert capfd.readouterr().out == "seen\n"
    kept = os.dup(1)
    os.close(1)
    try:
        with no_solver_output():
            pass
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@pytest.mark.parametrize(("inputs", "pattern", "kept"), [
    (16, "2:4", 8), (18, "2:4", 10), (17, "2:4", 9), (12, "3:8", 6), (10, "3:8", 5), (7, "1:1", 7)])
def test_kept_weights_count_the_short_group(inputs, pattern, kept):
    assert kept_weights(3, inputs, NmPattern.parse(pattern)) == 3 * kept


@pytest.mark.parametrize("target", [0.1, 0.5, 0.6, 0.625, 0.7, 0.75, 0.875])
def test_every_method_meets_the_target_by_little(target):
    budget = Budget(SHAPES, line_candidates(), target)
    presence, locality = np.array([0.1, 0.02, 0.05, 0.03]), np.array([0.0, 0.3, 0.1, 0.2])
    made = [*uniform_mixes(budget), owl(budget, presence),
            *(flow(budget, presence, locality, mode) for mode in ("latency", "balanced",
                                                                  "accuracy"))]
    for selection in made:
        kept = sum(kept_weights(*SHAPES[name], pattern)
                   for name, pattern in selection.plan.resolve(SHAPES).items())
        assert 1 - kept / budget.total == pytest.approx(selection.sparsity)
        assert selection.excess >= -1e-12
        if selection.method != "uniform":  # whole layers at two levels may exceed it by a layer
            assert selection.excess <= 0.08, selection  # the least step of these four layers


def test_the_least_excess_is_allowed_where_sizes_force_it():
    budget = Budget({"a": (8, 8), "b": (24, 8)}, [NmPattern(1, 1), NmPattern(1, 2)], 0.3, slack=0)
    choice = budget.solve(np.array([[0.0, 1.0], [0.0, 100.0]]))
    assert budget.selection(choice, "x").sparsity == 0.375  # b alone; 0.3 cannot be hit


def test_excluded_layers_stay_dense_inside_the_budget():
    budget = Budget(SHAPES, line_candidates(), 0.5, exclude=["c"])
    selection = flow(budget, np.arange(4.0), np.arange(4.0))
    plan = selection.plan.resolve(SHAPES)
    assert plan["c"] == NmPattern(1, 1)
    assert selection.sparsity >= 0.5
    with pytest.raises(DataError, match=r"out of reach.*at most 0\.5[0-9]* of the 5120.*1 ex"):
        Budget(SHAPES, line_candidates(), 0.8, exclude=["c"])
    with pytest.raises(DataError, match="cannot exclude 'x': no such layer"):
        Budget(SHAPES, line_candidates(), 0.5, exclude=["x"])


@pytest.mark.parametrize(("target", "candidates", "error", "text"), [
    (1.0, line_candidates(), ConfigError, "must be a number in 0 .. 1"),
    (-0.1, line_candidates(), ConfigError, "must be a number in 0 .. 1"),
    (0.5, (), ConfigError, "expected different candidate patterns, not none"),
    (0.5, (NmPattern(1, 2), NmPattern(1, 2)), ConfigError, "expected different"),
    (0.8, (NmPattern(1, 1), NmPattern(2, 8)), DataError, "at most 0.75 of the 5120 weights"),
])
def test_what_no_budget_can_be(target, candidates, error, text):
    with pytest.raises(error, match=text):
        Budget(SHAPES, candidates, target)


def test_uniform_is_one_pattern_where_one_hits_the_target():
    for target, pattern in ((0.5, "4:8"), (0.625, "3:8"), (0.75, "2:8"), (0.0, "1:1")):
        selection, = uniform_mixes(Budget(SHAPES, line_candidates(), target))
        assert {str(p) for p in selection.plan.layers.values()} == {pattern}
    mixes = uniform_mixes(Budget(SHAPES, line_candidates(), 0.6))
    assert {str(p) for mix in mixes for p in mix.plan.layers.values()} == {"4:8", "3:8"}
    first, last = ([str(p) for p in mix.plan.layers.values()] for mix in mixes[:2])
    assert first[0] == last[-1] == "3:8"


def test_owl_gives_more_to_layers_with_more_outliers_and_keeps_m():
    budget = Budget({str(i): (64, 64) for i in range(8)}, line_candidates(), 0.5)
    selection = owl(budget, np.linspace(0.01, 0.2, 8), spread=0.2)
    n = [8 * pattern.density for pattern in selection.plan.layers.values()]
    assert n == sorted(n)
    assert n[0] < n[-1]
    assert owl(budget, np.full(8, 0.1)).plan.layers["0"] == NmPattern(4, 8)
    with pytest.raises(ConfigError, match="one M"):
        owl(Budget(SHAPES, PUBLISHED_CANDIDATES, 0.5), np.arange(4.0))


def test_flow_gives_n_to_many_outliers_and_m_to_clustered_ones():
    budget = Budget(dict.fromkeys("abc", (64, 64)), PUBLISHED_CANDIDATES, 0.5)
    presence, locality = np.array([0.0, 0.4, 0.4]), np.array([0.0, 0.0, 1.0])
    for mode in ("latency", "balanced", "accuracy"):
        few, scattered, clustered = (
            NmPattern(8, 8) if pattern.m == 1 else pattern  # dense is all of the largest group
            for pattern in flow(budget, presence, locality, mode).plan.layers.values())
        assert few.n <= scattered.n <= clustered.n
        assert few.n < clustered.n
        assert clustered.m >= scattered.m >= few.m
        if mode == "latency":
            assert clustered.m > scattered.m
        if mode == "accuracy":
            assert few.n < scattered.n
    with pytest.raises(ConfigError, match="mode must be one of latency, balanced, accuracy"):
        flow(budget, np.arange(3.0), np.arange(3.0), "fast")


def test_accuracy_keeps_at_least_the_wanted_n_where_that_is_feasible():
    budget = Budget({str(i): (64, 64) for i in range(6)}, line_candidates(), 0.3)
    presence = np.linspace(0, 0.1, 6)
    selection = flow(budget, presence, presence, "accuracy")
    wanted = selection.details["wanted_n"]
    for pattern, least in zip(selection.plan.layers.values(), wanted, strict=True):
        assert (8 if pattern.m == 1 else pattern.n) >= least


@pytest.mark.parametrize("mode", ["latency", "balanced", "accuracy"])
@pytest.mark.parametrize("target", [0.1, 0.3, 0.5, 0.7])
def test_more_outliers_never_keep_fewer_weights(target, mode):
    """Layers of equal size: N/M grows with O; a layer with the least O is never the dense one."""
    budget = Budget({str(i): (64, 64) for i in range(8)}, line_candidates(), target)
    presence = np.linspace(0.01, 0.1, 8)
    selection = flow(budget, presence, np.zeros(8), mode)
    kept = [pattern.density for pattern in selection.plan.layers.values()]
    assert kept == sorted(kept)
    assert kept[0] < kept[-1]


def test_a_journal_survives_an_interruption(tmp_path):
    path = tmp_path / "deep" / "search.jsonl"
    journal = Journal(path, "model")
    journal.add("0,1", 0.5)
    journal.add("1,1", 0.25)
    path.write_text(path.read_text()[:-4])  # cut short while it was written
    again = Journal(path, "model")
    assert again.losses == {"0,1": 0.5}
    again.add("2,2", 1.0)
    assert Journal(path, "model").losses == {"0,1": 0.5, "2,2": 1.0}
    with pytest.raises(DataError, match="another search"):
        Journal(path, "another model")
    path.write_text("no journal\n")
    with pytest.raises(DataError, match="not a journal"):
        Journal(path, "model")


def test_uniform_takes_the_largest_m_that_reaches_the_target():
    patterns = [NmPattern.parse(text) for text in ("1:1", "1:4", "2:4", "7:8")]
    mixes = uniform_mixes(Budget(SHAPES, patterns, 0.6))
    assert {str(p) for mix in mixes for p in mix.plan.layers.values()} == {"2:4", "1:4"}
    assert all(mix.sparsity >= 0.6 for mix in mixes)
    selection, = uniform_mixes(Budget(SHAPES, patterns, 0.125))
    assert {str(p) for p in selection.plan.layers.values()} == {"7:8"}
    # Of 8 inputs 3:8 prunes 5 and 2:4 4, of 4 inputs 1 and 2: together 7, each alone 6.
    candidates = [NmPattern(3, 8), NmPattern(2, 4)]
    with pytest.raises(DataError, match="no uniform pattern of 3:8, 2:4 prunes "):
        uniform_mixes(Budget({"a": (1, 8), "b": (1, 4)}, candidates, 7 / 12))
