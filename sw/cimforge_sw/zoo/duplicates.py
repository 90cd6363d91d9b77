"""Held-out files that repeat training files: a score on them would count what was learnt by heart.

The standard library has families of generated or copied files. Whoever splits it by file name gets
members of one family on both sides.
"""

from collections.abc import Iterable, Mapping

__all__ = ["repeated"]

#: Tables of character sets: generated from one template, a hundred of them.
_FAMILIES = ("encodings/",)
_LONG = 25  # characters; shorter lines are in many files without being copied
_MOST = 0.25  # of a file's characters; the files of 3.11 have either less than 0.19 or more


def repeated(files: Mapping[str, str], train: Iterable[str]) -> list[str]:
    """Return the names of held-out files that are exact or near duplicates of training files.

    A file repeats the training files if it belongs to a generated family (``encodings/``), if one
    of them is equal, or if more than a quarter of its characters are in lines of more than 25
    characters that some training file has as well.

    Parameters
    ----------
    files : mapping of str to str
        Texts by name, relative to the library's folder, with ``/``.
    train : iterable of str
        Texts.
    """
    texts = set(train)
    lines = {line for text in texts for line in text.splitlines() if len(line) > _LONG}

    def copied(text: str) -> bool:
        same = sum(len(line) + 1 for line in text.splitlines() if line in lines)
        return text in texts or same > _MOST * len(text)
    return [name for name, text in files.items() if name.startswith(_FAMILIES) or copied(text)]
