"""The cells of the ADC study: what is measured, and the file each result is in."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cimforge.spec.errors import DataError
from cimforge.spec.files import write_atomic

__all__ = ["ARRAY", "BITS", "EVERY", "MAPPINGS", "RULES", "Cell", "cell_of", "cells"]

#: Model -> how its linear layers lie in the arrays; of Monarch factors every mapping is the same.
MAPPINGS = {"all-MiniLM-L6-v2": "linear", "stdlib-llama": "linear",
            "stdlib-llama-monarch": "monarch"}
#: Rows and columns of an array, as in the paper (arXiv 2510.11192).
ARRAY = 256
#: One in so many of the accuracy table's held-out texts is scored: converters cost 64 products.
EVERY = 4
BITS = (8, 7, 6, 5, 4, 3)
#: ``float``: nothing quantized. ``lossless``: INT8, exact. The others as in `Resolution`.
RULES = ("float", "lossless", "clip", "shift")
_REVISION = 1  # raised when a method changes: what was measured before is measured again


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Parameters
    ----------
    model : str
        Of :data:`MAPPINGS`.
    rule : str
        Of :data:`RULES`.
    bits : int
        A; 0 for ``float`` and ``lossless``.
    """

    model: str
    rule: str
    bits: int = 0

    def path(self, folder: Path) -> Path:
        """Return the file of the result."""
        return folder / self.model / f"{self.rule}-{self.bits}.json"

    def record(self, digest: str, result: dict[str, Any]) -> dict[str, Any]:
        """Return a result as the flat record that the report has.

        Keys: ``model``, ``mapping``, ``rule``, ``adc_bits`` (0: no limit), ``metric``,
        ``higher_is_better``, ``value``, ``texts`` (how many are scored), ``lossless_bits`` (what
        the longest columns need), ``seconds``, and ``digest`` of model and texts.
        """
        causal = self.model.startswith("stdlib-")
        return {"model": self.model, "mapping": MAPPINGS[self.model], "rule": self.rule,
                "adc_bits": self.bits, "metric": "bits per byte" if causal else "cosine",
                "higher_is_better": not causal, **result, "digest": f"{digest}.{_REVISION}"}

    def valid(self, record: dict[str, Any] | None, digest: str) -> bool:
        """Tell whether a record is this cell's, of the same model and texts."""
        return record is not None and record["digest"] == f"{digest}.{_REVISION}"

    def load(self, folder: Path) -> dict[str, Any] | None:
        """Return the record in the cell's file, None where there is none.

        Raises
        ------
        DataError
            A damaged file.
        """
        path = self.path(folder)
        if not path.is_file():
            return None
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if cell_of(record) != self or not isinstance(record["value"], float):
                raise ValueError("another cell")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: not a result of the ADC study; remove it to measure it "
                            "again") from error
        return record

    def save(self, folder: Path, record: dict[str, Any]) -> None:
        """Write the record to the cell's file."""
        path = self.path(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, (json.dumps(record, indent=1) + "\n").encode())


def cell_of(record: dict[str, Any]) -> Cell:
    """Return the cell of a record.

    Raises
    ------
    KeyError, TypeError
        Not a record of the study.
    """
    record["digest"], record["value"]  # both are there
    return Cell(record["model"], record["rule"], record["adc_bits"])


def cells(models: tuple[str, ...] = tuple(MAPPINGS)) -> Iterator[Cell]:
    """Yield all cells, those of a model together."""
    for model in models:
        for rule in RULES:
            for bits in (0,) if rule in ("float", "lossless") else BITS:
                yield Cell(model, rule, bits)
