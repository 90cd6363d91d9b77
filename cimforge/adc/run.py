"""``make adc``: what is missing is measured, then page and pictures go into ``reports``."""

import json
from pathlib import Path
from typing import Any

from cimforge.adc.cells import ARRAY, EVERY, MAPPINGS, Cell, cell_of, cells
from cimforge.adc.subject import AdcSubject
from cimforge.report.adc_page import adc_page, adc_plots
from cimforge.report.progress import progress
from cimforge.report.records import write_records
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.files import check_writable, write_atomic

__all__ = ["run_adc"]

#: Whose training record says what fine-tuning after D2S brings.
_TUNED = "stdlib-llama-monarch"


def run_adc(out: Path, folder: Path, models: tuple[str, ...] = tuple(MAPPINGS)) -> Path:
    """Measure what is missing, and write ``adc.json``, ``adc.md`` and its pictures.

    Results of the same model and texts that the report has already are not measured again; its
    results of other models stay.

    Parameters
    ----------
    out : Path
        Folder of the reports.
    folder : Path
        Folder of the cells' results.
    models : tuple of str
        The part of the study to measure.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DataError
        A damaged result or report, or a folder that cannot be written to.
    ConfigError
        A model that the study does not have.
    """
    if unknown := [name for name in models if name not in MAPPINGS]:
        raise ConfigError(f"model must be one of {', '.join(MAPPINGS)}, not {', '.join(unknown)}")
    check_writable(out)
    records = _reported(out / "adc.json")
    wanted = list(cells(models))
    subject: AdcSubject | None = None
    with progress() as bars, bars.task("cells", len(wanted)) as bar:
        for cell in wanted:
            if subject is None or subject.name != cell.model:
                subject = AdcSubject(cell.model)
            if not cell.valid(records.get(cell), subject.digest):
                with bars.task(f"{cell.model} {cell.rule} {cell.bits}", None, transient=True):
                    records[cell] = _result(cell, subject, folder)
            bar.advance()
    report = write_records(out / "adc.json", "make adc",
                           [records[cell] for cell in cells() if cell in records],
                           cells=len(list(cells())), array=ARRAY, every=EVERY,
                           fine_tuning=_fine_tuning())
    adc_plots(report, out / "img")
    path = out / "adc.md"
    write_atomic(path, adc_page(report).encode())
    return path


def _reported(path: Path) -> dict[Cell, dict[str, Any]]:
    """Return the records of the report there is."""
    if not path.is_file():
        return {}
    try:
        records = json.loads(path.read_text(encoding="utf-8"))["records"]
        return {cell_of(record): record for record in records}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a report of the ADC study; remove it to measure it "
                        "again") from error


def _result(cell: Cell, subject: AdcSubject, folder: Path) -> dict[str, Any]:
    """Return a cell's record from its file, or measure it."""
    found = cell.load(folder)
    if found is not None and cell.valid(found, subject.digest):
        return found
    record = cell.record(subject.digest, subject.measure(cell))
    cell.save(folder, record)
    return record


def _fine_tuning() -> dict[str, Any]:
    """Return bits per byte of whole held-out files, before and after, as training measured them."""
    from cimforge_sw.zoo import zoo_folder

    path = zoo_folder(_TUNED) / "training.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    return {"model": _TUNED, "rule": record["rule"], "steps": record["step"],
            "seconds": record["seconds"], "compression": record["compression"],
            **record["before"], "fine_tuned": record["bits_per_byte"]["test"]}
