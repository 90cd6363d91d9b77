"""Monarch factors: equal to their permutation matrices, exact where they can be, never beaten."""

import pytest
import torch

from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.monarch.factors import Factors, _reference, project
from cimforge_sw.monarch.rule import MonarchRule
from cimforge_sw.monarch.shape import MonarchShape, factor_pair

# Squares, sizes that are no squares, rectangles both ways, ranks, padding, both orders.
SHAPES = [
    MonarchShape(1, 1, 1, 1),
    MonarchShape(4, 4, 2, 2),
    MonarchShape(16, 16, 4, 4),
    MonarchShape(64, 64, 8, 8, order="contiguous"),
    MonarchShape(42, 42, 7, 6),
    MonarchShape(15, 15, 5, 3, order="contiguous"),
    MonarchShape(48, 12, 3, 4, rank=3),
    MonarchShape(12, 48, 6, 2, rank=4, order="contiguous"),
    MonarchShape(24, 30, 5, 4, rank=6),
    MonarchShape(20, 9, 1, 1, rank=5),
    MonarchShape(10, 13, 4, 4, padded=(16, 16)),
    MonarchShape(3, 16, 4, 4, rank=2, padded=(16, 16)),
    MonarchShape(16, 2, 4, 4, rank=4, padded=(16, 16)),
    MonarchShape(14, 5, 4, 4, rank=2, order="contiguous", padded=(16, 16)),
    MonarchShape(5, 14, 3, 2, order="contiguous", padded=(6, 15)),
]


def random_factors(shape, seed=0):
    """Return factors in float64 whose slices have all kinds of sizes."""
    generator = torch.Generator().manual_seed(seed)
    right = torch.randn(shape.right, generator=generator, dtype=torch.float64)
    left = torch.randn(shape.left, generator=generator, dtype=torch.float64)
    return Factors(shape, right * 10 ** torch.randn(shape.right[0], 1, 1, generator=generator),
                   left)


def frobenius(weight, factors):
    """Return the squared error of factors."""
    return float((weight - factors.dense()).square().sum())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_dense_and_products_equal_the_permutation_matrices(shape):
    factors = random_factors(shape)
    matrix = _reference(factors)
    assert matrix.shape == (shape.outputs, shape.inputs)
    torch.testing.assert_close(factors.dense(), matrix, rtol=0, atol=1e-9)
    x = torch.randn(2, 3, shape.inputs, dtype=torch.float64)
    torch.testing.assert_close(factors.apply(x), x @ matrix.T, rtol=1e-9, atol=1e-9)
    assert factors.apply(x[0, :0]).shape == (0, shape.outputs)


@pytest.mark.parametrize("b", [2, 3, 5])
@pytest.mark.parametrize("order", ["strided", "contiguous"])
def test_a_square_is_plprp_with_one_permutation(b, order):
    factors = random_factors(MonarchShape(b * b, b * b, b, b, order=order))
    p = torch.eye(b * b, dtype=torch.float64).view(b, b, b * b).transpose(0, 1).reshape(b * b, -1)
    assert torch.equal(p, p.T)
    assert not torch.equal(p, torch.eye(b * b, dtype=torch.float64))
    left, right = torch.block_diag(*factors.left), torch.block_diag(*factors.right)
    matrix = p @ left @ p @ right @ (p if order == "strided" else torch.eye(b * b).double())
    torch.testing.assert_close(factors.dense(), matrix)
    torch.testing.assert_close(_reference(factors), matrix)


def test_elements_follow_the_formula():
    shape = MonarchShape(6, 8, 4, 3, rank=2)
    factors, matrix = random_factors(shape), torch.zeros(6, 8, dtype=torch.float64)
    for row in range(2):
        for j in range(3):
            for k in range(4):
                for i in range(2):
                    for rho in range(2):
                        matrix[row * 3 + j, i * 4 + k] += (
                            factors.left[j, row, k * 2 + rho] * factors.right[k, rho * 3 + j, i])
    torch.testing.assert_close(factors.dense(), matrix)


@pytest.mark.parametrize("shape", [*SHAPES, MonarchRule("sqrt").shape(384, 1536),
                                   MonarchRule("square").shape(96, 384),
                                   MonarchRule("12x12", 8).shape(384, 384)], ids=str)
def test_a_monarch_matrix_is_recovered(shape):
    matrix = random_factors(shape).dense()
    again = project(matrix, shape)
    assert float((again.dense() - matrix).abs().max()) <= 1e-10 * float(matrix.abs().max())
    single = project(matrix.float(), shape)
    assert single.left.dtype == single.right.dtype == torch.float32


def test_another_matrix_is_not_recovered():
    weight = torch.randn(16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert frobenius(weight, project(weight, MonarchShape(16, 16, 4, 4))) > 1
    assert frobenius(weight, project(weight, MonarchShape(16, 16, 4, 4, rank=4))) < 1e-20


@pytest.mark.parametrize("shape", [
    MonarchShape(36, 36, 6, 6), MonarchShape(24, 36, 4, 6, rank=2),
    MonarchShape(30, 21, 6, 6, padded=(36, 36)), MonarchShape(12, 12, 4, 3, order="contiguous"),
], ids=str)
def test_the_projection_is_never_beaten(shape):
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(shape.outputs, shape.inputs, generator=generator, dtype=torch.float64)
    best = project(weight, shape)
    least = frobenius(weight, best)
    assert least > 0.1
    for trial in range(200):
        size = 10.0 ** -(trial % 5)
        right, left = (part + size * torch.randn(part.shape, generator=generator).double()
                       for part in (best.right, best.left))
        assert frobenius(weight, Factors(shape, right, left)) >= least
    assert frobenius(weight, Factors(shape, best.right * 1.001, best.left)) > least
    other = random_factors(shape, seed=3)  # the trials could notice a start that is not the best
    assert any(frobenius(weight, Factors(shape, other.right, other.left * (1 - step)))
               < frobenius(weight, other) for step in (0.1, 0.01))


def test_singular_values_are_split_evenly():
    factors = project(torch.randn(36, 36, dtype=torch.float64), MonarchShape(36, 36, 6, 6))
    right = factors.right.norm(dim=2)  # [k, j]
    left = factors.left.norm(dim=1).T  # [j, k]
    torch.testing.assert_close(right, left)


def test_padding_is_never_in_the_factors():
    shape = MonarchShape(14, 5, 4, 4, padded=(16, 16))
    factors = project(torch.randn(14, 5), shape)
    assert not factors.right[:, :, 2:].any()
    assert not factors.right[1:, :, 1].any()
    assert factors.left[2:, 3].eq(0).all()
    useful = int(factors.right.count_nonzero() + factors.left.count_nonzero())
    assert useful == shape.useful_weights == 4 * 5 + 4 * 14
    assert factors.right.numel() + factors.left.numel() == shape.weights == 128


@pytest.mark.parametrize(("n", "pair"), [(4, (2, 2)), (6, (3, 2)), (15, (5, 3)), (36, (6, 6)),
                                         (42, (7, 6)), (384, (24, 16)), (1536, (48, 32))])
def test_factor_pairs_are_the_nearest_and_the_larger_first(n, pair):
    assert factor_pair(n) == pair


@pytest.mark.parametrize("n", [1, 2, 37])
def test_a_size_without_factors_says_so(n):
    with pytest.raises(ConfigError, match=rf"{n} has no factor pair but {n} x 1; expected"):
        factor_pair(n)


@pytest.mark.parametrize(("arguments", "message"), [
    ((6, 8, 3, 3), "in_blocks must divide 8 inputs, such as 2 or 4, not 3"),
    ((6, 8, 4, 4), "out_blocks must divide 6 outputs, such as 3 or 6, not 4"),
    ((6, 8, 4, 3, 3), "rank must be at most 2 for slices of 2 x 2, not 3"),
    ((6, 8, 0, 3), "in_blocks must be an integer of at least 1, not 0"),
    ((6.0, 8, 4, 3), r"outputs must be an integer of at least 1, not 6\.0"),
    ((6, 8, 4, 3, True), "rank must be an integer of at least 1, not True"),
    ((6, 8, 4, 3, 1, "rows"), "order must be one of strided, contiguous, not 'rows'"),
    ((6, 8, 2, 2, 1, "strided", (4, 8)), "padded must be two integers, at least 6 outputs"),
    ((6, 8, 2, 2, 1, "strided", (8, 8.0)), r"and 8 inputs, not \(8, 8\.0\)"),
    ((6, 8, 3, 3, 1, "strided", (9, 10)), "in_blocks must divide 10 inputs, such as 2 or 5"),
])
def test_impossible_shapes_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        MonarchShape(*arguments)


def test_what_does_not_fit_is_refused():
    shape = MonarchShape(6, 8, 4, 3)
    good = random_factors(shape)
    with pytest.raises(DataError, match=r"expected a weight \[6, 8\], not \[8, 6\]"):
        project(torch.ones(8, 6), shape)
    with pytest.raises(DataError, match="NaN or infinite weights cannot be projected"):
        project(torch.full((6, 8), torch.inf), shape)
    with pytest.raises(DataError, match=r"the left factor of 4x3 as \[3, 2, 4\], not \[3, 4, 2\]"):
        Factors(shape, good.right, good.left.transpose(1, 2))
    with pytest.raises(DataError, match=r"expected inputs \[T, 8\], not \[2, 7\]"):
        good.apply(torch.ones(2, 7).double())
