"""Choices by glob of layer names, as plans make them: rules first, exceptions after them."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TypeVar

from cimforge.spec.errors import DataError

__all__ = ["matches_any", "resolve_globs"]

T = TypeVar("T")


def resolve_globs(names: Iterable[str], default: T, layers: Mapping[str, T]) -> dict[str, T]:
    """Return what every layer gets: of the last glob that matches it, or the default.

    Raises
    ------
    DataError
        A glob that matches no layer: the message names the nearest ones.
    """
    names = list(names)
    chosen = dict.fromkeys(names, default)
    for glob, choice in layers.items():
        hits = [name for name in names if fnmatchcase(name, glob)]
        if not hits:
            near = get_close_matches(glob, names, n=3, cutoff=0.0)
            raise DataError(f"{glob!r} matches none of {len(names)} layers; nearest: "
                            f"{', '.join(near) or 'none'}")
        chosen.update(dict.fromkeys(hits, choice))
    return chosen


def matches_any(name: str, globs: Iterable[str]) -> bool:
    """Tell whether one of the globs names a layer."""
    return any(fnmatchcase(name, glob) for glob in globs)
