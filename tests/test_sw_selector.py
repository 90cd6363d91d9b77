"""Selection on a small real model: every method, FLOW-X's promises, and interruption."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sw_checkpoints import save_tiny, token_rows
from sw_families import save_family

from cimforge.spec.errors import CimforgeError, ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge.spec.yaml_config import load_config
from cimforge_sw.calibration import calibrate
from cimforge_sw.layers import linear_layers, weight_matrix
from cimforge_sw.models import load_model
from cimforge_sw.objective import Objective
from cimforge_sw.prune import prune
from cimforge_sw.select import METHODS, Selector
from cimforge_sw.selection import flow, flow_x
from cimforge_sw.sparsegpt import sparsegpt
from cimforge_sw.update import gram_matrices, prune_with_update
from cimforge_sw.variants import Variants


@pytest.fixture(scope="module", params=["llama", "bert"])
def subject(request, tmp_path_factory):
    """Return a model with a head and one without, its statistics, and texts as token ids."""
    folder = save_tiny(request.param, tmp_path_factory.mktemp(request.param))
    model = load_model(folder)
    rows = token_rows(8, 12)
    return model, calibrate(model, rows), rows


def _zeros(model, plan, stats):
    return prune(model, plan, stats).sparsity


@pytest.mark.parametrize("method", METHODS)
def test_every_method_prunes_what_it_says(subject, method):
    model, stats, rows = subject
    selection = Selector(model, stats, rows).select(method, 0.6)
    assert selection.method == method
    assert selection.sparsity >= 0.6
    assert _zeros(model, selection.plan, stats) == pytest.approx(selection.sparsity, abs=1e-12)


def test_flow_x_is_never_worse_than_any_other_method_on_its_text(subject):
    model, stats, rows = subject
    selector = Selector(model, stats, rows)
    ours = selector.select("flow-x", 0.625)
    for method in ("uniform", "owl", "flow"):
        assert selector.loss(ours) <= selector.loss(selector.select(method, 0.625)) + 1e-9
    assert ours.details["losses"] == sorted(ours.details["losses"], reverse=True)
    assert selector.loss(ours) == pytest.approx(ours.details["losses"][-1], rel=1e-5)


def test_flow_x_for_updated_weights_scores_what_sparsegpt_makes(subject):
    model, stats, rows = subject
    grams = gram_matrices(model, rows)
    selector = Selector(model, stats, rows, grams=grams)
    selector.variants.apply(dict.fromkeys(selector.shapes, NmPattern(3, 8)))
    for name, layer in linear_layers(selector.variants.model.module).items():
        dense = weight_matrix(linear_layers(model.module)[name])
        expected, _ = sparsegpt(dense, grams[name], NmPattern(3, 8))
        assert torch.equal(weight_matrix(layer), expected)
        assert not torch.equal(expected, dense * (expected != 0))  # updated, not only masked
    ours = selector.select("flow-x", 0.625)
    for method in ("uniform", "owl", "flow"):
        assert selector.loss(ours) <= selector.loss(selector.select(method, 0.625)) + 1e-9
    with pytest.raises(DataError, match="no Gram matrix"):
        Variants(model, stats, grams={}).apply(dict.fromkeys(selector.shapes, NmPattern(1, 8)))


def test_a_loss_from_a_block_on_is_the_loss_of_the_whole(subject):
    model, stats, rows = subject
    selector = Selector(model, stats, rows)
    module = selector.variants.model.module
    selector.variants.apply(dict.fromkeys(selector.shapes, NmPattern(2, 8)))
    whole = selector.objective.loss(module)
    states = selector.objective.states(module, 1)
    assert selector.objective.loss(module, 1, states) == pytest.approx(whole, rel=1e-6)
    assert whole > 0
    selector.variants.apply(dict.fromkeys(selector.shapes, NmPattern(1, 1)))
    assert selector.objective.loss(module) == pytest.approx(0, abs=1e-5)  # dense to dense


class _Interrupted:
    """An objective whose n-th measurement is interrupted."""

    def __init__(self, monkeypatch, after):
        self.left, real = after, Objective.loss

        def loss(objective, *args):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            return real(objective, *args)

        monkeypatch.setattr(Objective, "loss", loss)


def test_an_interrupted_search_goes_on_and_ends_the_same(subject, tmp_path, monkeypatch):
    model, stats, rows = subject
    path = tmp_path / "search.journal"
    wanted = Selector(model, stats, rows).select("flow-x", 0.6)
    selector = Selector(model, stats, rows)
    with monkeypatch.context() as patch:
        _Interrupted(patch, after=20)
        with pytest.raises(KeyboardInterrupt):
            selector.select("flow-x", 0.6, journal=path)
    assert len(path.read_text().splitlines()) == 21  # a header and 20 losses
    with pytest.raises(DataError, match="the journal of another search"):
        selector.select("flow-x", 0.7, journal=path)
    with monkeypatch.context() as patch:
        _Interrupted(patch, after=wanted.details["evaluations"] - 20)  # nothing measured twice
        again = Selector(model, stats, rows).select("flow-x", 0.6, journal=path)
    assert again.plan == wanted.plan
    losses = path.read_text()
    with monkeypatch.context() as patch:
        _Interrupted(patch, after=0)
        assert Selector(model, stats, rows).select("flow-x", 0.6, journal=path).plan == wanted.plan
    assert path.read_text() == losses
    path.write_text('{"sear')  # cut short before its header was whole: as if there were none
    assert Selector(model, stats, rows).select("flow-x", 0.6, journal=path).plan == wanted.plan


def test_excluded_layers_stay_dense_inside_the_target(subject):
    model, stats, rows = subject
    name = next(iter(Selector(model, stats, rows).shapes))
    selector = Selector(model, stats, rows, exclude=[name])
    for method in METHODS:
        selection = selector.select(method, 0.5)
        assert selection.plan.resolve(selector.shapes)[name] == NmPattern(1, 1)
        assert _zeros(model, selection.plan, stats) >= 0.5
    with pytest.raises(DataError, match="matches none of"):
        Selector(model, stats, rows, exclude=["nowhere"])


def test_a_limit_on_cycles_is_kept(subject):
    model, stats, rows = subject
    config = load_config("tiny").replace(max_k=4096)
    selector = Selector(model, stats, rows, config)
    free = selector.select("flow-x", 0.25)
    limit = 0.99 * selector.cycles(free)  # passes make cycles follow the weights kept: 3 % are out
    limited = selector.select("flow-x", 0.25, max_cycles=limit)
    assert selector.cycles(limited) <= limit < selector.cycles(free)
    with pytest.raises(DataError, match="within 10 cycles"):
        selector.select("flow-x", 0.25, max_cycles=10)
    with pytest.raises(ConfigError, match="only flow-x"):
        selector.select("owl", 0.25, max_cycles=1e9)
    with pytest.raises(ConfigError, match="needs a hardware configuration"):
        Selector(model, stats, rows).select("flow-x", 0.25, max_cycles=1e9)


def test_pair_hardware_has_the_published_candidates_and_shared_positions(subject):
    model, stats, rows = subject
    selection = Selector(model, stats, rows, load_config("pair")).select("flow-x", 0.6)
    assert selection.plan.granularity == "tile"
    assert {p.m for p in selection.plan.layers.values()} <= {1, 2, 4, 8}
    assert _zeros(model, selection.plan, stats) >= 0.6


def test_what_cannot_be_selected(subject):
    model, stats, rows = subject
    selector = Selector(model, stats, rows)
    with pytest.raises(ConfigError, match="method must be one of uniform, owl, flow, flow-x"):
        selector.select("best", 0.5)
    with pytest.raises(DataError, match=r"0\.9 is out of reach.*at most 0\.875"):
        selector.select("flow", 0.9)
    foreign = type(stats)({}, 0, 0)
    with pytest.raises(DataError, match="no calibration statistics"):
        Selector(model, foreign, rows).select("owl", 0.5)
    variants = Variants(model, foreign)
    with pytest.raises(DataError, match="no calibration statistics"):
        variants.set(next(iter(variants.shapes)), NmPattern(2, 4))


def test_cycles_of_a_pattern_are_those_of_its_program():
    from types import SimpleNamespace

    import cimforge as cf
    from cimforge_sw.compile.cost import pattern_cycles

    config = load_config("tiny")
    rng = np.random.default_rng(0)
    for text in ("1:2", "2:4", "1:4", "3:4", "1:1", "1:8", "2:8"):
        pattern = NmPattern.parse(text)
        weight = rng.integers(1, 100, (9, 32))
        keep = np.tile(np.arange(32) % pattern.m < pattern.n, (9, 1))
        layer = SimpleNamespace(weight=weight * keep, pattern=pattern)
        program = cf.compile({"l": layer}, config, 5)
        assert cf.estimate(program, "l").cycles == pattern_cycles(config, 9, 32, pattern, 5), text


def test_excluded_layers_need_no_text_that_reaches_them(tmp_path):
    """FalconMamba's ``dt_proj`` is used by its weight, which no hook sees."""
    model, rows = load_model(save_family("falconmamba", tmp_path)), token_rows(8, 10)
    with pytest.raises(DataError, match="calibration never reached 2"):
        flow_x(model, rows, sparsity=0.4)
    exclude = ["*.dt_proj"]
    for update in (False, True):
        found = flow_x(model, rows, sparsity=0.4, exclude=exclude, update=update)
        patterns = found.plan.resolve(linear_layers(model.module))
        assert {str(p) for n, p in patterns.items() if n.endswith("dt_proj")} == {"1:1"}
        assert prune_with_update(model, found.plan, rows).sparsity >= 0.4
    stats = calibrate(model, rows, exclude=exclude)
    for method in METHODS:
        assert Selector(model, stats, rows, exclude=exclude).select(method, 0.4).sparsity >= 0.4
    details = flow(model, stats, 0.4, exclude=exclude).details
    assert [value is None for value in details["presence"]] == [
        name.endswith("dt_proj") for name in linear_layers(model.module)]
    json.dumps(details, allow_nan=False)
    assert len(gram_matrices(model, rows, exclude=exclude)) == len(stats.layers)


def test_excluded_layers_have_no_say_in_what_others_get(subject):
    model, stats, rows = subject
    name = next(iter(stats.layers))
    selector = Selector(model, stats, rows, exclude=[name])
    others = replace(stats, layers={n: s for n, s in stats.layers.items() if n != name})
    for method in ("owl", "flow"):
        plan = selector.select(method, 0.5).plan
        assert replace(selector, stats=others).select(method, 0.5).plan == plan


@pytest.mark.parametrize(("method", "target", "options", "message"), [
    ("best", 0.5, {}, "method must be one of uniform, owl, flow, flow-x, not 'best'"),
    ("uniform", 0.5, {"mode": "fast"}, "mode must be one of latency, balanced, accuracy, not"),
    ("flow", "0.6", {}, "the sparsity target must be a number in 0 .. 1, not '0.6'"),
    ("flow", float("nan"), {}, r"the sparsity target must be a number in 0 \.\. 1, not nan"),
    ("flow", 1.0, {}, "the sparsity target must be a number in"),
    ("flow-x", 0.5, {"max_cycles": -1.0}, "max_cycles must be a positive number, not -1"),
    ("flow-x", 0.25, {"max_cycles": 10}, "within 10 cycles"),
    ("owl", 0.25, {"max_cycles": 1e9}, "only flow-x"),
    ("flow", 0.99, {}, "out of reach"),
])
def test_requests_are_checked_before_any_statistics(subject, method, target, options, message):
    model, stats, rows = subject
    selector = Selector(model, type(stats)({}, 0, 0), rows, load_config("tiny").replace(max_k=4096))
    with pytest.raises(CimforgeError, match=message):
        selector.check(method, target, **options)
