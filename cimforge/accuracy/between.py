"""Cells for latency at equal accuracy: FLOW-X within fewer cycles than a fixed macro takes.

The table compares methods at equal sparsity. Latency at equal accuracy asks the opposite: a plan
that is faster than a fixed macro with its own uniform pattern, and scores no worse. So FLOW-X has
no target here, but limits on its cycles on the flexible macro.
"""

from collections.abc import Iterator
from pathlib import Path

from cimforge.accuracy.cells import MODELS, SEEDS, WITHIN, Cell
from cimforge.accuracy.records import flat
from cimforge.accuracy.run import check_part, measured
from cimforge.report.records import write_records

__all__ = ["FILE", "between", "run_between"]

FILE = "accuracy_equal.json"
#: Against dense one model is tried: whatever is pruned costs a little of the score.
_DENSE = ("stdlib-llama", "flow-x@dense")


def between(models: tuple[str, ...] = MODELS, seeds: tuple[int, ...] = SEEDS) -> Iterator[Cell]:
    """Yield the cells, those of a model and a seed together."""
    for model in models:
        for seed in seeds:
            for method in WITHIN:
                if method != _DENSE[1] or model == _DENSE[0]:
                    yield Cell(model, method, 0.0, seed)


def run_between(out: Path, folder: Path, models: tuple[str, ...] = MODELS,
                seeds: tuple[int, ...] = SEEDS) -> Path:
    """Measure what is missing, and write ``accuracy_equal.json``: records as the table's.

    Parameters, errors and what an interrupted run leaves are those of ``run_accuracy``.

    Returns
    -------
    Path
        The file.
    """
    check_part(models, seeds)
    path, every = out / FILE, list(between())
    records = measured(path, folder, list(between(models, seeds)))
    write_records(path, "make accuracy-equal", [record for cell in every if cell in records
                                                for record in flat(cell, records[cell])],
                  cells=len(every))
    return path
