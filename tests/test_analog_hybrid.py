"""The hybrid mapping: legal, within its budget, optimal, and never behind the others."""

import dataclasses
import itertools
import os

import numpy as np
import pytest

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import ConfigError, ToolError
from cimforge_sw.analog import hybrid_program
from cimforge_sw.analog.cost import energy, events
from cimforge_sw.analog.drives import LOSSLESS, PAPER, drives
from cimforge_sw.analog.factors import Matrix
from cimforge_sw.analog.hybrid import hybrid
from cimforge_sw.analog.latency import latency
from cimforge_sw.analog.mappings import MAPPINGS, dense, scatter, sparse
from cimforge_sw.analog.schedule import schedule
from cimforge_sw.analog.tech import load_technology
from cimforge_verif.analog import AnalogTile, linear, monarch

CONFIG = AnalogConfig(array=64, adcs=8, adc_bits=8)


def _layers(count):
    """Return layers of q, k, v (shared input), o, and a wider pair."""
    return [dataclasses.replace(matrix, name=f"{n}.{matrix.name}",
                                shared=matrix.shared and f"{n}.{matrix.shared}")
            for n in range(count) for matrix in (
                *(Matrix(name, 64, 64, 8, 8, shared="x") for name in "qkv"),
                Matrix("o", 64, 64, 8, 8), Matrix("up", 256, 64, 16, 16),
                Matrix("down", 64, 256, 16, 16))]


def _cost(mapping, objective, rule=LOSSLESS, config=CONFIG):
    if objective == "energy":
        return energy(events(drives(mapping), config, rule), load_technology("isaac")).total
    return getattr(latency(drives(mapping), config, rule), objective)


@pytest.mark.parametrize("rule", [LOSSLESS, PAPER], ids=["lossless", "paper"])
@pytest.mark.parametrize("objective", ["interval", "serial", "energy"])
@pytest.mark.parametrize("adcs", [4, 32])
def test_never_behind_the_others_that_fit(objective, rule, adcs):
    layers, config = _layers(3), CONFIG.replace(adcs=adcs)
    others = [make(layers, 64, 8) for make in MAPPINGS.values()]
    others.append(dense(layers, 64, 8, together=False))
    for budget in sorted({other.arrays for other in others}):
        found = hybrid(layers, config, budget, objective, rule)
        assert found.arrays <= budget
        best = min(_cost(other, objective, rule, config) for other in others
                   if other.arrays <= budget)
        assert _cost(found, objective, rule, config) <= best * (1 + 1e-6)


def test_strips_too_wide_for_an_array_are_no_option():
    """Q, K and V of one slot across an array each: side by side they would take three."""
    layers = [Matrix(name, 128, 128, 2, 2, shared="x") for name in "qkv"]
    config = AnalogConfig(array=64, arrays=64, adcs=8)
    found = hybrid(layers, config, 64)
    assert found.arrays <= 64
    assert set(found.kinds) <= {"linear", "sparse", "dense", "scatter"}


def _small():
    return [Matrix("a", 16, 16, 4, 4, shared="x"), Matrix("b", 16, 16, 4, 4, shared="x"),
            Matrix("c", 16, 16, 4, 4), Matrix("d", 16, 16)]


@pytest.mark.parametrize("budget", [3, 4, 5, 6, 7, 9, 12, 40])
def test_optimal_among_all_choices(budget):
    """Every choice of a kind per unit, and of every number of scattered arrays, by hand."""
    config = AnalogConfig(array=16, grain=4, port=4, adcs=1)
    ab, c, d = _small()[:2], _small()[2:3], _small()[3:]
    best = np.inf
    for first, second in itertools.product(MAPPINGS, repeat=2):
        groups = {}
        for kind, unit in ((first, ab), (second, c)):
            groups.setdefault(kind, []).extend(unit)
        made = [MAPPINGS[kind](unit, 16, 4) for kind, unit in groups.items() if kind != "scatter"]
        made.append(MAPPINGS["linear"](d, 16, 4))
        for count in range(1, 40) if "scatter" in groups else (0,):
            try:
                extra = [scatter(groups["scatter"], 16, 4, count)] if count else []
            except ConfigError:
                continue
            if sum(mapping.arrays for mapping in (*made, *extra)) <= budget:
                best = min(best, sum(latency(drives(m), config).interval for m in (*made, *extra)))
    found = hybrid(_small(), config, budget)
    assert latency(drives(found), config).interval <= best
    assert found.kind(3) == "linear"
    assert found.arrays <= budget


def test_dense_layers_share_arrays_and_inputs():
    found = hybrid(_layers(3), CONFIG, dense(_layers(3), 64, 8).arrays, "energy", PAPER)
    assert set(found.kinds) == {"dense"}
    work = drives(found)
    assert (work.cols[work.rows == 8] == 24).any()  # a row of blocks of q, k and v
    for step in work.steps:
        assert len({found.kind(n) for n in step}) == 1


def test_more_arrays_never_cost_more():
    costs = [_cost(hybrid(_layers(2), CONFIG, budget), "interval") for budget in range(8, 40, 8)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1]


def test_mixed_kinds_compute_the_integer_model():
    """A hybrid with several kinds runs through scheduler and golden tile."""
    matrices = [Matrix("m", 64, 64, 8, 8), Matrix("w", 64, 64)]
    mapping = hybrid(matrices, CONFIG, 4)
    assert mapping.kinds[1] == "linear" != mapping.kinds[0]
    rng = np.random.default_rng(0)
    weights = {("m", "R"): rng.integers(-128, 128, (8, 8, 8), dtype=np.int8),
               ("m", "L"): rng.integers(-128, 128, (8, 8, 8), dtype=np.int8),
               ("w", "W"): rng.integers(-128, 128, (64, 64), dtype=np.int8)}
    x = rng.integers(-128, 128, (2, 64), dtype=np.int8)
    config, scale = CONFIG.replace(arrays=mapping.arrays), (3, 9000, 19)
    for name, expected in (("m", monarch(x, weights["m", "R"], weights["m", "L"], scale)),
                           ("w", linear(x, weights["w", "W"]))):
        program = schedule(mapping, [name], weights, config, scales={"m": scale}, tokens=2)
        tile = AnalogTile(config)
        beats = tile.run(program.commands, program.weights, program.acts(x))
        assert tile.illegal is None
        np.testing.assert_array_equal(program.results(beats)[0], expected)


def test_bad_input():
    least = min(make(_layers(2), 64, 8).arrays for make in (dense, scatter, sparse))
    with pytest.raises(ConfigError, match=rf"hybrid: 12 matrices need at least {least} arrays, not "
                                          f"{least - 1}$"):
        hybrid(_layers(2), CONFIG, least - 1)
    assert hybrid(_layers(2), CONFIG, least).arrays == least
    with pytest.raises(ConfigError, match="objective must be one of interval, serial, energy, not "
                                          "'area'"):
        hybrid(_layers(1), CONFIG, 99, "area")
    with pytest.raises(ConfigError, match="expected matrices to map, not none"):
        hybrid([], CONFIG, 99)
    with pytest.raises(ConfigError, match="no technology named 'none'"):
        hybrid(_layers(1), CONFIG, 99, "energy", technology="none")


@pytest.mark.parametrize(("status", "message"), [
    (1, "iteration or time limit"), (2, "no mapping at all"), (3, "unbounded"),
    (4, "failed numerically"), (9, "status 9")])
def test_a_solver_that_gives_up(monkeypatch, status, message):
    class Result:
        x = None

    Result.status, Result.message = status, "so it says"
    monkeypatch.setattr(hybrid_program, "milp", lambda *_, **__: Result)
    with pytest.raises(ToolError, match=rf"\(HiGHS\) .*{message}: so it says"):
        hybrid(_layers(1), CONFIG, 99)


def test_the_solver_prints_nothing(monkeypatch, capfd):
    real = hybrid_program.milp

    def loud(*arguments, **options):
        os.write(1, b"transformNewIntegerFeasibleSolution\n")  # as HiGHS does, past `sys.stdout`
        return real(*arguments, **options)

    monkeypatch.setattr(hybrid_program, "milp", loud)
    hybrid(_layers(1), CONFIG, 99)
    assert capfd.readouterr() == ("", "")
