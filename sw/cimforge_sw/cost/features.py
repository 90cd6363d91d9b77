"""What a macro of a configuration is made of, counted: the terms of the area's closed form."""

from functools import lru_cache

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.mode import slot_blocks

__all__ = ["BLOCKS", "TREE_FANOUT", "features", "instances"]

#: Blocks in the order of `features`; areas of each are without the blocks in it.
BLOCKS = ("Column", "SubMacro", "Slicer", "Distribution", "Merging", "Macro")
#: Loads per buffer of a tree, as in :mod:`cimforge.synth.fanout`.
TREE_FANOUT = 12

Features = dict[str, float]


def instances(config: DcimConfig) -> dict[str, int]:
    """Return how often each block is in a macro."""
    return {"Column": config.sub_macros * config.units, "SubMacro": config.sub_macros,
            "Slicer": int(config.slices > 1), "Distribution": 1, "Merging": 1, "Macro": 1}


def features(config: DcimConfig) -> dict[str, Features]:
    """Return the counts of every block, by name of the term.

    Each count times what one costs, summed, is the area of the block without those in it.
    """
    return {"Column": _column(config), "SubMacro": _sub_macro(config),
            "Slicer": {"choice of a bit": config.window_inputs * config.act_bits},
            "Distribution": _distribution(config), "Merging": _merging(config),
            "Macro": _macro(config)}


def _buffers(fanout: int) -> int:
    """Return the buffers of a tree."""
    count = 0
    while fanout > TREE_FANOUT:
        fanout = -(-fanout // TREE_FANOUT)
        count += fanout
    return count


def _column(config: DcimConfig) -> Features:
    """Count a column unit.

    A full adder takes three bits and leaves two: there are as many as bits that have to go.
    """
    rows, share, slice_bits = config.rows, config.index_share, config.act_slice
    lines = config.lines if config.lines > 1 else 0
    bits, stored = config.weight_bits, rows * config.cell_bits
    partial = rows * bits * slice_bits
    sign = config.slices > 1  # a tree of its own for the highest bit of a slice
    sums = 2 * config.term_bits
    left = sums + (2 * (config.term_bits - slice_bits + 1) if sign else 0)
    again = 2 * (config.term_bits - slice_bits + 1) if sign else 0
    held = (sums if config.adder_stages == 2 else 0) + config.column_bits
    return {
        "stored bit": config.weight_banks * stored,
        "word": config.weight_banks * rows,
        "bank select of a bit": stored * (config.weight_banks - 1),
        "line select of a bit": rows * slice_bits * lines,
        "line decoded": rows * lines if config.index_coding == "binary" else 0,
        "product of two bits": share * partial,
        "full adder": share * max(partial + again - left, 0),
        "bit of a sum": share * config.term_bits,
        "bit of a sliced sum": share * config.column_bits if config.slices > 1 else 0,
        "register": share * held,
        "column": share,
    }


def _sub_macro(config: DcimConfig) -> Features:
    lines = config.rows * config.lines * config.act_slice
    control = 6 + max(config.rows - 1, 1).bit_length()
    return {"buffer": (lines + control) * _buffers(config.units)}


@lru_cache(maxsize=4096)
def _choices(config: DcimConfig) -> tuple[int, int]:
    """Return the sources of all buses of blocks, and of all slots, of the distribution network."""
    modes = config.modes
    blocks = np.stack([slot_blocks(config, mode) for mode in modes])  # [modes, R, P]
    sizes = np.array([mode.m for mode in modes])
    carried = listened = 0
    for row in range(config.rows):
        buses: list[set[tuple[int, int]]] = []
        slots: list[set[int]] = [set() for _ in range(config.sub_macros)]
        for mode, size in enumerate(sizes.tolist()):
            wanted = blocks[mode, row].tolist()
            for bus, block in enumerate(sorted({block for block in wanted if block >= 0})):
                if bus == len(buses):
                    buses.append(set())
                buses[bus].add((block, size))
                for slot, mine in enumerate(wanted):
                    if mine == block:
                        slots[slot].add(bus)
        # What has one source is a wire, gated by the modes that do not use it.
        carried += sum(len(bus) for bus in buses if len(bus) > 1)
        listened += sum(len(slot) for slot in slots if len(slot) > 1)
    return carried, listened


def _distribution(config: DcimConfig) -> Features:
    carried, listened = _choices(config.replace(cols=1, out_port=1, act_port_bits=8,
                                                index_share=1))
    if config.select == "pair":
        # Choices are of all pairs; then two levels of P to one per slot.
        pair = 2 * config.act_slice
        bus = config.sub_macros * pair
        return {"choice of a bit": carried * bus, "slot's choice of a bit": listened * bus,
                "choice": carried + listened,
                "pair select of a bit": 2 * config.slots * (config.sub_macros - 1) * pair,
                "mode": len(config.modes)}
    width = config.max_m * config.act_slice
    return {"choice of a bit": carried * width, "slot's choice of a bit": listened * width,
            "choice": carried + listened, "pair select of a bit": 0, "mode": len(config.modes)}


def _merging(config: DcimConfig) -> Features:
    adders = chosen = 0
    count, bits = config.sub_macros, config.column_bits
    for level in range(len(config.groups)):
        if level:
            count, bits = count // 2, bits + 1
            adders += count * bits
        chosen += count * bits
    return {"bit of an adder": config.cols * adders,
            "choice of a bit": config.cols * chosen * (len(config.groups) > 1)}


def _macro(config: DcimConfig) -> Features:
    lines = config.slots * config.lines * config.act_slice
    sums = config.sub_macros * config.cols * config.macro_bits
    return {"register": lines + sums, "macro": 1}
