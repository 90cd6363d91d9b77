"""Area, clock and energy of macros from their netlists: the records behind every claim."""

from collections.abc import Callable, Iterable
from typing import Any

from cimforge.spec.config import DcimConfig
from cimforge.synth.liberty import Library
from cimforge.synth.opensta import analyze
from cimforge.synth.real import LayerWork, energy_records
from cimforge.synth.run import map_design, sram_density

__all__ = ["design_records"]

Record = dict[str, Any]


def design_records(name: str, config: DcimConfig, library: Library, node_nm: float,
                   works: Iterable[LayerWork] = (),
                   progress: Callable[[str], None] = lambda module: None) -> list[Record]:
    """Return a record of a macro's area and clock, and one per workload of its energy.

    Parameters
    ----------
    name : str
        Of the design.
    config : DcimConfig
    library : Library
    node_nm : float
        Of the library; for weights as SRAM.
    works : iterable of LayerWork
        Layers to run through the netlists.
    progress : callable
        Called with the name of each module before it is mapped.

    Raises
    ------
    ToolError, DataError
        As for :func:`~cimforge.synth.run.map_design`.
    """
    design = map_design(config, library, "macro", progress=progress)
    blocks = {block.kind: block for block in design.blocks().values()}
    macro = blocks["Macro"]
    timing = analyze(design.timing_verilog(macro.module), macro.module, library, clocked=True)
    per_bit = sram_density(node_nm)[0]
    about = {"design": name, "config": config.to_dict()}
    records: list[Record] = [{
        **about, "what": "macro", "area": macro.area, "storage_area": macro.storage_area,
        "storage_bits": macro.storage_bits,
        "area_with_sram": macro.area - macro.storage_area + macro.storage_bits * per_bit,
        "flops": macro.flops, "period_ns": timing.delay * 1e9, "path_start": timing.start,
        "path_end": timing.end,
        "blocks": {kind: {"count": block.count, "own_area": block.own_area, "area": block.area}
                   for kind, block in blocks.items()}}]
    for record in energy_records(design, config, iter(works)):
        records.append({**about, **record, "what": "energy"})
    return records
