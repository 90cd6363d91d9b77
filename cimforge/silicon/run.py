"""``cimforge paper``: netlists of the designs; from records the claims, their page and charts."""

import json
from pathlib import Path
from typing import Any

from cimforge.report.bars import bars_text
from cimforge.report.progress import progress
from cimforge.report.records import write_records
from cimforge.report.silicon_charts import silicon_charts
from cimforge.report.silicon_page import silicon_page
from cimforge.silicon.bars import bars
from cimforge.silicon.calibrate import calibrate, error_records
from cimforge.silicon.claims import claims
from cimforge.silicon.designs import FLEXIBLE, WITH_ENERGY, designs, energies, macros
from cimforge.silicon.equal_area import equal_area_records
from cimforge.silicon.netlists import design_records
from cimforge.silicon.published import published_records
from cimforge.silicon.technology_file import technology_yaml
from cimforge.spec.errors import DataError
from cimforge.spec.files import check_writable, read_bytes, write_atomic
from cimforge.synth.adders import adder_cell
from cimforge.synth.liberty import read_library
from cimforge.synth.opensta import sta_version
from cimforge.synth.real import model_layers
from cimforge.synth.run import OSU018, OSU018_NODE, default_library, sram_density
from cimforge.synth.yosys import yosys_version
from cimforge_sw.cost.technology import load_technology

__all__ = ["fitted", "run_netlists", "run_paper"]

_MODEL = "all-MiniLM-L6-v2"
#: What the claims are made from, and what makes it.
_SOURCES = {"estimate": "cimforge estimate --table", "designs": "cimforge paper --netlists",
            "monarch": "cimforge paper-monarch", "synth": "make synth"}


def run_netlists(out: Path) -> None:
    """Map every design to OSU's 180 nm cells; write ``designs.json`` and ``technology.yaml``.

    The technology is what `cimforge_sw.cost.area` calculates with once it is in ``cost/silicon``.

    Raises
    ------
    ToolError, DataError
        A tool or the library is missing; the folder cannot be written to.
    """
    check_writable(out)
    versions = {"yosys": yosys_version(), "sta": sta_version()}
    library = read_library(default_library(None))
    wanted = designs()
    records: list[dict[str, Any]] = []
    with progress() as bars_shown:
        with bars_shown.task("netlists", len(wanted)) as bar:
            for name, config in wanted.items():
                works = model_layers(_MODEL, "", config) if name in WITH_ENERGY else ()
                records += design_records(name, config, library, OSU018_NODE, works)
                bar.advance()
    adder = adder_cell(library)
    report = write_records(
        out / "designs.json", "cimforge paper --netlists", records, tools=versions,
        library={"name": library.name, "voltage": library.voltage, "node_nm": OSU018_NODE,
                 "file": OSU018.name, "full_adder": adder[0].area if adder else None})
    write_atomic(out / "technology.yaml", fitted(report).encode())


def fitted(netlists: dict[str, Any]) -> str:
    """Return the technology that the records of netlists give, as YAML."""
    library = netlists["library"]
    per_bit, source = sram_density(library["node_nm"])
    technology = calibrate(netlists["records"], library["full_adder"], per_bit,
                           library["node_nm"])
    return technology_yaml(technology, library["file"],
                           f"netlists of {netlists['tools']['yosys']} (docs/synthesis.md)", source)


def run_paper(out: Path, netlists: bool = False) -> tuple[str, bool]:
    """Write ``silicon.json``, ``silicon.md`` and charts from the records of that folder.

    Parameters
    ----------
    out : Path
        Folder with ``estimate.json``, ``designs.json``, ``monarch.json`` and ``synth.json``; takes
        the results.
    netlists : bool
        Make ``designs.json`` first: half an hour to an hour, by what is kept in ``build/synth``.

    Returns
    -------
    text : str
        The bars.
    met : bool
        Whether all of them are.

    Raises
    ------
    DataError
        A file is missing or broken; the message has the command that makes it.
    """
    check_writable(out)
    if netlists:
        run_netlists(out)
    read = {name: _records(out / f"{name}.json", command) for name, command in _SOURCES.items()}
    if read["synth"].get("config") != designs()[FLEXIBLE].to_dict():
        raise DataError(f"{out / 'synth.json'}: of another configuration than {FLEXIBLE}, whose "
                        f"power is shown; made by {_SOURCES['synth']}")
    try:
        found = _claims(read)
        report = {"bars": bars(found), "tools": read["designs"]["tools"],
                  "library": read["designs"]["library"],
                  "made_from": {name: data["commit"] for name, data in read.items()}}
        # Once before anything is written: what a report lacks shows here.
        silicon_page({**report, "command": "", "commit": "", "records": found}, read)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise DataError(
            f"{out}: the reports there lack something, or do not fit together "
            f"({type(error).__name__}: {error}); make them anew: "
            f"{', '.join(dict.fromkeys(_SOURCES.values()))}") from error
    report = write_records(out / "silicon.json", "cimforge paper", found, **report)
    silicon_charts(read["designs"], out / "img")
    write_atomic(out / "silicon.md", silicon_page(report, read).encode())
    return bars_text(report["bars"])


def _claims(read: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    netlists, library = read["designs"]["records"], read["designs"]["library"]
    found = claims(read["estimate"]["records"], netlists)
    mapped = macros(netlists)
    with progress() as shown, shown.task("equal area", 1):
        found += equal_area_records(load_technology(), {
            name: record["period_ns"] for name, record in mapped.items()})
    found += error_records(load_technology(), netlists)
    return [*found, *published_records(mapped, energies(netlists), library["node_nm"])]


def _records(path: Path, command: str) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; made by {command}")
    try:
        data = json.loads(read_bytes(path))
        if data["format"] != 1 or not isinstance(data["records"], list):
            raise ValueError("another format")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a file of records ({error}); made by {command}") from error
    return data
