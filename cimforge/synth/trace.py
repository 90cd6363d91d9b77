"""What a macro sees of a compiled layer, cycle by cycle: the stimuli of gate-level energy."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.mode import Mode
from cimforge.spec.program import LayerProgram
from cimforge_verif import golden
from cimforge_verif.products import Bank, products
from cimforge_verif.replay import replay

__all__ = ["Cycle", "Write", "trace"]


@dataclass(frozen=True, eq=False)
class Write:
    """A beat of weights: words [P, units] for ``row`` of the sub-macros that are ``chosen`` [P]."""

    bank: int
    row: int
    chosen: np.ndarray
    words: np.ndarray


@dataclass(frozen=True, eq=False)
class Cycle:
    """A cycle of the macro; without ``lines`` nothing computes.

    Attributes
    ----------
    write : Write or None
    bank : int
    mode : Mode or None
    first, last : bool
        Slice of a vector.
    part : int
        Number of the slice, the lowest first.
    window : int array [window_inputs]
        The activations.
    lines : int array [P, R, L]
        The slice of them on the lines of the slots, unsigned.
    selects : tuple of int arrays, or None
        Level 1 and level 2 [R, P]; ``pair`` only.
    active : int array [P, C]
        Columns that compute.
    sums : int array [P, C]
        Column sums of the vector, where the slice is its last one.
    """

    write: Write | None
    bank: int = 0
    mode: Mode | None = None
    first: bool = False
    last: bool = False
    part: int = 0
    window: np.ndarray | None = None
    lines: np.ndarray | None = None
    selects: tuple[np.ndarray, np.ndarray] | None = None
    active: np.ndarray | None = None
    sums: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class _Step:
    """A Compute."""

    mode: Mode
    steps: int
    bank: Bank
    windows: np.ndarray


def trace(config: DcimConfig, program: LayerProgram, inputs: np.ndarray) -> Iterator[Cycle]:
    """Yield the cycles of a layer's macro.

    Vectors follow each other without gaps. The next tile is written while one computes, where there
    is a second bank, and what that does not hide takes cycles of its own. Cycles in which a program
    waits for activations or for the output are not among them.

    Parameters
    ----------
    config : DcimConfig
    program : LayerProgram
    inputs : int array [T, K]
    """
    steps = _steps(config, program, inputs)
    banks = [step.bank for step in steps]
    number = 0
    yield from (Cycle(write) for write in _writes(config, banks[0], number))
    for i, step in enumerate(steps):
        loads = i + 1 < len(steps) and banks[i + 1] is not step.bank
        other = (number + 1) % config.weight_banks
        coming = iter(_writes(config, banks[i + 1], other)) if loads else iter(())
        for cycle in _compute(config, step, number):
            hidden = next(coming, None) if config.weight_banks == 2 else None
            yield Cycle(hidden, *cycle)
        yield from (Cycle(write) for write in coming)
        number = other if loads else number


def _steps(config: DcimConfig, program: LayerProgram, inputs: np.ndarray) -> list[_Step]:
    found: list[_Step] = []

    def record(config, mode, steps, bank, windows):
        found.append(_Step(mode, steps, bank, windows.copy()))
        return products(config, mode, steps, bank, windows)

    replay(config, program, inputs, record)
    return found


def _writes(config: DcimConfig, bank: Bank, number: int) -> Iterator[Write]:
    """Yield the beats that fill a bank."""
    share, bits = config.index_share, config.weight_bits
    weights = (bank.weight & (1 << bits) - 1).reshape(*bank.weight.shape[:2], config.units, share)
    words = (weights << np.arange(share) * bits).sum(axis=-1) | bank.index << share * bits
    parts = config.sub_macros // config.load_rows
    for row in range(config.rows):
        for part in range(parts):
            yield Write(number, row, np.arange(config.sub_macros) // config.load_rows == part,
                        words[:, row])


def _compute(config: DcimConfig, step: _Step, number: int) -> Iterator[tuple]:
    """Yield the fields of a cycle but its write."""
    mask = (1 << config.act_slice) - 1
    everything = np.ones((config.sub_macros, config.cols), np.int64)
    for window in step.windows:
        for s in range(step.steps):
            selects, active = None, everything
            if step.bank.selects is not None:
                level1, level2, chosen = (part[s] for part in step.bank.selects)
                selects, active = (level1, level2), chosen
            lines = golden.distribution(config, window, step.mode, *(selects or ()))
            lines = lines.swapaxes(0, 1)  # [P, R, L]
            sums = np.stack([golden.sub_macro(config, step.bank.weight[p], step.bank.index[p],
                                              lines[p]) for p in range(config.sub_macros)])
            for part in range(config.slices):
                shift = part * config.act_slice
                last = part == config.slices - 1
                yield (number, step.mode, part == 0, last, part, window,
                       lines >> shift & mask, selects, active, sums * active if last else None)
