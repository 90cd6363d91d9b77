"""Stall patterns: endless iterators of booleans, True in a cycle in which a stream waits."""

import random
from collections.abc import Iterator
from itertools import repeat

from cimforge.spec.errors import ConfigError

__all__ = ["always_ready", "bursts", "random_stalls", "stall_pattern"]


def always_ready() -> Iterator[bool]:
    """Never wait."""
    return repeat(False)


def random_stalls(seed: int | str, probability: float) -> Iterator[bool]:
    """Wait in every cycle with a probability in 0..1, the same cycles for the same seed.

    A probability of 1 would stop the stream for good, so it must be less.
    """
    if not 0 <= probability < 1:
        raise ConfigError(f"probability of a stall must be in 0..1 and not 1, not {probability!r}")
    source = random.Random(seed)
    while True:
        yield source.random() < probability


def bursts(go: int, wait: int, phase: int = 0) -> Iterator[bool]:
    """``go`` cycles without a stall, then ``wait`` cycles of it, from cycle ``phase`` of that."""
    if go < 1 or wait < 0:
        raise ConfigError(f"bursts need go >= 1 and wait >= 0, not {go!r} and {wait!r}")
    cycle = phase
    while True:
        yield cycle % (go + wait) >= go
        cycle += 1


def stall_pattern(probability: float, seed: int, stream: str) -> Iterator[bool]:
    """Return the pattern of one stream of a bench; streams of one seed differ."""
    if not probability:
        return always_ready()
    return random_stalls(f"{seed}/{stream}", probability)
