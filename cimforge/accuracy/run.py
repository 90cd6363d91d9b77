"""Measuring the table: cells that are there stay, so that an interrupted run goes on."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cimforge.accuracy.cells import MODELS, SEEDS, Cell, cells
from cimforge.accuracy.records import flat, rows
from cimforge.accuracy.subject import Subject
from cimforge.report.accuracy_page import accuracy_page, accuracy_plots
from cimforge.report.progress import Progress, progress
from cimforge.report.records import write_records
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.files import check_writable, write_atomic

__all__ = ["check_part", "measured", "run_accuracy"]


def run_accuracy(out: Path, folder: Path, models: tuple[str, ...] = MODELS,
                 seeds: tuple[int, ...] = SEEDS) -> Path:
    """Measure what is missing, and write ``accuracy.json``, ``accuracy.md`` and its pictures.

    Results of the same model and text that ``accuracy.json`` has already are not measured again;
    its results of other models and seeds stay in the report.

    Parameters
    ----------
    out : Path
        Folder of the reports.
    folder : Path
        Folder of the cells' results.
    models, seeds : tuple
        The part of the table to measure.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DataError
        A damaged result or report.
    ConfigError
        A model or seed that the table does not have.
    """
    check_part(models, seeds)
    records = measured(out / "accuracy.json", folder, list(cells(models, seeds)))
    every = [record for cell in cells() if cell in records
             for record in flat(cell, records[cell])]
    report = write_records(out / "accuracy.json", "make accuracy", every, cells=len(list(cells())),
                           held_out=_held_out({cell.model for cell in records}))
    accuracy_plots(report, out / "img")
    path = out / "accuracy.md"
    write_atomic(path, accuracy_page(report).encode())
    return path


def check_part(models: tuple[str, ...], seeds: tuple[int, ...]):
    """Refuse models and seeds that the table does not have with a ConfigError."""
    for name, wanted_ones, known in (("model", models, MODELS), ("seed", seeds, SEEDS)):
        if unknown := [one for one in wanted_ones if one not in known]:
            raise ConfigError(f"{name} must be one of {', '.join(map(str, known))}, not "
                              f"{', '.join(map(str, unknown))}")


def measured(path: Path, folder: Path, wanted: list[Cell]) -> dict[Cell, dict]:
    """Return the results of cells and of all others that a report has; measure what is missing.

    Parameters
    ----------
    path : Path
        The report; it need not be there.
    folder : Path
        Folder of the cells' results.
    wanted : list of Cell
        Those of a model and a seed together.

    Raises
    ------
    DataError
        A damaged result or report, or folders that cannot be written to.
    """
    check_writable(path.parent)
    check_writable(folder)
    records = _reported(path)
    missing = _missing(wanted, records, folder)
    with progress() as bars, bars.task("cells", len(wanted)) as bar:
        bar.at(len(wanted) - len(missing))
        subject: Subject | None = None
        for cell in missing:
            if subject is None or (subject.name, subject.seed) != (cell.model, cell.seed):
                subject = Subject(cell.model, cell.seed)
            records[cell] = _measured(cell, subject, folder, bars)
            bar.advance()
    return records


def _held_out(models: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return what the text of each model of the zoo holds, and what the dense model scores on it.

    Texts stay as they are, since every cell was measured on them; so the report says what they do
    to the scores.
    """
    from cimforge_sw.zoo import training_record, zoo_names

    made = {name: training_record(name) for name in sorted(models) if name in zoo_names()}
    return {name: {"whole_files": record["bits_per_byte"], "spans": record["held_out"]["spans"]}
            for name, record in made.items()}


def _reported(path: Path) -> dict[Cell, dict]:
    """Return the results of the report there is."""
    if not path.is_file():
        return {}
    try:
        found = rows(json.loads(path.read_text(encoding="utf-8"))["records"])
        return {Cell(*(row[key] for key in ("model", "method", "target", "seed"))): row
                for row in found}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a report of the accuracy table; remove it to measure "
                        "it again") from error


def _missing(wanted: list[Cell], records: dict[Cell, dict], folder: Path) -> list[Cell]:
    """Return the cells to measure, and add to ``records`` those that have a file.

    All files are read before anything is measured, so that a damaged one is found at once.
    """
    digests: dict[tuple[str, int], str] = {}
    missing = []
    for cell in wanted:
        about = cell.model, cell.seed
        if about not in digests:
            digests[about] = Subject(*about).digest
        if records.get(cell, {}).get("digest") == cell.tag(digests[about]):
            continue
        found = cell.load(folder, digests[about])
        if found is None:
            missing.append(cell)
        else:
            records[cell] = found
    return missing


def _measured(cell: Cell, subject: Subject, folder: Path, bars: Progress) -> dict:
    """Measure a cell, and keep it in its file."""
    name = f"{cell.model} {cell.method} {cell.target:g} #{cell.seed}"
    with bars.task(name, None, transient=True) as bar:
        record = cell.save(folder, subject.digest, subject.measure(cell, folder, bar.of))
    cell.journal(folder).unlink(missing_ok=True)
    return record
