"""The Python API: what it refuses, and that its documentation runs."""

import doctest
import importlib
import json
import pkgutil
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sw_checkpoints import save_tiny, token_rows

import cimforge as cf
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge_verif.sim import layers as sim_layers


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_tiny("bert", tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def model(checkpoint):
    return cf.load_model(checkpoint)


@pytest.fixture(scope="module")
def program():
    weight = np.tile(np.array([3, 0, 0, -5], dtype=np.int8), (6, 4))
    layer = SimpleNamespace(weight=weight, pattern=NmPattern(2, 4), act_scale=0.5)
    return cf.compile({"fc": layer}, cf.load_config("tiny"), tokens=2)


def test_every_public_name_exists():
    for name in cf.__all__:
        assert callable(getattr(cf, name)), name
    with pytest.raises(AttributeError, match="no attribute 'flows'"):
        cf.flows  # noqa: B018


def test_no_module_hides_a_public_function():
    """Importing ``cimforge.x`` would replace ``cf.x`` for the rest of the process."""
    modules = {module.name for module in pkgutil.iter_modules(cf.__path__)}
    assert not modules & set(cf.__all__)


def test_examples_run():
    count = 0
    for module in pkgutil.walk_packages(cf.__path__, "cimforge."):
        if not module.name.endswith("__main__"):
            result = doctest.testmod(importlib.import_module(module.name))
            assert result.failed == 0, module.name
            count += result.attempted
    assert count >= 15


def test_any_number_of_tokens(program):
    x = np.arange(7 * 16).reshape(7, 16) % 100
    result = cf.simulate(program, layer="fc", inputs=x)
    assert result.y.shape == (7, 6)


def test_float_inputs_are_quantized_by_the_calibrated_scale(program):
    x = np.linspace(-100, 100, 32, dtype=np.float32).reshape(2, 16)
    vectors = cf.vectors(program, layer="fc", inputs=x)
    assert (vectors.x == np.clip(np.rint(x / np.float32(0.5)), -127, 127)).all()


@pytest.mark.parametrize(("inputs", "message"), [
    (np.zeros((2, 15), np.int8), r"fc: inputs must have shape \(tokens, 16\), not \(2, 15\)"),
    (np.zeros(16, np.int8), r"fc: inputs must have shape"),
    (np.full((2, 16), np.nan), r"fc: inputs contain NaN or infinity"),
    (np.full((2, 16), 200), r"must be in -128\.\.127"),
])
def test_bad_inputs(program, inputs, message):
    with pytest.raises(ValueError, match=message):
        cf.vectors(program, layer="fc", inputs=inputs)


def test_unknown_layer_and_backend(program):
    x = np.zeros((2, 16), np.int8)
    with pytest.raises(ValueError, match=r"no layer named 'fx'; its layers are fc"):
        cf.simulate(program, layer="fx", inputs=x)
    with pytest.raises(ValueError, match="one of golden, cocotb, batch, not 'fpga'"):
        cf.simulate(program, layer="fc", inputs=x, backend="fpga")


def test_pattern_that_the_weights_break():
    layer = SimpleNamespace(weight=np.ones((4, 8), np.int8), pattern=NmPattern(2, 4))
    with pytest.raises(ValueError, match=r"fc.*2:4"):
        cf.compile({"fc": layer}, cf.load_config("tiny"))


@pytest.mark.parametrize(("options", "message"), [
    ({"stalls": "a"}, "stalls must be a probability from 0 to below 1, not 'a'"),
    ({"stalls": -0.1}, r"stalls must be a probability from 0 to below 1, not -0\.1"),
    ({"stalls": 0.1}, r"stalls must be 0 with backend 'golden', .* not 0\.1"),
    ({"seed": -1}, "seed must be an integer of at least 0, not -1"),
    ({"seed": 0.5}, r"seed must be an integer of at least 0, not 0\.5"),
])
def test_bad_options_of_a_simulation(program, options, message):
    with pytest.raises(ConfigError, match=message):
        cf.simulate(program, layer="fc", inputs=np.zeros((2, 16), np.int8), **options)


def test_many_layers_are_emitted_and_simulated_once(monkeypatch):
    """A stand-in for the simulator answers what is expected; the real one runs under tb/."""
    weight = np.tile(np.array([3, 0, 0, -5], dtype=np.int8), (6, 4))
    layer = SimpleNamespace(weight=weight, pattern=NmPattern(2, 4))
    program = cf.compile({"a": layer, "b": layer}, cf.load_config("tiny"), tokens=2)
    calls, seen = [], []

    def simulate_layers(config, rtl, sets, *, stalls, seed, progress):
        calls.append((list(rtl), [made.layer for made in sets], stalls, seed))
        for made in sets:
            progress(made.layer, len(made.results), len(made.results))
        return [SimpleNamespace(counters=made.counters | {"cycles": 7}) for made in sets]
    monkeypatch.setattr(sim_layers, "simulate_layers", simulate_layers)
    x = np.ones((2, 16), np.int8)
    results = cf.simulate_many(program, {"a": x, "b": x}, backend="cocotb", stalls=0.25, seed=3,
                               progress=lambda *at: seen.append(at))
    assert calls == [(["dcim_tile.v"], ["a", "b"], 0.25, 3)]
    assert seen == [(4, 8, "a"), (8, 8, "b")]
    assert [results[name].cycles_counted for name in ("a", "b")] == [7, 7]
    assert isinstance(results["a"], cf.SimulationResult)
    assert (results["a"].y == cf.simulate(program, layer="a", inputs=x).y).all()


@pytest.mark.parametrize(("call", "message"), [
    (lambda m: cf.compile({}, "tiny"),
     r"compile: config must be a DcimConfig \(from cf\.load_config\), not 'tiny'"),
    (lambda m: cf.compile({"fc": SimpleNamespace(weight=np.ones((4, 4), int), pattern="2:4")},
                          cf.load_config("tiny")), "fc: pattern must be an NmPattern, .*not '2:4'"),
    (lambda m: cf.compile({"fc": 3}, cf.load_config("tiny")), "fc: a layer needs a weight and a"),
    (lambda m: cf.compile(m, cf.load_config("tiny")), "compile: layers must be a QuantizedModel"),
    (lambda m: cf.verilog("tiny", "rtl"), "verilog: config must be a DcimConfig"),
    (lambda m: cf.estimate("runs/program", "fc"), "estimate: program must be a Program"),
    (lambda m: cf.prune(m, "2:4", None),
     r"prune: plan must be a Plan \(from cf\.Plan\.uniform or \.load\), not '2:4'"),
    (lambda m: cf.d2s(m, "square"), r"d2s: plan must be a MonarchPlan .*, not 'square'"),
    (lambda m: cf.save_monarch(m, "out"), r"save_monarch: converted must be a MonarchModel \(from"),
    (lambda m: cf.quantize(m, None), "quantize: pruned must be a PrunedModel .*, not a Model"),
    (lambda m: cf.calibrate("bert", [[3]]), "calibrate: model must be a Model .*, not 'bert'"),
    (lambda m: cf.calibrate(m, [3]), "text 0 must be a string or a list of token ids, not 3"),
    (lambda m: cf.calibrate(m, [[1], [0.5]]), r"text 1 must be a string or .*, not \[0\.5\]"),
    (lambda m: cf.calibrate(m, 3), "expected a list of texts, not 3"),
])
def test_something_else_in_the_place_of_an_argument(model, call, message):
    with pytest.raises((ConfigError, DataError), match=message):
        call(model)


def test_arrays_of_token_ids_are_taken(model):
    rows = [np.array(row) for row in token_rows()]
    assert cf.calibrate(model, rows).texts == len(rows)


@pytest.mark.parametrize(("change", "message"), [
    ([1], r"config\.json: expected a JSON object, not list"),
    ({"hidden_size": "x"}, "cannot load this checkpoint: .*'hidden_size' expected int, got str"),
    ({"architectures": ["pipeline"]}, r"'architectures' must name models, not \['pipeline'\]"),
    ({"architectures": 5}, r"config\.json: 'architectures' must be a list of class names, not 5"),
    ({"dtype": "float99"}, "cannot load this checkpoint: .*float99"),
    ({"num_attention_heads": 0}, "cannot load this checkpoint: "),
])
def test_a_configuration_of_no_model(checkpoint, change, message):
    path = checkpoint / "config.json"
    good = path.read_text()
    bad = json.loads(good) | change if isinstance(change, dict) else change
    path.write_text(json.dumps(bad))
    try:
        with pytest.raises(DataError, match=message) as caught:
            cf.load_model(checkpoint)
    finally:
        path.write_text(good)
    assert "\n" not in str(caught.value)


def test_examples_of_the_readme_are_legal(tmp_path):
    text = (Path(__file__).resolve().parents[1] / "README.md").read_text()
    plan, tile = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    for name, content in (("plan.yaml", plan), ("tile.yaml", tile)):
        assert content.startswith(f"# {name}\n")
        (tmp_path / name).write_text(content)
    assert cf.Plan.load(tmp_path / "plan.yaml").layers["*.attention.self.query"] == NmPattern(2, 4)
    assert cf.load_config(tmp_path / "tile.yaml").rows == 64
    code, = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    compile(code, "README.md", "exec")
    assert set(re.findall(r"cf\.(\w+)", text)) <= set(cf.__all__)


@pytest.mark.parametrize(("config", "pattern", "mode", "passes"), [
    ("default", "1:2", "4:8", 1), ("default", "2:4", "4:8", 1), ("default", "1:4", "2:8", 1),
    ("default", "1:1", "8:8", 1), ("fixed_4_8", "1:8", "4:8", 1), ("fixed_2_8", "1:2", "2:8", 2),
    ("pair", "2:4", "2:4", 1), ("pair", "3:8", "1:1", 1), ("pair", "5:8", "1:1", 1),
])
def test_patterns_run_in_the_modes_that_the_readme_says(config, pattern, mode, passes):
    wanted = NmPattern.parse(pattern)
    rank = np.random.default_rng(0).random((64, 32, wanted.m)).argsort(-1).argsort(-1)
    layer = SimpleNamespace(weight=(rank < wanted.n).reshape(64, -1).astype(np.int8),
                            pattern=wanted)
    made = cf.compile({"fc": layer}, cf.load_config(config), tokens=2).layer("fc")
    assert (f"{made.mode.n}:{made.mode.m}", made.passes) == (mode, passes)
