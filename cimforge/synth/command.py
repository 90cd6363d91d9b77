"""``cimforge synth``: a configuration to ``synth.json`` and ``synth.md``."""

from pathlib import Path

import cimforge as cf
from cimforge.report.progress import progress
from cimforge.report.records import write_records
from cimforge.report.synth_page import synth_page
from cimforge.spec.errors import ConfigError
from cimforge.spec.files import check_writable, write_atomic
from cimforge.synth.liberty import read_library
from cimforge.synth.opensta import sta_version
from cimforge.synth.real import energy_records, model_layers
from cimforge.synth.run import (
    OSU018,
    OSU018_NODE,
    default_library,
    map_design,
    records_of,
    unpacked,
)
from cimforge.synth.run import sram_density as density_of
from cimforge.synth.yosys import yosys_version

__all__ = ["run_synth"]


def run_synth(config_name: str, out: Path, *, liberty: Path | None = None, node_nm: float = 0,
              top: str = "tile", model: str = "", layer: str = "") -> str:
    """Map, time and weigh a configuration; return the page that was written.

    Parameters
    ----------
    config_name : str
        Preset or YAML file.
    out : Path
        Folder of the reports.
    liberty : Path, optional
        A library; Debian's unless given.
    node_nm : float
        Its node, for storage as SRAM; 0: not known, but Debian's.
    top : str
        column, sub_macro, macro or tile.
    model, layer : str
        Real activity from this model's layer; without a model none.

    Raises
    ------
    CimforgeError
        A tool is missing or fails; the library cannot be used.
    """
    config = cf.load_config(config_name)
    if layer and not model:
        raise ConfigError(f"--layer {layer} needs --model: whose layer it is")
    check_writable(out)
    versions = {"yosys": yosys_version(), "sta": sta_version()}
    path = default_library(liberty)
    node_nm = node_nm or (OSU018_NODE if path == OSU018 else 0)
    library = read_library(unpacked(path))
    with progress() as bars:
        with bars.task("map", None) as bar:
            design = map_design(config, library, top, progress=lambda _: bar.advance())
        with bars.task("time", len(design.netlists)) as bar:
            records = records_of(design, library, node_nm, lambda _: bar.advance())
        if model:
            with bars.task("toggle", None):
                records += energy_records(design, config, model_layers(model, layer, config))
    shown = f" --liberty {path.name}" if liberty else ""
    report = write_records(
        out / "synth.json", f"cimforge synth {config_name}{shown} --block {top}"
        + (f" --model {model}" if model else ""), records, tools=versions, config=config.to_dict(),
        library={"name": library.name, "voltage": library.voltage, "node_nm": node_nm or None,
                 "time_unit_s": library.second, "capacitance_unit_f": library.farad,
                 "leakage_unit_w": library.watt},
        sram=density_of(node_nm)[1] if node_nm else None)
    page = synth_page(report)
    write_atomic(out / "synth.md", page.encode())
    return page
