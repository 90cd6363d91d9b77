"""Stall patterns repeat for a seed, differ between streams, and never stop a stream for good."""

from itertools import islice

import pytest

from cimforge.spec.errors import ConfigError
from cimforge_verif.sim.stalls import always_ready, bursts, random_stalls, stall_pattern


def first(pattern, count=2000):
    return list(islice(pattern, count))


def test_always_ready():
    assert not any(first(always_ready()))


def test_random_stalls_repeat_and_have_their_rate():
    one = first(random_stalls(3, 0.25))
    assert one == first(random_stalls(3, 0.25))
    assert one != first(random_stalls(4, 0.25))
    assert 0.2 < sum(one) / len(one) < 0.3


def test_bursts():
    assert first(bursts(2, 3), 7) == [False, False, True, True, True, False, False]
    assert first(bursts(1, 2, phase=1), 3) == [True, True, False]


def test_streams_of_one_seed_differ():
    assert first(stall_pattern(0.5, 1, "acts")) != first(stall_pattern(0.5, 1, "weights"))
    assert not any(first(stall_pattern(0.0, 1, "acts")))


@pytest.mark.parametrize("probability", [-0.1, 1, 1.5])
def test_a_stream_that_never_moves_is_refused(probability):
    with pytest.raises(ConfigError, match=r"0\.\.1 and not 1"):
        next(random_stalls(1, probability))


def test_impossible_bursts_are_refused():
    with pytest.raises(ConfigError, match="go >= 1"):
        next(bursts(0, 1))
