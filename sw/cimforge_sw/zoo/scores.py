"""The scores that a model of the zoo is quoted with, and what exactly each is measured on."""

from typing import Any

from cimforge_sw.evaluate import bits_per_byte
from cimforge_sw.models import Model
from cimforge_sw.zoo.corpus import Corpus, compressed_bits_per_byte
from cimforge_sw.zoo.scan import trainable_scan
from cimforge_sw.zoo.text import SPAN, spans_of

__all__ = ["held_out_scores", "quoted_score"]


def quoted_score(model: Model, corpus: Corpus) -> float:
    """Return the score to quote alone: ``test`` of `held_out_scores`."""
    return _mean(_file_scores(model, corpus))


def held_out_scores(model: Model, corpus: Corpus) -> dict[str, Any]:
    """Return bits per byte on held-out files, with what general compressors need.

    Parameters
    ----------
    model : Model
    corpus : Corpus

    Returns
    -------
    dict
        ``test``: the score to quote, on whole test files that repeat no training file
        (`Corpus.unseen`), with ``gzip`` and ``xz`` of the same text. ``files``: ``bytes`` and
        ``bits_per_byte`` of each. ``left_out``: test files that do repeat some. ``spans``: the
        score that the accuracy table starts from, on one span of every test file, repeated ones
        included; the spans' ``size`` in characters, the share of their bytes in repeated files,
        and the score without those.
    """
    with trainable_scan():  # Mamba at less than half the time, and the same figures
        files = _file_scores(model, corpus)
        spans = _span_scores(model, corpus)
    return {"test": _mean(files),
            **compressed_bits_per_byte(list(corpus.unseen.values())),
            "files": files, "left_out": list(corpus.repeated), "spans": spans}


def _file_scores(model: Model, corpus: Corpus) -> dict[str, dict[str, Any]]:
    return {name: {"bytes": len(text.encode()), "bits_per_byte": bits_per_byte(model, [text])}
            for name, text in corpus.unseen.items()}


def _mean(files: dict[str, dict[str, Any]]) -> float:
    size = sum(entry["bytes"] for entry in files.values())
    return sum(entry["bytes"] * entry["bits_per_byte"] for entry in files.values()) / size


def _span_scores(model: Model, corpus: Corpus) -> dict[str, float]:
    spans = dict(zip(corpus.test_names, spans_of(corpus.test), strict=True))
    fresh = [span for name, span in spans.items() if name not in corpus.repeated]
    size = sum(len(text.encode()) for text in spans.values())
    return {"size": SPAN, "bits_per_byte": bits_per_byte(model, list(spans.values())),
            "repeated": 1 - sum(len(text.encode()) for text in fresh) / size,
            "without_repeated": bits_per_byte(model, fresh)}
