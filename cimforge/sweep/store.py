"""Results on disk by the digest of all that they depend on, so that nothing is measured twice."""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cimforge.spec.config import DcimConfig
from cimforge.spec.files import write_atomic
from cimforge.sweep.measure import QUANTITIES, Work

__all__ = ["Outcome", "Store", "point_digest"]

#: ``{"figures": {quantity: number}}``, or ``{"cannot": why}`` of a design that cannot run the work.
Outcome = dict[str, Any]
_FORMAT = 1


def _text(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def point_digest(code: str, config: DcimConfig, work: Work) -> str:
    """Return the digest of code and tables, every parameter, all layers with levels, and tokens."""
    return hashlib.sha256(_text([_FORMAT, code, config.to_dict(), asdict(work)])).hexdigest()


class Store:
    """Outcomes of points, one small file each.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def path(self, digest: str) -> Path:
        """Return the file of a point."""
        return self._folder / digest[:2] / f"{digest}.json"

    def save(self, digest: str, outcome: Outcome) -> None:
        """Keep an outcome; its file is whole or not there."""
        kept = {"point": digest, "outcome": outcome,
                "sha256": hashlib.sha256(_text(outcome)).hexdigest()}
        write_atomic(self.path(digest), _text(kept) + b"\n")

    def load(self, digests: Iterable[str]) -> tuple[dict[str, Outcome], int]:
        """Return the outcomes that are there, and how many files were damaged.

        A damaged one is as good as none: its point is measured again.
        """
        found: dict[str, Outcome] = {}
        damaged = 0
        for digest in digests:
            path = self.path(digest)
            try:
                kept = json.loads(path.read_bytes())
                if _whole(kept, digest):
                    found[digest] = kept["outcome"]
                    continue
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, TypeError, RecursionError):
                pass
            damaged += 1
        return found, damaged


def _whole(kept: dict[str, Any], digest: str) -> bool:
    """Return whether a file is what was saved for this point."""
    outcome = kept["outcome"]
    if kept["point"] != digest or kept["sha256"] != hashlib.sha256(_text(outcome)).hexdigest():
        return False
    if "cannot" in outcome:
        return isinstance(outcome["cannot"], str)
    figures = outcome["figures"]
    return figures.keys() == QUANTITIES.keys() and all(map(math.isfinite, figures.values()))
