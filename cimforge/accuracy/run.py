"""Measuring the table: cells that are there stay, so that an interrupted run goes on."""

from pathlib import Path

from cimforge.accuracy.cells import MODELS, SEEDS, Cell, cells
from cimforge.accuracy.subject import Subject
from cimforge.report.accuracy_page import accuracy_page, accuracy_plots
from cimforge.report.progress import progress
from cimforge.report.records import write_records
from cimforge.spec.files import write_atomic

__all__ = ["run_accuracy"]


def run_accuracy(out: Path, folder: Path, models: tuple[str, ...] = MODELS,
                 seeds: tuple[int, ...] = SEEDS) -> Path:
    """Measure what is missing, and write ``accuracy.json``, ``accuracy.md`` and its pictures.

    Parameters
    ----------
    out : Path
        Folder of the reports.
    folder : Path
        Folder of the cells' results.
    models, seeds : tuple
        The part of the table to measure; the report has these only.

    Returns
    -------
    Path
        The page.
    """
    wanted = list(cells(models, seeds))
    records: list[dict] = []
    subject: Subject | None = None
    with progress() as bars, bars.task("cells", len(wanted)) as bar:
        for cell in wanted:
            if subject is None or (subject.name, subject.seed) != (cell.model, cell.seed):
                subject = Subject(cell.model, cell.seed)
            records.append(_result(cell, subject, folder, bars))
            bar.advance()
    report = write_records(out / "accuracy.json", "make accuracy", records)
    accuracy_plots(report, out / "img")
    path = out / "accuracy.md"
    write_atomic(path, accuracy_page(report).encode())
    return path


def _result(cell: Cell, subject: Subject, folder: Path, bars) -> dict:
    found = cell.load(folder, subject.digest)
    if found is not None:
        return found
    name = f"{cell.model} {cell.method} {cell.target:g} #{cell.seed}"
    with bars.task(name, None, transient=True) as bar:
        return cell.save(folder, subject.digest, subject.measure(cell, folder, bar.of))
