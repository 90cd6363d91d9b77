"""From a mapping to commands: addresses, strides, masks, and stages pipelined over tokens."""

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cimforge.spec.analog.commands import (
    AnalogCommand,
    Drive,
    End,
    Erase,
    Input,
    Output,
    Program,
    SetRequantize,
)
from cimforge.spec.analog.config import AnalogConfig, lossless_bits
from cimforge.spec.analog.program import AnalogProgram
from cimforge.spec.analog.timing import cycles
from cimforge.spec.checks import check_flag, check_integer, check_power_of_two
from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.analog.factors import Matrix
from cimforge_sw.analog.memory import Memory
from cimforge_sw.analog.placement import Mapping, Placement

__all__ = ["Precision", "schedule"]

#: How far a stage's drives are ahead of the next one's in program order, as a share of a stage. All
#: of them, or just so much that arrays of both have work: drives are loaded in program order.
_LEADS = (1.0, 0.1)
_ALL_ROWS = 512  # of the largest array


@dataclass(frozen=True)
class Precision:
    """How the drives of a stage convert.

    Parameters
    ----------
    bits : int
        ADC bits, 1..16; 0: as many as lose nothing.
    row_group : int
        Driven rows per pulse, a power of two in 1..512; 0: all at once.
    shift, offset : int
        Of the converter, 0..15 and 0..4095.
    rounded : bool

    Raises
    ------
    ConfigError
        Any of them of another type or out of range.
    """

    bits: int = 0
    row_group: int = 0
    shift: int = 0
    offset: int = 0
    rounded: bool = False

    def __post_init__(self):
        check_integer("bits", self.bits, 0, 16)
        check_integer("row_group", self.row_group, 0, _ALL_ROWS)
        if self.row_group:
            check_power_of_two("row_group", self.row_group, 1, _ALL_ROWS)
        check_integer("shift", self.shift, 0, 15)
        check_integer("offset", self.offset, 0, 4095)
        check_flag("rounded", self.rounded)

    def of(self, config: AnalogConfig, rows: int) -> dict[str, Any]:
        """Return the fields of a drive whose columns meet ``rows`` programmed cells."""
        group = self.row_group or _ALL_ROWS
        bits = self.bits or lossless_bits(min(rows, group), config.cell_bits)
        if bits > config.adc_bits:
            raise ConfigError(f"columns of {min(rows, group)} cells need {bits} ADC bits, but the "
                              f"tile has {config.adc_bits}: raise adc_bits, or lower row_group")
        return {"bits": bits, "row_group": group, "shift": self.shift, "offset": self.offset,
                "round": self.rounded}


def schedule(mapping: Mapping, names: Sequence[str], weights: Dict[tuple[str, str], np.ndarray],
             config: AnalogConfig, *, scales: Dict[str, tuple[int, int, int]] | None = None,
             tokens: int = 1, precision: Precision | None = None, pipelined: bool = True
             ) -> AnalogProgram:
    """Return the program of layers that share one input.

    Parameters
    ----------
    mapping : Mapping
        Of these layers, and perhaps of others, whose blocks are programmed as well where they
        share an array.
    names : sequence of str
        One layer, or several of the same Monarch structure; the program has them in the order of
        the mapping.
    weights : dict of (layer, stage) to ndarray of int8
        ``"W"``: [O, K]; ``"R"``: [k, r j, K / k]; ``"L"``: [j, O / j, k r], as
        `cimforge_verif.analog.monarch` takes them.
    config : AnalogConfig
        Its ``array`` is the mapping's.
    scales : dict of str to (bias, multiplier, shift)
        Requantizer between the Monarch stages, by layer.
    tokens : int
    precision : Precision, optional
        Lossless without it.
    pipelined : bool
        Let the first stage of a token run beside the second of the one before.

    Raises
    ------
    ConfigError
        A tile too small or of another array size, too coarse an ADC, or no tokens.
    DataError
        Layers that are not in the mapping, do not share an input, or weights of another shape.
    """
    precision = precision or Precision()
    if not isinstance(precision, Precision):
        raise ConfigError(f"precision must be a Precision, not {precision!r}")
    check_integer("tokens", tokens, 1)
    if mapping.array != config.array:
        raise ConfigError(f"the mapping is for arrays of {mapping.array}, the tile's have "
                          f"{config.array}")
    wanted = {_matrix(mapping, name) for name in names}
    matrices = [matrix for matrix in mapping.matrices if matrix in wanted]
    names = [matrix.name for matrix in matrices]
    memory = Memory(mapping, matrices, config)
    used = {place.array for name in names for place in mapping.placements
            if place.block.factor.matrix == name}
    local = {array: number for number, array in enumerate(sorted(used))}
    if len(local) > config.arrays:
        raise ConfigError(f"{names[0]}: lies in {len(local)} arrays, but the tile has "
                          f"{config.arrays}")
    setup, beats = _setup(mapping, local, weights, config)
    used_scales = ({} if memory.stages == ("W",) else
                   {name: _scale(scales, name) for name in names})
    if used_scales:
        setup += [SetRequantize(slot=slot, bias=bias, multiplier=multiplier, shift=shift)
                  for slot, (bias, multiplier, shift) in enumerate(used_scales.values())]
        if len(names) > config.requantizers:
            raise ConfigError(f"{len(names)} layers need as many requantizers, but the tile has "
                              f"{config.requantizers}")
    zeros = -(-memory.layout.acts // config.port)
    setup.append(Input(dst=0, count=zeros))
    stages = _drives(memory, local, config, precision, used_scales)
    run = _run(memory, stages, config, tokens, pipelined)
    return AnalogProgram(
        config=config, mapping=mapping.name, names=tuple(names),
        outputs=tuple(matrix.outputs for matrix in matrices), inputs=matrices[0].inputs,
        tokens=tokens, setup=setup, run=run, weights=beats, zeros=zeros)


def _matrix(mapping: Mapping, name: str) -> Matrix:
    for matrix in mapping.matrices:
        if matrix.name == name:
            return matrix
    raise DataError(f"{name!r} is not in the mapping of "
                    f"{', '.join(matrix.name for matrix in mapping.matrices)}")


def _scale(scales: Dict[str, tuple[int, int, int]] | None, name: str) -> tuple[int, int, int]:
    if scales is None or name not in scales:
        raise DataError(f"{name}: no scale for the requantizer between its stages")
    return scales[name]


def _setup(mapping: Mapping, local: dict[int, int], weights: Dict[tuple[str, str], np.ndarray],
           config: AnalogConfig) -> tuple[list[AnalogCommand], np.ndarray]:
    """Return the commands that program the arrays, and the weight stream."""
    commands: list[AnalogCommand] = [Erase(array=array) for array in local.values()]
    beats, grain = [np.zeros((0, config.port), dtype=np.int8)], config.grain
    for place in mapping.placements:
        if place.array not in local:
            continue
        if place.rows % grain or place.cols % grain:
            raise ConfigError(f"{place.block.factor.matrix}: blocks of {place.rows} x {place.cols} "
                              f"cells are not whole grains of {grain}")
        cells = np.zeros((place.rows, place.cols), dtype=np.int8)
        cells[:place.block.rows, :place.block.cols] = _part(place, weights)
        for row in range(0, place.rows, grain):
            for col in range(0, place.cols, grain):
                # Blocks that a column could meet together begin in different rows.
                commands.append(Program(
                    array=local[place.array], row=(place.row + row) // grain,
                    col=(place.col + col) // grain, tag=1 + place.row // grain))
                beats.append(cells[row:row + grain, col:col + grain].reshape(-1, config.port))
    return commands, np.concatenate(beats)


def _part(place: Placement, weights: Dict[tuple[str, str], np.ndarray]) -> np.ndarray:
    """Return a block's weights as [rows, columns], inputs by outputs."""
    block, factor = place.block, place.block.factor
    key = factor.matrix, factor.stage
    if key not in weights:
        raise DataError(f"{factor.matrix}: no weights of stage {factor.stage}")
    stored = weights[key]
    inputs, rank = factor.count // factor.rank, factor.rank
    shape = {"W": (factor.cols, factor.rows), "L": (factor.count, factor.cols, factor.rows),
             "R": (inputs, rank * factor.cols, factor.rows)}[factor.stage]
    if stored.shape != shape or stored.dtype != np.int8:
        raise DataError(f"{factor.matrix} {factor.stage}: weights must be int8 of shape {shape}, "
                        f"not {stored.dtype} of shape {stored.shape}")
    if factor.stage == "R":
        turn, k = divmod(block.index, inputs)
        stored = stored[k].reshape(rank, factor.cols, factor.rows)[turn]
    elif factor.stage == "L":  # the hidden vector is rank-major, as R's blocks are
        stored = stored[block.index].reshape(factor.cols, -1, rank).swapaxes(1, 2)
        stored = stored.reshape(factor.cols, factor.rows)
    return stored[block.first_col:block.first_col + block.cols,
                  block.first_row:block.first_row + block.rows].T


def _drives(memory: Memory, local: dict[int, int], config: AnalogConfig, precision: Precision,
            scales: Dict[str, tuple[int, int, int]]) -> list[list[Drive]]:
    """Return the drives of every stage for token 0; arrays take turns."""
    ranked = sorted(set(scales.values()))
    groups = memory.drivable({name: ranked.index(scale) for name, scale in scales.items()})
    return [[replace(memory.drive(together), array=local[together[0].array],
                     **precision.of(config, max(place.block.rows for place in together)))
             for together in groups[stage]] for stage in memory.stages]


def _run(memory: Memory, stages: list[list[Drive]], config: AnalogConfig, tokens: int,
         pipelined: bool) -> list[AnalogCommand]:
    """Return the commands of all tokens; of the orders tried, one that takes the fewest cycles."""
    if not pipelined or len(stages) == 1:
        return _ordered(memory, stages, config, tokens, _LEADS[0], pipelined)
    runs = [_ordered(memory, stages, config, tokens, lead, pipelined) for lead in _LEADS]
    return min(runs, key=lambda run: cycles(config, run))


def _ordered(memory: Memory, stages: list[list[Drive]], config: AnalogConfig, tokens: int,
             lead: float, pipelined: bool) -> list[AnalogCommand]:
    run: list[AnalogCommand] = []
    inputs = memory.layout.matrices[0].inputs
    ready: dict[tuple[int, int], int] = {}  # (stage, token) -> position its input is complete at

    def take(token: int) -> None:
        run.append(Input(dst=memory.layout.input(token), count=-(-inputs // config.port)))
        ready[0, token] = len(run) - 1

    def perform(work: list[tuple[int, int]]) -> None:
        """Append the drives of several (stage, token), mixed as ``lead`` says."""
        turns = [((n + 0.5) / len(stages[stage]) + lead * stage, stage, token, drive)
                 for stage, token in work for n, drive in enumerate(stages[stage])]
        for _, stage, token, drive in sorted(turns, key=lambda turn: turn[:2]):
            moved = memory.moved(drive, stage, token)
            run.append(replace(moved, depends=len(run) - ready[stage, token]))
            ready[stage + 1, token] = len(run) - 1

    def send(token: int) -> None:
        for n, (src, outputs) in enumerate(memory.layout.outputs(token)):
            run.append(Output(src=src, count=-(-outputs // config.port),
                              last=n == len(memory.layout.matrices) - 1))

    depth = len(stages)
    if not pipelined:
        for token in range(tokens):
            take(token)
            for stage in range(depth):
                perform([(stage, token)])
            send(token)
    else:
        take(0)
        for step in range(tokens + depth - 1):
            if step + 1 < tokens:
                take(step + 1)
            perform([(stage, step - stage) for stage in range(depth) if 0 <= step - stage < tokens])
            if step - depth + 1 >= 0:
                send(step - depth + 1)
    return [*run, End()]
