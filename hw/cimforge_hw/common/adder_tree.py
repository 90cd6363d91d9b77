"""Balanced, width-growing sums."""

from collections.abc import Sequence

from amaranth import Const, Value

__all__ = ["adder_tree"]


def adder_tree(terms: Sequence[Value]) -> Value:
    """Add terms pairwise; every level grows by a bit, so no sum can overflow."""
    level = list(terms) or [Const(0)]
    while len(level) > 1:
        pairs = [level[i] + level[i + 1] for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2:]
    return level[0]
