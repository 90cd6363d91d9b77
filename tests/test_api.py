"""The Python API: what it refuses, and that its documentation runs."""

import doctest
import importlib
import pkgutil
from types import SimpleNamespace

import numpy as np
import pytest

import cimforge as cf
from cimforge.spec.pattern import NmPattern


@pytest.fixture(scope="module")
def program():
    weight = np.tile(np.array([3, 0, 0, -5], dtype=np.int8), (6, 4))
    layer = SimpleNamespace(weight=weight, pattern=NmPattern(2, 4), act_scale=0.5)
    return cf.compile({"fc": layer}, cf.load_config("tiny"), tokens=2)


def test_every_public_name_exists():
    for name in cf.__all__:
        assert callable(getattr(cf, name)), name
    with pytest.raises(AttributeError, match="no attribute 'flow'"):
        cf.flow  # noqa: B018


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
    with pytest.raises(ValueError, match=r"backend must be one of golden, cocotb, not 'batch'"):
        cf.simulate(program, layer="fc", inputs=x, backend="batch")


def test_pattern_that_the_weights_break():
    layer = SimpleNamespace(weight=np.ones((4, 8), np.int8), pattern=NmPattern(2, 4))
    with pytest.raises(ValueError, match=r"fc.*2:4"):
        cf.compile({"fc": layer}, cf.load_config("tiny"))
