"""A macro's netlists under a compiled layer: the toggles of every block."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.synth.activity import Simulator
from cimforge.synth.netlist import Netlist
from cimforge.synth.trace import Cycle
from cimforge_verif import golden

__all__ = ["opened", "run_columns", "run_distribution", "run_macro", "run_merging",
           "run_sub_macros"]


def opened(netlist: Netlist) -> Netlist:
    """Return a netlist without the instances in it: what they drive becomes inputs.

    The inputs are called as the instance and its port, such as ``merging.merged__3``.
    """
    inputs = dict(netlist.inputs)
    for other in netlist.others:
        reads = netlist.reads_of(other)
        inputs |= {f"{other.name}.{port}": bits for port, bits in other.pins.items()
                   if port not in reads}
    return replace(netlist, inputs=inputs, others=[])


def _planes(numbers: np.ndarray, width: int) -> np.ndarray:
    """Return the bits of integers [..., width], the lowest first."""
    return (numbers[..., None] >> np.arange(width)) & 1


class _Lanes:
    """A simulator of ``count`` equal blocks, with as many copies as fill its words.

    Parameters
    ----------
    netlist : Netlist
    count : int
    """

    def __init__(self, netlist: Netlist, count: int):
        lanes = int(np.lcm(count, 64))
        self.sim, self._copies = Simulator(netlist, lanes), lanes // count
        self.count = count
        if "rst" in netlist.inputs:
            self.sim.set("rst", 0)

    def set(self, port: str, numbers: np.ndarray | int) -> None:
        """Drive an input: a number for all blocks, or one each [count]; some have no such input."""
        if port in self.sim.netlist.inputs:
            each = np.broadcast_to(np.asarray(numbers, np.int64), self.count)
            self.sim.set(port, np.tile(each, self._copies))

    def set_fields(self, port: str, numbers: np.ndarray, width: int) -> None:
        """Drive an input of many fields with numbers [count, fields]."""
        bits = _planes(numbers, width).reshape(self.count, -1).T
        self.sim.set_lanes(port, np.tile(bits, self._copies))

    def get(self, port: str) -> np.ndarray:
        """Return an output of every block [count]."""
        return self.sim.get(port)[:self.count]


def run_columns(netlist: Netlist, config: DcimConfig, cycles: Iterable[Cycle],
                name: str = "layer") -> Simulator:
    """Run all column units of a macro; every sum is compared with the exact one.

    Parameters
    ----------
    netlist : Netlist
        Of a column.
    config : DcimConfig
    cycles : iterable of Cycle
    name : str
        Of the layer, for the error.

    Returns
    -------
    Simulator
        Its lanes are column units; toggles since the first vector.

    Raises
    ------
    DataError
        The netlist computes something else.
    """
    share, units = config.index_share, config.units
    lanes = _Lanes(netlist, config.sub_macros * units)
    expected: list[np.ndarray | None] = [None] * (config.adder_stages - 1)
    for cycle in _counted(lanes.sim, cycles):
        _drive_array(lanes, config, cycle, np.repeat(np.arange(config.sub_macros), units))
        if cycle.active is not None:
            words = (cycle.active.reshape(-1, share) << np.arange(share)).sum(axis=-1)
            lanes.set("active", words)
        if cycle.write:
            lanes.set("write__data__0", cycle.write.words.ravel())
        lanes.sim.clock()
        expected.append(cycle.sums)
        if (wanted := expected.pop(0)) is not None:
            got = np.stack([lanes.get(f"sum__{j}") for j in range(share)], axis=-1)
            if not np.array_equal(got.reshape(wanted.shape), wanted):
                raise DataError(f"{name}: the netlist of {netlist.top} computes other sums")
    return lanes.sim


def run_sub_macros(netlist: Netlist, config: DcimConfig, cycles: Iterable[Cycle]) -> Simulator:
    """Run what sub-macros have besides their columns: the trees of their lines."""
    lanes = _Lanes(opened(netlist), config.sub_macros)
    for cycle in _counted(lanes.sim, cycles):
        _drive_array(lanes, config, cycle, np.arange(config.sub_macros))
        if cycle.write:
            for unit in range(config.units):
                lanes.set(f"write__data__{unit}", cycle.write.words[:, unit])
        lanes.sim.clock()
    return lanes.sim


def run_distribution(netlist: Netlist, config: DcimConfig, cycles: Iterable[Cycle]) -> Simulator:
    """Run the distribution network."""
    lanes = _Lanes(netlist, 1)
    for cycle in _counted(lanes.sim, cycles):
        if cycle.window is not None:
            _drive_window(lanes, config, cycle, "")
            if cycle.selects:
                for level, chosen in zip(("level1", "level2"), cycle.selects, strict=True):
                    for (row, p), value in np.ndenumerate(chosen):
                        lanes.set(f"{level}__{row}__{p}", int(value))
        lanes.sim.clock()
    return lanes.sim


def run_merging(netlist: Netlist, config: DcimConfig, cycles: Iterable[Cycle]) -> Simulator:
    """Run the merging network."""
    lanes = _Lanes(netlist, 1)
    for cycle in _counted(lanes.sim, cycles):
        if cycle.sums is not None and cycle.mode is not None:
            for (p, column), value in np.ndenumerate(cycle.sums):
                lanes.set(f"sum__{p}__{column}", int(value))
            lanes.set("group_log2", cycle.mode.group.bit_length() - 1)
        lanes.sim.clock()
    return lanes.sim


def run_macro(netlist: Netlist, config: DcimConfig, cycles: Iterable[Cycle]) -> Simulator:
    """Run what a macro has of its own: registers of lines and sums, their trees, the tags."""
    lanes = _Lanes(opened(netlist), 1)
    lanes.set("merged__ready", 1)
    lanes.set("vectors__steps", 1)
    sums: list[np.ndarray | None] = [None] * (config.adder_stages + 1)
    group = 1
    for cycle in _counted(lanes.sim, cycles):
        valid = cycle.lines is not None
        lanes.set("vectors__valid", int(valid))
        lanes.set("vectors__bank", cycle.bank)
        if cycle.lines is not None and cycle.mode is not None:
            group = cycle.mode.group
            _drive_window(lanes, config, cycle, "vectors__")
            for p, row in np.ndindex(cycle.lines.shape[:2]):
                lanes.set_fields(f"distribution.line__{p}__{row}", cycle.lines[p, row][None],
                                 config.act_slice)
        for p in range(config.sub_macros):
            chosen = cycle.write is not None and bool(cycle.write.chosen[p])
            lanes.set(f"write__{p}__en", int(chosen))
            if cycle.write:
                lanes.set(f"write__{p}__row", cycle.write.row)
                lanes.set(f"write__{p}__bank", cycle.write.bank)
                for unit, word in enumerate(cycle.write.words[p]):
                    lanes.set(f"write__{p}__data__{unit}", int(word))
        sums.append(cycle.sums)
        if (now := sums.pop(0)) is not None:
            for lane, value in enumerate(golden.merging(config, now, group)):
                lanes.set(f"merging.merged__{lane}", int(value))
        lanes.sim.clock()
    return lanes.sim


def _counted(sim: Simulator, cycles: Iterable[Cycle]) -> Iterable[Cycle]:
    """Yield cycles, and count toggles from the first vector on."""
    began = False
    for cycle in cycles:
        if not began and cycle.lines is not None:
            sim.forget()
            began = True
        yield cycle


def _drive_array(lanes: _Lanes, config: DcimConfig, cycle: Cycle, sub_macro: np.ndarray) -> None:
    """Drive what columns and sub-macros share; ``sub_macro`` is that of every lane."""
    flags: Mapping[str, int] = {
        "enable": cycle.lines is not None, "advance": 1, "first": cycle.first, "last": cycle.last,
        "bank": cycle.bank}
    for port, value in flags.items():
        lanes.set(port, int(value))
    if cycle.lines is not None:
        for row in range(config.rows):
            lanes.set_fields(f"line__{row}", cycle.lines[sub_macro, row], config.act_slice)
    write = cycle.write
    lanes.set("write__en", write.chosen[sub_macro].astype(int) if write else 0)
    if write:
        lanes.set("write__row", write.row)
        lanes.set("write__bank", write.bank)


def _drive_window(lanes: _Lanes, config: DcimConfig, cycle: Cycle, prefix: str) -> None:
    """Drive a window and its mode."""
    assert cycle.window is not None
    assert cycle.mode is not None
    from cimforge_hw.dcim.mode import mode_value

    whole = prefix != ""  # the macro takes activations whole, the network in slices
    width = config.act_bits if whole else config.act_slice
    window = cycle.window if whole else cycle.window >> cycle.part * config.act_slice
    for block, inputs in enumerate(window.reshape(-1, config.max_m)):
        port = f"{prefix}window__{block}"
        if port in lanes.sim.netlist.inputs:
            lanes.set_fields(port, inputs[None], width)
    lanes.set(f"{prefix}mode", mode_value(cycle.mode))
