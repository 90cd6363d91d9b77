"""``cimforge estimate --table``: records, page and chart into ``reports``."""

from pathlib import Path

from cimforge.accuracy.between import FILE
from cimforge.cycles.bars import bars
from cimforge.cycles.equal import equal_records
from cimforge.cycles.records import large_records
from cimforge.report.bars import bars_text
from cimforge.report.estimate_page import estimate_chart, estimate_page
from cimforge.report.progress import progress
from cimforge.report.records import write_records
from cimforge.spec.files import check_writable, write_atomic

__all__ = ["run_table"]

COMMAND = "cimforge estimate --table"


def run_table(out: Path, accuracy: Path | None = None) -> tuple[str, bool]:
    """Write ``estimate.json``, ``estimate.md`` and a chart.

    Parameters
    ----------
    out : Path
        Folder of the report.
    accuracy : Path, optional
        The accuracy table's JSON; without it, ``accuracy.json`` of that folder. Plans of
        ``accuracy_equal.json`` beside it count, too.

    Returns
    -------
    text : str
        The bars.
    met : bool
        Whether all of them are.

    Raises
    ------
    DataError
        No accuracy table, or a folder that cannot be written to.
    """
    accuracy = accuracy or out / "accuracy.json"
    more = accuracy.with_name(FILE)
    check_writable(out)
    with progress() as shown:
        with shown.task("latency at equal accuracy", 1):
            records = equal_records(accuracy, *([more] if more.is_file() else []))
        with shown.task("large shapes", 1):
            records = [*large_records(accuracy), *records]
    report = write_records(out / "estimate.json", COMMAND, records, bars=bars(records))
    estimate_chart(report, out / "img" / "estimate-latency.svg")
    write_atomic(out / "estimate.md", estimate_page(report).encode())
    return bars_text(report["bars"])
