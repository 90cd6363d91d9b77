"""The cells of the accuracy table: what is measured, and the file each result is in."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cimforge.spec.errors import DataError
from cimforge.spec.files import write_atomic

__all__ = ["MODELS", "NUMBERS", "PATTERNS", "SEEDS", "SHARED", "SHARINGS", "TARGETS", "TEXTS",
           "TILE_COLS", "WITHIN", "Cell", "cells", "sharing", "wrong_key"]

MODELS = ("stdlib-llama", "stdlib-mamba", "all-MiniLM-L6-v2")
TARGETS = (0.5, 0.6, 0.625, 0.7, 0.75)
SEEDS = (0, 1, 2)
#: Uniform patterns and what they prune.
PATTERNS = {"1:2": 0.5, "2:4": 0.5, "4:8": 0.5, "3:8": 0.625, "1:4": 0.75, "2:8": 0.75}
#: Patterns that are also measured with outputs that share positions, and who shares them
#: (`nm_mask`): the first seed. A tile has as many outputs as the default macro has columns.
SHARED, SHARINGS, TILE_COLS = ("4:8", "2:8"), ("share2", "share4", "tile"), 32
#: Columns besides the patterns: FLOW with the published candidates and with N:8.
SELECTED = ("uniform", "owl", "flow", "flow-line", "flow-x")
#: The same with SparseGPT, which chooses and updates the weights that stay: the first seed, and
#: the targets that are uniform patterns as well.
UPDATED = ("uniform+update", "flow+update", "flow-x+update")
UPDATED_TARGETS = (0.5, 0.625, 0.75)
#: FLOW-X within fewer cycles than a fixed macro takes: the macro and its pattern. Plans within
#: those of 4:8 are faster than 1:2 and 2:4, too, and those of 2:8 faster than 1:4.
WITHIN = {"flow-x@4:8": ("fixed_4_8", "4:8"), "flow-x@2:8": ("fixed_2_8", "2:8"),
          "flow-x@dense": ("dense", "1:1")}
#: Where between the least cycles (0) and that macro's (1) the limit is, and of models with another.
SHARES = {"flow-x@4:8": 0.8, "flow-x@2:8": 0.7, "flow-x@dense": 0.98}
MODEL_SHARES = {("all-MiniLM-L6-v2", "flow-x@4:8"): 0.9}
#: Raised when a method changes: what was measured before is then measured again.
REVISIONS = {"flow": 2, "flow-line": 2, "flow+update": 2}


#: What a result has besides the cell it is of and its digest.
NUMBERS = ("sparsity", "score", "score_int8", "least", "most", "spread", "rank_presence",
           "rank_locality", "seconds_select", "seconds_score")
TEXTS = ("plan",)


def wrong_key(result: Mapping[str, Any]) -> str | None:
    """Return the first key of a result whose value is none for it; a KeyError where it is missing.

    All of `NUMBERS` are finite, all of `TEXTS` are text.
    """
    for key in NUMBERS:
        value = result[key]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            return key
    return next((key for key in TEXTS if not isinstance(result[key], str)), None)


def sharing(method: str) -> str:
    """Return who shares positions: what a method has behind a stroke, or ``"free"``."""
    return method.partition("/")[2] or "free"


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Parameters
    ----------
    model, method : str
        A method is ``"dense"``, a pattern, one with shared positions such as ``"2:8/share2"``, or
        one of the selections, with Wanda's masks unless it ends in ``+update``.
    target : float
        Sparsity asked for.
    seed : int
        Which calibration text.
    """

    model: str
    method: str
    target: float
    seed: int

    @property
    def share(self) -> float:
        """Where the limit on cycles is; for the methods of `WITHIN` only."""
        return MODEL_SHARES.get((self.model, self.method), SHARES[self.method])

    def path(self, folder: Path) -> Path:
        """Return the file of the result."""
        method = self.method.replace(":", "of").replace("/", "-")
        return folder / self.model / f"{method}-{self.target:g}-{self.seed}.json"

    def journal(self, folder: Path) -> Path:
        """Return the file of the search, while there is one."""
        return self.path(folder).with_suffix(".journal")

    def tag(self, digest: str) -> str:
        """Return what a result depends on: model and texts, and the method's revision or share."""
        revision = self.share if self.method in WITHIN else REVISIONS.get(self.method)
        return f"{digest}.{revision}" if revision else digest

    def load(self, folder: Path, digest: str) -> dict | None:
        """Return the result; None where there is none of this model and text.

        Raises
        ------
        DataError
            A damaged file, one of another cell, or one that lacks something.
        """
        path = self.path(folder)
        if not path.is_file():
            return None
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["digest"] != self.tag(digest):
                return None  # older than the model, the text or the method: measured again
            own = {"model": self.model, "method": self.method, "target": self.target,
                   "seed": self.seed}
            foreign = [key for key, value in own.items() if record[key] != value]
            wrong = foreign[0] if foreign else wrong_key(record)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else "unreadable"
            raise DataError(f"{path}: not a result of the accuracy table ({what}); remove it to "
                            "measure it again") from error
        if wrong:
            raise DataError(f"{path}: not a result of this cell of the accuracy table: {wrong} "
                            f"is {record[wrong]!r}; remove it to measure it again")
        return record

    def save(self, folder: Path, digest: str, result: dict) -> dict:
        """Write the result and return it as a record."""
        record = {"model": self.model, "method": self.method, "target": self.target,
                  "seed": self.seed, "digest": self.tag(digest), **result}
        path = self.path(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, (json.dumps(record, indent=1) + "\n").encode())
        return record


def cells(models: tuple[str, ...] = MODELS, seeds: tuple[int, ...] = SEEDS) -> Iterator[Cell]:
    """Yield all cells, those of a model and a seed together: they share calibration and masks."""
    for model in models:
        for seed in seeds:
            yield Cell(model, "dense", 0.0, seed)
            for pattern, target in PATTERNS.items():
                yield Cell(model, pattern, target, seed)
            if seed == SEEDS[0]:
                for pattern in SHARED:
                    for who in SHARINGS:
                        yield Cell(model, f"{pattern}/{who}", PATTERNS[pattern], seed)
            for target in TARGETS:
                updated = seed == SEEDS[0] and target in UPDATED_TARGETS
                for method in SELECTED + (UPDATED if updated else ()):
                    yield Cell(model, method, target, seed)
