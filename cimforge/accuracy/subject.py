"""One model under test: its calibration by seed, its score, and how each method's plan is made."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

import cimforge as cf
from cimforge.accuracy.cells import TILE_COLS, WITHIN, Cell, sharing

__all__ = ["Subject"]

Progress = Callable[[int, int], None]
#: Sentences, or spans of source, that calibrate; and how many of them plans are scored on.
_SENTENCES, _SCORED_SENTENCES = 256, 96
_SPANS, _SCORED_SPANS = 24, 8


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and one calibration seed."""

    name: str
    seed: int

    @property
    def causal(self) -> bool:
        """Whether the score is bits per byte (lower is better) and not a cosine."""
        return self.name.startswith("stdlib-")

    @cached_property
    def model(self):
        """The dense model."""
        return cf.load_model(self.name)

    @cached_property
    def texts(self) -> tuple[list[str], int]:
        """Calibration texts, and how many of the first score plans."""
        if self.causal:
            from cimforge_sw.zoo.text import calibration_spans
            return calibration_spans(_SPANS, self.seed), _SCORED_SPANS
        from cimforge_sw.sentences import calibration_sentences
        texts = calibration_sentences()
        order = np.random.default_rng(self.seed).permutation(len(texts))
        return [texts[i] for i in order[:_SENTENCES]], _SCORED_SENTENCES

    @cached_property
    def held_out(self) -> list[str]:
        """Texts that no calibration sees, the same for all seeds."""
        if self.causal:
            from cimforge_sw.zoo.text import held_out_spans
            return held_out_spans()
        from cimforge_sw.sentences import held_out_sentences
        return held_out_sentences()

    @cached_property
    def digest(self) -> str:
        """What the results depend on: the weights and the texts."""
        state = hashlib.sha256(self.model.digest.encode())
        for text in (*self.texts[0], "|", *self.held_out):
            state.update(text.encode() + b"\0")
        return state.hexdigest()[:16]

    @cached_property
    def stats(self):
        """Calibration of the dense model."""
        return cf.calibrate(self.model, self.texts[0])

    @cached_property
    def selector(self):
        """N:8 candidates with free positions."""
        from cimforge_sw.select import Selector

        texts, scored = self.texts
        return Selector(self.model, self.stats, texts[:scored])

    @cached_property
    def updating(self):
        """N:8 candidates with free positions, for weights that SparseGPT updates."""
        from cimforge_sw.update import gram_matrices

        return replace(self.selector, grams=gram_matrices(self.model, self.texts[0]))

    @cached_property
    def published(self):
        """The published candidates with free positions."""
        from cimforge_sw.select import PUBLISHED_CANDIDATES, Selector

        return Selector(self.model, self.stats, self.selector.texts,
                        candidates=PUBLISHED_CANDIDATES)

    @cached_property
    def _dense_embeddings(self):
        from cimforge_sw.evaluate import embed

        return embed(self.model, self.held_out)

    def score(self, model) -> float:
        """Return bits per byte, or the mean cosine to the dense model's embeddings."""
        from cimforge_sw.evaluate import bits_per_byte, embed

        if self.causal:
            return bits_per_byte(model, self.held_out)
        ours = embed(model, self.held_out)
        return float((ours * self._dense_embeddings).sum(-1).double().mean())

    def _plan(self, cell: Cell, folder: Path, progress: Progress):
        """Return the cell's plan, and what its selection reports."""
        if cell.method == "dense":
            return cf.Plan.uniform("dense"), {}
        if cell.method in WITHIN:
            return self._within(cell, folder, progress)
        if ":" in cell.method:
            pattern = cell.method.partition("/")[0]
            return cf.Plan.uniform(pattern, sharing(cell.method), TILE_COLS), {}
        method = cell.method.removesuffix("+update")
        selector = (self.published if method == "flow" else
                    self.updating if method != cell.method else self.selector)
        method = "flow" if method == "flow-line" else method
        journal = cell.journal(folder) if method == "flow-x" else None
        selection = selector.select(method, cell.target, journal=journal, progress=progress)
        return selection.plan, selection.details

    def _within(self, cell: Cell, folder: Path, progress: Progress):
        """Return a plan within fewer cycles than a fixed macro takes."""
        from cimforge.cycles.limits import cycle_limits
        from cimforge.spec.pattern import NmPattern

        design, pattern = WITHIN[cell.method]
        limits = cycle_limits(self.selector.shapes, self.selector.options, design,
                              NmPattern.parse(pattern), cell.share)
        selection = self.selector.within(limits, journal=cell.journal(folder), progress=progress)
        return selection.plan, selection.details

    def measure(self, cell: Cell, folder: Path, progress: Progress) -> dict:
        """Return the result of a cell: scores in float and in INT8, the plan, seconds."""
        from cimforge_sw.zoo.scan import trainable_scan

        with trainable_scan():  # Mamba at less than half the time, and the same figures
            return self._measure(cell, folder, progress)

    def _measure(self, cell: Cell, folder: Path, progress: Progress) -> dict:
        from cimforge.accuracy.shape import plan_shape

        start = time.perf_counter()
        plan, details = self._plan(cell, folder, progress)
        selected = time.perf_counter()
        pruned = (cf.prune_with_update(self.model, plan, self.texts[0])
                  if cell.method.endswith("+update") else cf.prune(self.model, plan, self.stats))
        quantized = cf.quantize(pruned, self.stats).as_model()
        return {
            "sparsity": pruned.sparsity, "score": self.score(pruned.model),
            "score_int8": self.score(quantized),
            **plan_shape(pruned.patterns, [entry.presence for entry in self.selector.outliers],
                         [entry.locality for entry in self.selector.outliers]),
            "details": details, "seconds_select": round(selected - start, 2),
            "seconds_score": round(time.perf_counter() - selected, 2)}
