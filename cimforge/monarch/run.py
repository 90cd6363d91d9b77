"""``make paper-monarch``: figures, page and pictures into ``reports``."""

from pathlib import Path

from cimforge.monarch.pictures import pictures
from cimforge.monarch.records import Record, bars, example_records, model_records
from cimforge.monarch.study import Study
from cimforge.report.bars import bars_text
from cimforge.report.monarch_page import monarch_page
from cimforge.report.progress import progress
from cimforge.report.records import write_records
from cimforge.spec.files import check_writable, write_atomic
from cimforge_sw.analog.models import WORKLOADS

__all__ = ["run_paper_monarch"]


def run_paper_monarch(out: Path) -> tuple[str, bool]:
    """Write ``monarch.json``, ``monarch.md`` and pictures.

    Parameters
    ----------
    out : Path
        Folder of the report.

    Returns
    -------
    text : str
        The bars.
    met : bool
        Whether all of them are.

    Raises
    ------
    DataError
        A folder that cannot be written to.
    """
    check_writable(out)
    records: list[Record] = []
    studies: dict[object, Study] = {}
    with progress() as shown:
        for name in WORKLOADS:
            with shown.task(name, 2) as bar:
                records += model_records(name, studies, bar.at)
        records += example_records()
        with shown.task("pictures", 1):
            pictures(out / "img", records)
    report = write_records(out / "monarch.json", "make paper-monarch", records, bars=bars(records))
    write_atomic(out / "monarch.md", monarch_page(report).encode())
    return bars_text(report["bars"])
