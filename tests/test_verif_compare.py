"""A difference is reported with its place and surroundings, and none goes unseen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimforge_verif.compare import Mismatch, assert_equal, first_difference

BEATS = np.arange(12).reshape(3, 4)


def changed(*position, to=99):
    array = BEATS.copy()
    array[position] = to
    return array


@pytest.mark.parametrize(("actual", "expected", "axes", "message"), [
    (changed(1, 2), BEATS, ("beat", "lane"),
     ("results: first difference at beat 1, lane 2: expected 6, got 99; 1 of 12 differ; around it "
     "expected [4, 5, 6, 7], got [4, 5, 99, 7]")),
    (changed(slice(1, 3), 0), BEATS, (),
     ("results: first difference at [1, 0]: expected 4, got 99; 2 of 12 differ; around it expected "
     "[4, 5, 6], got [99, 5, 6]")),
    (BEATS[:2], BEATS, ("beat", "lane"),
     ("results: 1 missing: expected 3 of axis 'beat', got 2; the first missing is beat 2 = "
     "[8, 9, 10, 11]")),
    (BEATS, BEATS[:1], (),
     ("results: 2 surplus: expected 1 of axis 'row', got 3; the first surplus is row 1 = "
     "[4, 5, 6, 7]")),
    (changed(0, 3)[:2], BEATS, ("beat", "lane"),
     ("results: first difference at beat 0, lane 3: expected 3, got 99; 1 of 8 differ; around it "
     "expected [1, 2, 3], got [1, 2, 99]; and results: 1 missing: expected 3 of axis 'beat', got "
     "2; the first missing is beat 2 = [8, 9, 10, 11]")),
    (BEATS[:, :3], BEATS, (), "results: expected shape (3, 4), got (3, 3)"),
    (BEATS.ravel(), BEATS, (), "results: expected shape (3, 4), got (12,)"),
    (np.zeros((0, 4)), BEATS, (),
     ("results: 3 missing: expected 3 of axis 'row', got 0; the first missing is row 0 = "
     "[0, 1, 2, 3]")),
    (np.int64(3), np.int64(4), (),
     "results: first difference at []: expected 4, got 3; 1 of 1 differ"),
])
def test_messages(actual, expected, axes, message):
    error = first_difference("results", actual, expected, axes)
    assert isinstance(error, Mismatch)
    assert str(error) == message
    with pytest.raises(AssertionError):
        assert_equal("results", actual, expected, axes)


@given(st.integers(0, 2), st.integers(0, 3), st.integers(-100, 100))
def test_any_change_is_seen(row, lane, value):
    error = first_difference("results", changed(row, lane, to=value), BEATS)
    assert (error is None) == (value == BEATS[row, lane])


@pytest.mark.parametrize("array", [BEATS, BEATS[:0], np.int64(3)])
def test_equal_arrays(array):
    assert first_difference("results", array, array) is None
    assert_equal("results", array, array)
