"""How a layer's blocks are chosen, as text that a person can write: a rule makes the shape."""

import re
from dataclasses import dataclass
from math import isqrt

from cimforge.spec.checks import check_integer
from cimforge.spec.errors import ConfigError
from cimforge_sw.monarch.shape import MonarchShape, factor_pair

__all__ = ["MonarchRule"]

_TEXT = re.compile(r"(dense|square|sqrt|(\d+)x(\d+))(?: r(\d+))?")


@dataclass(frozen=True)
class MonarchRule:
    """Blocks and rank of a layer, whatever its size.

    Parameters
    ----------
    blocks : str
        ``"square"``: zero-padding to n = b², b blocks on both sides, as arXiv 2510.11192 does.
        ``"sqrt"``: nothing padded; k is the larger of the nearest factor pair of K, j the smaller
        of that of O (`factor_pair`). ``"12x8"``: k = 12 and j = 8, which must divide K and O.
        ``"dense"``: not converted.
    rank : int
        r of every slice.

    Raises
    ------
    ConfigError
        Another text, or a rank below 1, or one for a dense layer.

    Examples
    --------
    >>> rule = MonarchRule.parse("12x12 r4")
    >>> rule.shape(1536, 384).weights, str(MonarchRule.parse("square").shape(1024, 4096))
    (92160, '64x64')
    """

    blocks: str
    rank: int = 1

    def __post_init__(self):
        if " " in str(self.blocks) or not _TEXT.fullmatch(str(self.blocks)):
            raise ConfigError(f"blocks must be square, sqrt, dense, or input by output blocks such "
                              f"as 12x12, not {self.blocks!r}")
        check_integer("rank", self.rank, 1)
        if self.dense and self.rank != 1:
            raise ConfigError(f"a dense layer has no rank, not {self.rank}")

    @classmethod
    def parse(cls, text: "str | MonarchRule") -> "MonarchRule":
        """Read ``"square"``, ``"sqrt r2"``, ``"12x12 r4"``, ``"dense"``; a rule stays as it is.

        Raises
        ------
        ConfigError
            Anything else.
        """
        if isinstance(text, MonarchRule):
            return text
        match = _TEXT.fullmatch(str(text))
        if match is None:
            raise ConfigError("a Monarch rule is square, sqrt, dense, or input by output blocks, "
                              f"and a rank, such as '12x12 r4', not {text!r}")
        return cls(match[1], int(match[4] or 1))

    def __str__(self) -> str:
        return self.blocks + (f" r{self.rank}" if self.rank > 1 else "")

    @property
    def dense(self) -> bool:
        """Whether the layer stays as it is."""
        return self.blocks == "dense"

    def shape(self, outputs: int, inputs: int, order: str = "strided") -> MonarchShape:
        """Return the shape of a layer.

        Raises
        ------
        ConfigError
            Blocks that do not divide a side, no factor pair, a rank too large, or a dense rule.
        """
        check_integer("outputs", outputs, 1)
        check_integer("inputs", inputs, 1)
        if self.blocks == "square":
            side = isqrt(max(outputs, inputs) - 1) + 1
            return MonarchShape(outputs, inputs, side, side, self.rank, order, (side ** 2,) * 2)
        if self.blocks == "sqrt":
            k, j = factor_pair(inputs)[0], factor_pair(outputs)[1]
            return MonarchShape(outputs, inputs, k, j, self.rank, order)
        if self.dense:
            raise ConfigError("a dense rule has no Monarch shape")
        k, j = map(int, self.blocks.split("x"))
        return MonarchShape(outputs, inputs, k, j, self.rank, order)
