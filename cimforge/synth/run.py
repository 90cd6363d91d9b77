"""``cimforge synth``: from a configuration to records of area, timing and power."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import yaml

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.files import read_bytes, shipped, write_atomic
from cimforge.synth.compose import Block, Design
from cimforge.synth.liberty import Library
from cimforge.synth.liberty_syntax import GZIP, unpack
from cimforge.synth.netlist_text import netlist_verilog
from cimforge.synth.opensta import DEFAULT_ACTIVITY, Timing, analyze
from cimforge.synth.yosys import BUILDS, synthesize

__all__ = ["OSU018", "TILE", "TOPS", "block_module", "default_library", "map_design",
           "records_of", "sram_density", "unpacked"]

#: Debian's library, package qflow-tech-osu018: 180 nm, area in square micrometres.
OSU018 = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")
OSU018_NODE = 180
#: What may be synthesized, by the name of the option ``--block``.
TOPS = ("column", "sub_macro", "macro", "tile")

#: Name of the tile's module.
TILE = "cim_tile"

Progress = Callable[[str], None]


def default_library(path: Path | None) -> Path:
    """Return a library's path: the given one, else Debian's.

    Raises
    ------
    DataError
        None is given and Debian's is not installed.
    """
    if path is None and not OSU018.is_file():
        raise DataError(f"{OSU018}: no such library; install Debian package qflow-tech-osu018 "
                        "(make apt) or name another with --liberty")
    return path or OSU018


def unpacked(path: Path, root: Path = BUILDS) -> Path:
    """Return a library that yosys can read: a packed one is unpacked once, into ``root``.

    Raises
    ------
    DataError
        It cannot be read or written, or is broken.
    """
    data = read_bytes(path)
    if data[:2] != GZIP:
        return path
    plain = root / f"{path.stem}-{hashlib.sha256(data).hexdigest()[:12]}.lib"
    if not plain.is_file():
        write_atomic(plain, unpack(path, data))
    return plain


def map_design(config: DcimConfig, library: Library, top: str = "tile", *, root: Path = BUILDS,
               progress: Progress = lambda module: None) -> Design:
    """Generate a block of a configuration and map every module in it once.

    Parameters
    ----------
    config : DcimConfig
    library : Library
    top : str
        One of `TOPS`.
    root : Path
        Folder of the netlists.
    progress : callable
        Called with the name of each module before it is mapped.

    Raises
    ------
    ToolError, DataError
        As :func:`cimforge.synth.yosys.synthesize`.
    """
    from cimforge_hw.emit import emit_tile

    module_of_top = block_module(top)
    # The tile whatever the block, so that its netlists are shared.
    emission = emit_tile(config, TILE, synthesis=True)

    def netlist(module: str):
        progress(module)
        return synthesize(emission.verilog, module, library, adder=f"{TILE}_full_adder",
                          root=root)

    return Design(module_of_top, emission.sidecar["modules"], netlist)


def block_module(top: str) -> str:
    """Return the module of a block in a tile's Verilog.

    Raises
    ------
    DataError
        ``top`` is not one of `TOPS`.
    """
    if top not in TOPS:
        raise DataError(f"--block must be one of {', '.join(TOPS)}, not {top!r}")
    return TILE if top == "tile" else f"{TILE}_{top}"


def sram_density(node_nm: float) -> tuple[float, str]:
    """Return square micrometres per SRAM bit at a node, and where they come from."""
    text = (shipped("cost") / "sram.yaml").read_text(encoding="utf-8")
    entry = yaml.safe_load(text)["sram_density"]
    scale = (node_nm / entry["node_nm"]) ** 2
    return entry["value"] * scale, (f"{entry['value']} {entry['unit']} at {entry['node_nm']} nm "
                                    f"({entry['source']}), times {scale:.2f}")


def _timing(design: Design, module: str, library: Library) -> tuple[Timing, Timing]:
    """Return the timing with all that is in a block, and the power of its own cells."""
    netlist = design.netlists[module]
    clocked = "clk" in netlist.inputs
    whole = analyze(design.timing_verilog(module), module, library, clocked=clocked)
    if not netlist.children:
        return whole, whole
    return whole, analyze(netlist_verilog(netlist), module, library, clocked=clocked)


def records_of(design: Design, library: Library, node_nm: float = 0,
               progress: Progress = lambda module: None) -> list[dict]:
    """Return a record per block, from leaves to top.

    Parameters
    ----------
    design : Design
    library : Library
    node_nm : float
        Of the library, for storage as SRAM; 0: not known, no such figure.
    progress : callable
        Called with the name of each module before it is timed.

    Raises
    ------
    ToolError
        As :func:`cimforge.synth.opensta.analyze`.
    """
    energy: dict[str, float] = {}
    records = []
    per_bit = sram_density(node_nm)[0] if node_nm else None
    for module, block in design.blocks().items():
        progress(module)
        whole, own = _timing(design, module, library)
        energy[module] = own.energy + sum(
            count * energy[child] for child, count in design.netlists[module].children.items())
        records.append(_record(design, block, whole, energy[module], per_bit))
    return records


def _record(design: Design, block: Block, timing: Timing, energy: float,
            per_bit: float | None) -> dict:
    power = energy / timing.delay + block.leakage if timing.delay else None
    return {
        "block": block.kind, "module": block.module, "count": block.count,
        "area": block.area, "own_area": block.own_area, "tree_area": block.tree_area,
        "storage_area": block.storage_area, "compute_area": block.area - block.storage_area,
        "storage_bits": block.storage_bits,
        "storage_area_as_sram": None if per_bit is None else block.storage_bits * per_bit,
        "flops": block.flops, "sram_bits": block.sram_bits,
        "sram_area": None if per_bit is None else block.sram_bits * per_bit,
        "cells": design.netlists[block.module].counts,
        "delay_ns": timing.delay * 1e9, "path_start": timing.start, "path_end": timing.end,
        "path_levels": timing.levels,
        "default_energy_pj": energy * 1e12, "default_activity": DEFAULT_ACTIVITY[0],
        "default_power_mw": None if power is None else power * 1e3,
        "leakage_uw": block.leakage * 1e6,
    }
