"""Comparison that says where two arrays part, with the surroundings."""

from typing import Any

import numpy as np

__all__ = ["Mismatch", "assert_equal", "first_difference"]


class Mismatch(AssertionError):
    """What should be equal is not; the message names the first difference.

    Not a :class:`~cimforge.spec.errors.CimforgeError`: no caller's mistake, but hardware and golden
    model that do not agree.
    """


def first_difference(name: str, actual: np.ndarray, expected: np.ndarray,
                     axes: tuple[str, ...] = (), context: int = 2) -> Mismatch | None:
    """Compare two arrays.

    Along the first axis one may be longer, as a stream that lost or doubled something is; what
    both have is compared first.

    Parameters
    ----------
    name : str
        What is compared, such as ``"results"``.
    actual, expected : ndarray of the same shape
    axes : tuple of str
        Names of the axes for the message, such as ``("beat", "lane")``.
    context : int
        Neighbours shown on each side, along the last axis.

    Returns
    -------
    Mismatch or None
        None if they are equal in shape and value.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.ndim != expected.ndim or actual.shape[1:] != expected.shape[1:] or not actual.ndim:
        if actual.shape != expected.shape:
            return Mismatch(f"{name}: expected shape {expected.shape}, got {actual.shape}")
    lengths = _lengths(name, actual, expected, axes)
    common = slice(min(len(actual), len(expected))) if actual.ndim else ...
    wrong = np.asarray(actual[common] != expected[common])
    if not wrong.any():
        return Mismatch(lengths) if lengths else None
    position = tuple(map(int, np.argwhere(wrong)[0]))
    text = (f"{name}: first difference at {_place(position, axes)}: expected "
            f"{expected[position]}, got {actual[position]}; {int(wrong.sum())} of {wrong.size} "
            f"differ")
    if position:
        window = slice(max(0, position[-1] - context), position[-1] + context + 1)
        near: Any = (*position[:-1], window)
        text += f"; around it expected {expected[near].tolist()}, got {actual[near].tolist()}"
    return Mismatch(f"{text}; and {lengths}" if lengths else text)


def assert_equal(name: str, actual: np.ndarray, expected: np.ndarray,
                 axes: tuple[str, ...] = (), context: int = 2) -> None:
    """Raise what :func:`first_difference` finds."""
    error = first_difference(name, actual, expected, axes, context)
    if error is not None:
        raise error


def _place(position: tuple[int, ...], axes: tuple[str, ...]) -> str:
    if len(axes) == len(position) and position:
        return ", ".join(f"{axis} {i}" for axis, i in zip(axes, position, strict=True))
    return str(list(position))


def _lengths(name: str, actual: np.ndarray, expected: np.ndarray, axes: tuple[str, ...]) -> str:
    """Return what is missing or surplus along the first axis, or nothing."""
    if not actual.ndim or len(actual) == len(expected):
        return ""
    axis = axes[0] if axes else "row"
    short, long = sorted((len(actual), len(expected)))
    kind, one = (("missing", expected) if len(actual) < len(expected) else ("surplus", actual))
    return (f"{name}: {long - short} {kind}: expected {len(expected)} of axis {axis!r}, got "
            f"{len(actual)}; the first {kind} is {axis} {short} = {one[short].tolist()}")
