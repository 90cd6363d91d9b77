"""Plain English sentences that ship with the package: one half calibrates, the other evaluates."""

from importlib.resources import files

__all__ = ["calibration_sentences", "held_out_sentences"]


def _all() -> list[str]:
    text = files("cimforge_sw.data").joinpath("sentences.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line]


def calibration_sentences() -> list[str]:
    """Return every other sentence, starting with the first; topics mix in both halves."""
    return _all()[0::2]


def held_out_sentences() -> list[str]:
    """Return the sentences that calibration never sees."""
    return _all()[1::2]
