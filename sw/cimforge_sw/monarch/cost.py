"""Parameters and floating-point operations, dense and as Monarch, from shapes alone."""

from collections.abc import Iterable
from dataclasses import dataclass

from cimforge_sw.monarch.rule import MonarchRule
from cimforge_sw.monarch.shape import MonarchShape

__all__ = ["Cost", "attention_cost", "monarch_cost", "shapes_cost"]


@dataclass(frozen=True)
class Cost:
    """What layers take; costs of several add up with ``sum(costs, Cost())``.

    Parameters
    ----------
    dense_params, params : int
        Weights of the dense matrices and of the factors, padding included; biases are not counted.
    useful_params : int
        Weights of the factors that meet an input that is there and reach an output that is kept.
    dense_flops, flops : int
        Per input vector: a multiplication and an addition for each weight.
    """

    dense_params: int = 0
    params: int = 0
    useful_params: int = 0
    dense_flops: int = 0
    flops: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(mine + its for mine, its in zip(
            vars(self).values(), vars(other).values(), strict=True)))

    @property
    def compression(self) -> float:
        """How many times fewer parameters; 1 for nothing."""
        return self.dense_params / self.params if self.params else 1.0

    @property
    def speedup(self) -> float:
        """How many times fewer floating-point operations; 1 for nothing."""
        return self.dense_flops / self.flops if self.flops else 1.0


def shapes_cost(shapes: Iterable[MonarchShape]) -> Cost:
    """Return the cost of Monarch matrices together."""
    return sum((Cost(shape.outputs * shape.inputs, shape.weights, shape.useful_weights,
                     2 * shape.outputs * shape.inputs, 2 * shape.weights) for shape in shapes),
               Cost())


def monarch_cost(outputs: int, inputs: int, rule: str | MonarchRule) -> Cost:
    """Return the cost of one matrix [O, K] under a rule such as ``"square"``.

    A dense rule costs what the matrix does. Fused matrices count one by one: GPT-2's ``c_attn`` as
    three.

    >>> monarch_cost(1024, 4096, "square").compression
    8.0

    Raises
    ------
    ConfigError
        As `MonarchRule.shape`.
    """
    rule = MonarchRule.parse(rule)
    if rule.dense:
        weights = outputs * inputs
        return Cost(weights, weights, weights, 2 * weights, 2 * weights)
    return shapes_cost([rule.shape(outputs, inputs)])


def attention_cost(tokens: int, width: int) -> Cost:
    """Return what ``Q K^T`` and ``A V`` take per token, which D2S leaves as they are.

    Each is a product of a vector with ``tokens`` others of ``width`` elements, all heads together.
    """
    flops = 2 * 2 * tokens * width
    return Cost(dense_flops=flops, flops=flops)
