"""Recovery and fidelity: errors as defined, less than the projection's, and near the optimum."""

import pytest
import torch

from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.monarch.factors import Factors, project
from cimforge_sw.monarch.fidelity import Errors, LayerFidelity, relative_errors
from cimforge_sw.monarch.recover import recover
from cimforge_sw.monarch.shape import MonarchShape

SHAPES = [MonarchShape(24, 36, 6, 4), MonarchShape(36, 24, 4, 6, rank=2, order="contiguous"),
          MonarchShape(21, 30, 6, 6, padded=(36, 36)), MonarchShape(30, 10, 6, 6, rank=3,
                                                                    padded=(36, 36)),
          MonarchShape(12, 16, 4, 3, rank=4),
          MonarchShape(20, 14, 4, 5, rank=2, order="contiguous", padded=(20, 20)),
          MonarchShape(9, 8, 1, 1, rank=3), MonarchShape(12, 48, 3, 3, rank=2),
          MonarchShape(5, 40, 4, 4, rank=2, padded=(8, 40)),
          MonarchShape(3, 40, 4, 4, rank=2, padded=(8, 40))]


def layer(shape, seed=0, tokens=400):
    """Return a weight, and inputs [T, K] that depend on each other as activations do."""
    generator = torch.Generator().manual_seed(seed)
    outputs, inputs = shape.outputs, shape.inputs
    mix = torch.randn(inputs, inputs, generator=generator) / inputs ** 0.5
    mix += torch.diag(3 ** torch.randn(inputs, generator=generator))
    x = torch.randn(tokens, inputs, generator=generator) @ mix + 0.5
    return torch.randn(outputs, inputs, generator=generator), x.double()


def missed(weight, factors, x):
    """Return the squared error of the outputs, from the outputs."""
    return float((x @ (weight.double() - factors.dense().double()).T).square().sum())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("damp", [0.0, 0.01])
def test_outputs_get_better_and_the_type_stays(shape, damp):
    weight, x = layer(shape)
    start = project(weight, shape)
    found = recover(weight, x.T @ x, start, damp=damp)
    assert found.shape == shape
    assert found.right.dtype == found.left.dtype == torch.float32
    assert missed(weight, found, x) < 0.9 * missed(weight, start, x) or (
        missed(weight, start, x) < 1e-6 * float((x @ weight.double().T).square().sum()))


@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
def test_more_turns_are_never_worse(shape):
    weight, x = layer(shape, seed=1)
    start = project(weight.double(), shape)
    errors = [missed(weight, start, x)]
    for sweeps in (1, 2, 4, 8):
        found = recover(weight.double(), x.T @ x, start, damp=0, sweeps=sweeps, tolerance=0)
        errors.append(missed(weight, found, x))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[1]
    early = recover(weight.double(), x.T @ x, start, damp=0, sweeps=8, tolerance=0.5)
    assert missed(weight, early, x) in (pytest.approx(errors[1]), pytest.approx(errors[2]))


def test_where_it_ends_no_small_change_helps():
    shape = MonarchShape(8, 12, 4, 2)
    weight, x = layer(shape, seed=2)
    gram = x.T @ x
    found = recover(weight.double(), gram, project(weight.double(), shape), damp=0, sweeps=2000,
                    tolerance=1e-15)
    right, left = (part.clone().requires_grad_() for part in (found.right, found.left))
    error = weight.double() - Factors(shape, right, left).dense()
    loss = ((error @ gram) * error).sum() / ((weight.double() @ gram) * weight.double()).sum()
    loss.backward()
    assert max(float(right.grad.abs().max()), float(left.grad.abs().max())) < 1e-6


def test_independent_inputs_change_nothing():
    shape = MonarchShape(24, 36, 6, 4, rank=2)
    weight, _ = layer(shape, seed=3)
    start = project(weight.double(), shape)
    found = recover(weight.double(), 7.0 * torch.eye(36, dtype=torch.float64), start)
    torch.testing.assert_close(found.dense(), start.dense(), rtol=0, atol=1e-10)


def test_a_monarch_matrix_stays_exact():
    shape = MonarchShape(24, 36, 6, 4, rank=2)
    weight, x = layer(shape, seed=4)
    exact = project(weight.double(), shape)
    found = recover(exact.dense(), x.T @ x, exact)
    torch.testing.assert_close(found.dense(), exact.dense(), rtol=0, atol=1e-9)


def test_a_good_start_is_kept():
    shape = MonarchShape(24, 36, 6, 4)
    weight, x = layer(shape, seed=5)
    gram = x.T @ x
    good = recover(weight.double(), gram, project(weight.double(), shape), damp=0, sweeps=50)
    again = recover(weight.double(), gram, good, damp=100.0, sweeps=1)  # pulls to the projection
    assert missed(weight, again, x) <= missed(weight, good, x)
    assert again is good


def test_inputs_that_never_were_active_disturb_nothing():
    shape = MonarchShape(24, 36, 6, 4)
    weight, x = layer(shape, seed=6)
    x[:, [0, 7, 35]] = 0
    start = project(weight, shape)
    found = recover(weight, x.T @ x, start, damp=0)
    assert missed(weight, found, x) < 0.9 * missed(weight, start, x)
    silent = recover(weight, torch.zeros(36, 36), start)
    assert torch.isfinite(silent.dense()).all()


@pytest.mark.parametrize(("change", "options", "error", "message"), [
    (lambda w, g: (w[1:], g), {}, DataError, r"expected weight \[24, 36\], not \[23, 36\]"),
    (lambda w, g: (w, g[1:]), {}, DataError, r"expected gram \[36, 36\], not \[35, 36\]"),
    (lambda w, g: (w, g * torch.nan), {}, DataError, "gram has NaN or infinite values"),
    (lambda w, g: (w / 0, g), {}, DataError, "weight has NaN or infinite values"),
    (lambda w, g: (w, -g), {}, DataError, "the Gram matrix of 36 inputs is singular: calibrate on"),
    (lambda w, g: (w, torch.ones(36, 36)), {"damp": 0}, DataError, "or use a larger damp"),
    (lambda w, g: (w, g), {"damp": -1}, ConfigError, "damp must be 0 or more, not -1"),
    (lambda w, g: (w, g), {"tolerance": float("nan")}, ConfigError, "tolerance must be 0 or more"),
    (lambda w, g: (w, g), {"sweeps": 0}, ConfigError, "sweeps must be an integer of at least 1"),
])
def test_unusable_arguments_are_refused(change, options, error, message):
    shape = MonarchShape(24, 36, 6, 4)
    weight, x = layer(shape)
    start = project(weight, shape)
    weight, gram = change(weight, x.T @ x)
    with pytest.raises(error, match=message):
        recover(weight, gram, start, **options)


def test_errors_are_those_of_weights_and_outputs():
    weight, x = layer(SHAPES[0])
    other = weight + 0.1 * torch.randn_like(weight)
    errors = relative_errors(weight, other, x.T @ x)
    change = (other - weight).double()
    assert errors.weight == pytest.approx(float(change.norm() / weight.double().norm()))
    outputs = x @ weight.double().T
    assert errors.output == pytest.approx(float((x @ change.T).norm() / outputs.norm()))
    assert relative_errors(weight, other) == Errors(errors.weight, None)
    assert relative_errors(weight, weight, x.T @ x) == Errors(0.0, 0.0)
    assert relative_errors(weight, 0 * weight, x.T @ x).output == pytest.approx(1)
    assert relative_errors(0 * weight, weight).weight == 1
    assert relative_errors(0 * weight, 0 * weight).weight == 0
    with pytest.raises(DataError, match=r"not \[24, 36\], \[24, 36\] and \[35, 36\]"):
        relative_errors(weight, other, torch.eye(36)[1:])


def test_the_errors_of_a_layer_are_the_last_ones():
    record = LayerFidelity("a", 2, 2, "1x1", None, Errors(0.5, 0.4))
    assert record.errors == Errors(0.5, 0.4)
    assert LayerFidelity("a", 2, 2, "1x1", None, Errors(0.5), Errors(0.6)).errors == Errors(0.6)
