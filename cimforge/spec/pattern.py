"""N:M patterns: at most N weights KEPT in every M consecutive inputs of one output."""

from dataclasses import dataclass

import numpy as np

from cimforge.spec.errors import ConfigError

__all__ = ["MAX_M", "NmPattern", "group_counts"]

MAX_M = 1 << 16  # more than the inputs of any layer that is known; a position fits in 16 bits
_DIGITS = 4000  # Python reads no longer numbers


@dataclass(frozen=True, slots=True, order=True)
class NmPattern:
    """At most ``n`` nonzero weights in every group of ``m`` consecutive inputs.

    Papers disagree on what N counts; here, and everywhere in cimforge, N is what is *kept*.

    Examples
    --------
    >>> NmPattern.parse("2:4").density
    0.5
    >>> str(NmPattern.parse("dense"))
    '1:1'

    Raises
    ------
    ConfigError
        Unless ``1 <= n <= m <= MAX_M``.
    """

    n: int
    m: int

    def __post_init__(self):
        values: tuple[object, ...] = (self.n, self.m)
        for value in values:
            if not isinstance(value, int) or isinstance(value, bool):
                raise ConfigError(f"N:M needs integers, not {self.n!r}:{self.m!r}")
        if not 1 <= self.n <= self.m:
            raise ConfigError(f"N:M keeps N of M weights and needs 1 <= N <= M, "
                              f"not {_shown(self.n)}:{_shown(self.m)}")
        if self.m > MAX_M:
            raise ConfigError(f"N:M keeps N of at most {MAX_M} weights, not of {_shown(self.m)}")

    @classmethod
    def parse(cls, text: str) -> "NmPattern":
        """Read ``"2:4"`` or ``"dense"`` (which is 1:1)."""
        if text == "dense":
            return cls(1, 1)
        n, colon, m = str(text).partition(":")
        if not (colon and n.isdecimal() and m.isdecimal()):
            raise ConfigError(f"expected an N:M pattern such as '2:4', or 'dense', not {text!r}")
        if max(len(n), len(m)) > _DIGITS:
            raise ConfigError(f"N:M keeps N of at most {MAX_M} weights, not of a number of "
                              f"{max(len(n), len(m))} digits")
        return cls(int(n), int(m))

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    @property
    def density(self) -> float:
        """Largest fraction of weights kept."""
        return self.n / self.m


def _shown(number: int) -> str:
    """Return a number as text; of one too long to print, its size."""
    return str(number) if number.bit_length() < 64 else f"a number of {number.bit_length()} bits"


def group_counts(weight: np.ndarray, m: int) -> np.ndarray:
    """Return the nonzeros of every group of ``m`` inputs.

    Parameters
    ----------
    weight : ndarray of shape (O, K)
        Weights or a mask; K is zero-padded to a multiple of ``m``.

    Returns
    -------
    ndarray of int64, shape (O, ceil(K / m))
    """
    outputs, inputs = weight.shape
    m = min(m, max(inputs, 1))  # one short group is one group: nothing is padded to a large M
    padded = np.zeros((outputs, -(-inputs // m) * m), dtype=bool)
    padded[:, :inputs] = weight != 0
    return padded.reshape(outputs, -1, m).sum(axis=-1)
