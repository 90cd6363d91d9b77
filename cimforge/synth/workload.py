"""What one column sees of a pruned layer: weights of many outputs, activations of real text.

Every lane of the simulator is another output column with the same activations, as in a sub-macro.
Tiles follow each other along the layer's inputs; while one computes, the next one is written into
the other bank. Of the sub-macros it is the first, with all of them working on one output (G = P).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.synth.activity import Simulator
from cimforge.synth.netlist import Netlist

__all__ = ["Workload", "column_tiles", "run_column"]


@dataclass(frozen=True)
class Workload:
    """A layer.

    Attributes
    ----------
    name : str
    n : int
        Kept weights of every ``max_m`` inputs: the macro's mode.
    weights : int array [O, K]
    inputs : int array [T, K]
    """

    name: str
    n: int
    weights: np.ndarray
    inputs: np.ndarray

    @property
    def sparsity(self) -> float:
        """Share of zero weights."""
        return float((self.weights == 0).mean())


def _packed(block: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return values and positions [O, B, n] of blocks [O, B, M], ascending, filled up with zeros.

    Raises
    ------
    DataError
        A block has more than ``n`` nonzero weights.
    """
    if ((block != 0).sum(axis=2) > n).any():
        raise DataError(f"a block of {block.shape[2]} inputs has more than {n} weights")
    order = np.argsort(block == 0, axis=2, kind="stable")[:, :, :n]
    return np.take_along_axis(block, order, axis=2), order


def column_tiles(config: DcimConfig, work: Workload) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield words, products' weights, positions and blocks of one tile after another.

    Yields
    ------
    words : int array [R, O]
        What is written into every row.
    values, positions : int array [R, O]
        The weight of every row and the line it takes.
    lines : int array [R, T, M]
        The activations of every row's block.
    """
    m, rows = config.max_m, config.rows
    blocks = -(-work.weights.shape[1] // m)
    pad = ((0, 0), (0, blocks * m - work.weights.shape[1]))
    values, positions = _packed(
        np.pad(work.weights, pad).reshape(len(work.weights), blocks, m), work.n)
    acts = np.pad(work.inputs, pad).reshape(len(work.inputs), blocks, m)
    slots = np.arange(rows) * config.sub_macros  # of the first sub-macro
    tile_blocks = config.slots // work.n
    for first in range(0, blocks - tile_blocks + 1, tile_blocks):
        block, place = slots // work.n, slots % work.n
        used = block < tile_blocks
        block = np.where(used, first + block, first)
        w = np.where(used, values[:, block, place], 0).T
        p = np.where(used, positions[:, block, place], 0).T
        lines = np.where(used[:, None, None], acts[:, block].transpose(1, 0, 2), 0)
        words = (w & (1 << config.weight_bits) - 1) | p << config.weight_bits
        yield words, w, p, lines


def run_column(netlist: Netlist, config: DcimConfig, work: Workload) -> Simulator:
    """Run a layer through a column's netlist; every sum is compared with the exact one.

    Parameters
    ----------
    netlist : Netlist
        Of a column.
    config : DcimConfig
        With ``line`` select and ``index_share`` 1.
    work : Workload
        Of at least 64 outputs, of which a multiple of 64 runs, and at least two tiles.

    Returns
    -------
    Simulator
        With the toggles since the second tile began.

    Raises
    ------
    DataError
        The layer is too small, or the netlist computes something else.
    """
    if config.select != "line" or config.index_share != 1:
        raise DataError("energy of a workload needs select: line and index_share: 1")
    lanes = len(work.weights) // 64 * 64
    tiles = list(column_tiles(config, work))
    if not lanes or len(tiles) < 2:
        raise DataError(f"{work.name}: {len(work.weights)} outputs and {len(tiles)} tiles; "
                        "wanted at least 64 and 2")
    sim = Simulator(netlist, lanes)
    sim.set("rst", 0)
    sim.set("active", 1)
    _load(sim, config, tiles[0][0][:, :lanes], 0, range(config.rows))
    sim.forget()
    for i, tile in enumerate(tiles):
        following = tiles[i + 1][0][:, :lanes] if i + 1 < len(tiles) else None
        _compute(sim, config, tile, following, i % config.weight_banks, work.name)
    return sim


def _load(sim: Simulator, config: DcimConfig, words: np.ndarray, bank: int, rows) -> None:
    sim.set("enable", 0)
    for row in rows:
        _write(sim, words, bank, row)
        sim.clock()


def _write(sim: Simulator, words: np.ndarray | None, bank: int, row: int) -> None:
    """Drive the write port, or switch it off."""
    if words is None or row >= len(words):
        sim.set("write__en", 0)
    else:
        sim.set("write__en", 1)
        sim.set("write__bank", bank)
        sim.set("write__row", row)
        sim.set("write__data__0", words[row])


def _compute(sim: Simulator, config: DcimConfig, tile, following, bank: int, name: str) -> None:
    """Run all vectors of a tile, and write the next one meanwhile if there is a second bank."""
    _, values, positions, lines = tile
    lanes = sim.lanes
    other = 1 - bank if config.weight_banks == 2 else None
    row = 0
    for vector in range(lines.shape[1]):
        taken = np.take_along_axis(lines[:, vector], positions[:, :lanes], axis=1)
        expected = (values[:, :lanes] * taken).sum(axis=0)
        for part in range(config.slices):
            sim.set("enable", 1)
            sim.set("first", int(part == 0))
            sim.set("last", int(part == config.slices - 1))
            sim.set("bank", bank)
            _drive(sim, config, lines[:, vector], part)
            _write(sim, following if other is not None else None, other or 0, row)
            row += 1
            sim.clock()
        if not np.array_equal(sim.get("sum__0"), expected):
            raise DataError(f"{name}: the netlist of {sim.netlist.top} computes other sums")
    rest = range(row, config.rows) if other is not None else range(config.rows)
    if following is not None:
        _load(sim, config, following, bank if other is None else other, rest)


def _drive(sim: Simulator, config: DcimConfig, lines: np.ndarray, part: int) -> None:
    """Put a slice of the activations [R, M] on the lines."""
    width = config.act_slice
    slices = (lines >> part * width) & (1 << width) - 1
    for row in range(config.rows):
        bits = (slices[row][:, None] >> np.arange(width)) & 1
        sim.set_bits(f"line__{row}", bits.ravel())
