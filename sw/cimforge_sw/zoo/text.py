"""Text for the zoo's models: random spans of the corpus, by seed."""

from collections.abc import Sequence

import numpy as np

from cimforge_sw.zoo.corpus import load_corpus

__all__ = ["SPAN", "calibration_spans", "held_out_spans", "spans_of"]

#: Characters of a held-out span.
SPAN = 3000


def _span(text: str, size: int, rng: np.random.Generator) -> str:
    """Return ``size`` characters from the start of some line on, or the whole text."""
    if len(text) <= size:
        return text
    start = text.rfind("\n", 0, int(rng.integers(len(text) - size)) + 1) + 1
    return text[start:start + size]


def calibration_spans(count: int, seed: int, size: int = 1000) -> list[str]:
    """Return spans of training files: longer files are drawn more often.

    1000 characters of Python are about 300 tokens, so that a context of 256 is filled.
    """
    texts = load_corpus().train
    rng = np.random.default_rng([seed, 1])
    sizes = np.array([len(text) for text in texts], dtype=float)
    picks = rng.choice(len(texts), size=count, p=sizes / sizes.sum())
    return [_span(texts[pick], size, rng) for pick in picks]


def spans_of(texts: Sequence[str], size: int = SPAN) -> list[str]:
    """Return one span of every text, always the same ones."""
    rng = np.random.default_rng(2)
    return [_span(text, size, rng) for text in texts]


def held_out_spans(size: int = SPAN) -> list[str]:
    """Return one span of every test file, always the same ones.

    Files that repeat training files (`Corpus.repeated`) are among them: the accuracy table was
    measured so, and it compares ways to prune one model, not models.
    """
    return spans_of(load_corpus().test, size)
