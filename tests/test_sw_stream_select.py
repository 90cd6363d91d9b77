"""Selection without the model in memory chooses what it chooses with it."""

import pytest
from sw_checkpoints import save_tiny, token_rows

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.yaml_config import load_config
from cimforge_sw.calibration import calibrate
from cimforge_sw.models import load_model
from cimforge_sw.select import Selector, uniform_mixes
from cimforge_sw.stream_select import STREAMED_METHODS, stream_select


@pytest.fixture(scope="module", params=["llama", "gpt2", "mamba"])
def source(request, tmp_path_factory):
    return save_tiny(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize(("method", "preset"), [
    ("owl", None), ("owl", "default"), ("flow", None), ("flow", "default"), ("flow", "pair")])
def test_outliers_choose_the_same_plan(source, method, preset):
    config, rows = preset and load_config(preset), token_rows(8, 12)
    model = load_model(source)
    whole = Selector(model, calibrate(model, rows), rows, config)
    wanted = whole.select(method, 0.6)
    made = stream_select(source, rows, config, method=method, sparsity=0.6)
    assert made.plan == wanted.plan
    assert (made.sparsity, made.method) == (wanted.sparsity, method)
    assert made.details["presence"] == [entry.presence for entry in whole.outliers]
    assert made.details["locality"] == [entry.locality for entry in whole.outliers]
    if config is not None:
        assert made.details["cycles"] == whole.cycles(wanted)


@pytest.mark.parametrize("method", ["owl", "flow"])
def test_excluded_layers_have_no_outliers_and_no_say(source, method):
    rows, model = token_rows(8, 12), load_model(source)
    exclude = [next(iter(calibrate(model, rows[:1]).layers))]
    whole = Selector(model, calibrate(model, rows, exclude=exclude), rows, exclude=exclude)
    made = stream_select(source, rows, method=method, sparsity=0.5, exclude=exclude)
    assert made.plan == whole.select(method, 0.5).plan
    assert made.details["presence"][0] is None
    assert made.details["locality"] == [entry and entry.locality for entry in whole.outliers]


@pytest.mark.parametrize("target", [0.5, 0.6])
def test_uniform_needs_no_text_and_spreads_its_mix(source, target):
    model = load_model(source)
    stats = calibrate(model, token_rows(2, 8))
    glob = min(stats.layers)
    selector = Selector(model, stats, (), exclude=[glob])
    mixes = uniform_mixes(selector.budget(target))
    made = stream_select(source, None, method="uniform", sparsity=target, exclude=[glob])
    assert made.plan in [mix.plan for mix in mixes]
    assert made.details["what"] in ("spread", mixes[0].details["what"])
    assert made.sparsity >= target


def test_what_is_refused_before_a_block_is_read(source, monkeypatch):
    monkeypatch.setattr("cimforge_sw.skeleton.Skeleton.load", None)
    rows = token_rows(2, 8)
    for options, error, message in (
            ({"method": "flow-x", "sparsity": 0.5}, ConfigError,
             "selected for by one of uniform, owl, flow, not flow-x"),
            ({"method": "flow", "sparsity": 1.5}, ConfigError, "a number in 0 .. 1, not 1.5"),
            ({"method": "flow", "sparsity": 0.5, "mode": "fast"}, ConfigError, "mode must be one"),
            ({"method": "flow", "sparsity": 0.95}, DataError, "0.95 is out of reach"),
            ({"method": "owl", "sparsity": 0.5, "exclude": ["foo"]}, DataError,
             "'foo' matches none of")):
        with pytest.raises(error, match=message):
            stream_select(source, rows, **options)
    with pytest.raises(ConfigError, match="owl counts outliers on calibration texts"):
        stream_select(source, None, method="owl", sparsity=0.5)
    assert "flow-x" not in STREAMED_METHODS
