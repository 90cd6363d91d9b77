"""Weights into cells: every nonzero gets a slot, every tile its beats of the weight stream."""

from dataclasses import dataclass

import numpy as np

from cimforge.spec.layout import pack_selects
from cimforge_sw.compile.steps import select_steps, share_pairs
from cimforge_sw.compile.tiling import Tiling

__all__ = ["Placement", "pack_tiles", "place", "place_cells"]

_SLAB = 1 << 22  # weights placed at a time: bounds the memory


@dataclass(frozen=True, eq=False)
class Placement:
    """The weight stream of one pass over a layer.

    Attributes
    ----------
    tiling : Tiling
    stream : ndarray of uint8, shape (beats, ceil(weight_beat_bits / 8))
        Tiles in order; with ``pair`` the selects of each before its weights.
    steps : ndarray of int64, shape (tiles,)
        Select steps of every tile.
    """

    tiling: Tiling
    stream: np.ndarray
    steps: np.ndarray


def _slots(tiling: Tiling, kept: np.ndarray) -> np.ndarray:
    """Return the slot in its block of every nonzero: ``kept`` and result (outputs, blocks, m)."""
    outputs, blocks, m = kept.shape
    slot = kept.cumsum(axis=-1, dtype=np.int8) - 1
    if tiling.config.select == "line":
        return slot
    shape = (outputs // tiling.config.cols, tiling.config.cols, blocks, m)
    return share_pairs(kept.reshape(shape), slot.reshape(shape),
                       tiling.passes * tiling.mode.n).reshape(kept.shape)


def _to_cells(tiling: Tiling, slots: np.ndarray) -> np.ndarray:
    """Turn (outputs, blocks, passes * n) into cells (tiles, R, P, C)."""
    config, mode = tiling.config, tiling.mode
    groups, used = config.sub_macros // mode.group, config.rows * mode.group // mode.n * mode.n
    parts = slots.reshape(-1, groups, config.cols, tiling.windows, used // mode.n, tiling.passes,
                          mode.n)
    if tiling.spans[0][0]:  # the short last window comes first
        parts = np.roll(parts, 1, axis=3)
    parts = parts.transpose(0, 3, 5, 1, 2, 4, 6).reshape(-1, groups, config.cols, used)
    cells = np.zeros((len(parts), groups, config.cols, config.rows * mode.group), slots.dtype)
    cells[..., :used] = parts
    cells = cells.reshape(len(parts), groups, config.cols, config.rows, mode.group)
    return cells.transpose(0, 3, 1, 4, 2).reshape(
        len(parts), config.rows, config.sub_macros, config.cols)


def place_cells(tiling: Tiling, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place whole blocks of outputs.

    Parameters
    ----------
    tiling : Tiling
        Of the whole layer.
    weight : ndarray of int8, shape (outputs, K)
        Missing outputs of the last block are empty columns.

    Returns
    -------
    value : ndarray of int8, shape (tiles, R, P, C)
    position : ndarray of uint8, shape (tiles, R, P, C)
        Input in the block; 0 in an empty cell. Equal in columns that share their index.
    """
    config, m = tiling.config, tiling.mode.m
    width = config.outputs(tiling.mode)
    padded = np.zeros((-(-len(weight) // width) * width,
                       tiling.windows * config.k_tile(tiling.mode)), dtype=np.int8)
    padded[:len(weight), :weight.shape[1]] = weight
    kept = (padded != 0).reshape(-1, config.index_share, padded.shape[1])
    kept = np.repeat(kept.any(axis=1), config.index_share, axis=0).reshape(len(padded), -1, m)
    slot = _slots(tiling, kept)
    source = np.flatnonzero(kept)
    depth = tiling.passes * tiling.mode.n
    target = source // m * depth + slot.reshape(-1)[source]
    value = np.zeros(padded.size // m * depth, dtype=np.int8)
    position = np.zeros(value.size, dtype=np.uint8)
    value[target] = padded.reshape(-1)[source]
    position[target] = source % m
    shape = (len(padded), -1, depth)
    return _to_cells(tiling, value.reshape(shape)), _to_cells(tiling, position.reshape(shape))


def pack_tiles(tiling: Tiling, value: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Pack many tiles as :func:`cimforge.spec.layout.pack_weights` packs one, several times faster.

    Parameters
    ----------
    tiling : Tiling
        Its configuration says how wide everything is.
    value : ndarray of int8, shape (tiles, R, P, C)
        Weights.
    index : ndarray of uint8, shape (tiles, R, P, C)
        Line selects, equal in columns that share them.

    Returns
    -------
    ndarray of uint8, shape (tiles, weight_beats, ceil(weight_beat_bits / 8))
    """
    config = tiling.config
    share, bits = config.index_share, config.weight_bits
    fields = (value.view(np.uint8) & (1 << bits) - 1).reshape(-1, share)
    kind = "<u2" if config.unit_bits <= 16 else "<u8"
    words = index.reshape(-1, share)[:, 0].astype(kind) << share * bits
    for lane in range(share):
        words |= fields[:, lane].astype(kind) << lane * bits
    width = words.dtype.itemsize
    unit = np.unpackbits(words.view(np.uint8).reshape(-1, width), axis=-1, bitorder="little",
                         count=config.unit_bits)
    return np.packbits(unit.reshape(len(value), config.weight_beats, -1), axis=-1,
                       bitorder="little")


def _pair_stream(tiling: Tiling, value: np.ndarray,
                 position: np.ndarray) -> tuple[list[np.ndarray], list[int]]:
    """Return the beats and the steps of ``pair`` tiles."""
    need = np.where(value != 0, position >> 1, -1).astype(np.int8)
    beats, steps = [], []
    for tile_need, weights in zip(need, pack_tiles(tiling, value, position & 1), strict=True):
        level1, mask = select_steps(tile_need, tiling.mode.group)
        level2 = np.broadcast_to(np.arange(tiling.config.sub_macros), level1.shape)
        beats += [pack_selects(tiling.config, level1, level2, mask), weights]
        steps.append(len(level1))
    return beats, steps


def place(tiling: Tiling, weight: np.ndarray) -> Placement:
    """Place a layer.

    Parameters
    ----------
    tiling : Tiling
        Mode, windows and passes.
    weight : ndarray of int8, shape (O, K)
        At most ``passes * n`` nonzeros per block of columns that share their index.

    Returns
    -------
    Placement
    """
    width = tiling.config.outputs(tiling.mode)
    rows = max(1, _SLAB // (weight.shape[1] * width)) * width
    beats: list[np.ndarray] = []
    steps: list[int] = []
    for first in range(0, len(weight), rows):
        value, position = place_cells(tiling, weight[first:first + rows])
        if tiling.config.select == "pair":
            slab, slab_steps = _pair_stream(tiling, value, position)
        else:
            packed = pack_tiles(tiling, value, position)
            slab, slab_steps = [packed.reshape(-1, packed.shape[-1])], [1] * len(value)
        beats += slab
        steps += slab_steps
    return Placement(tiling, np.concatenate(beats), np.array(steps, dtype=np.int64))
