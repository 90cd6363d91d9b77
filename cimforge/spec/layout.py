"""Where every weight, select and activation sits in the beats of the tile's input streams.

A beat is a row of bytes, least significant first; bits past the port's width are zero.
"""

import numpy as np

from cimforge.spec.bits import bits_of, bytes_of, signed_of, unsigned_of
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError

__all__ = [
    "pack_acts", "pack_selects", "pack_weights", "unpack_acts", "unpack_selects", "unpack_weights",
]


def _check(name: str, array: np.ndarray, shape: tuple[int, ...], low: int, high: int):
    if array.shape != shape:
        raise DataError(f"{name} must have shape {shape}, not {array.shape}")
    if array.size and (array.min() < low or array.max() > high):
        raise DataError(f"{name} must be in {low}..{high}, not {array.min()}..{array.max()}")


def _signed_range(bits: int) -> tuple[int, int]:
    return -(1 << bits - 1), (1 << bits - 1) - 1


def pack_weights(config: DcimConfig, weight: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Pack one bank of weights into beats of the weight stream.

    Beat i carries row ``i div (P/load_rows)`` of the sub-macros from ``(i mod (P/load_rows)) *
    load_rows`` on; each sub-macro's row is ``units`` column units, each the weights of
    ``index_share`` columns followed by their index.

    Parameters
    ----------
    weight : ndarray of shape (P, R, C)
        Two's-complement weights of ``weight_bits``.
    index : ndarray of shape (P, R, units)
        Line selects of ``index_bits``.

    Returns
    -------
    ndarray of uint8, shape (weight_beats, ceil(weight_beat_bits / 8))
    """
    p, r, c, u = config.sub_macros, config.rows, config.cols, config.units
    _check("weight", weight, (p, r, c), *_signed_range(config.weight_bits))
    _check("index", index, (p, r, u), 0, config.lines - 1)
    weights = bits_of(weight, config.weight_bits).reshape(p, r, u, -1)
    unit = np.concatenate([weights, bits_of(index, config.index_bits)], axis=-1)
    return bytes_of(unit.transpose(1, 0, 2, 3).reshape(config.weight_beats, -1))


def unpack_weights(config: DcimConfig, beats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of :func:`pack_weights`: ``weight`` (P, R, C) and ``index`` (P, R, units), int64."""
    width = -(-config.weight_beat_bits // 8)
    if beats.shape != (config.weight_beats, width):
        raise DataError(f"weights must have shape {(config.weight_beats, width)}, "
                        f"not {beats.shape}")
    bits = np.unpackbits(beats, axis=-1, bitorder="little", count=config.weight_beat_bits)
    unit = bits.reshape(config.rows, config.sub_macros, config.units, config.unit_bits)
    unit = unit.transpose(1, 0, 2, 3)
    split = config.index_share * config.weight_bits
    weight = signed_of(unit[..., :split].reshape(
        config.sub_macros, config.rows, config.cols, config.weight_bits))
    return weight, unsigned_of(unit[..., split:])


def pack_selects(config: DcimConfig, level1: np.ndarray, level2: np.ndarray,
                 mask: np.ndarray) -> np.ndarray:
    """Pack the steps of a ``pair`` tile into beats of the weight stream.

    A step is, for every row and sub-macro, the level-1 select (which pair of its block) and the
    level-2 select (which level-1 output), then one enable bit per sub-macro and column.

    Parameters
    ----------
    level1, level2 : ndarray of shape (steps, R, P)
        Selects in 0..P-1.
    mask : ndarray of shape (steps, P, C)
        1 where the column computes in this step.

    Returns
    -------
    ndarray of uint8, shape (steps * select_beats, ceil(weight_beat_bits / 8))
    """
    steps, (r, p, c) = len(mask), (config.rows, config.sub_macros, config.cols)
    width = p.bit_length() - 1
    _check("level1", level1, (steps, r, p), 0, p - 1)
    _check("level2", level2, (steps, r, p), 0, p - 1)
    _check("mask", mask, (steps, p, c), 0, 1)
    cells = np.concatenate([bits_of(level1, width), bits_of(level2, width)], axis=-1)
    bits = np.zeros((steps, config.select_beats * config.weight_beat_bits), dtype=np.uint8)
    bits[:, :cells[0].size] = cells.reshape(steps, -1)
    bits[:, cells[0].size:config.select_bits] = mask.reshape(steps, -1)
    return bytes_of(bits.reshape(steps * config.select_beats, config.weight_beat_bits))


def unpack_selects(config: DcimConfig,
                   beats: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inverse of :func:`pack_selects`: ``level1``, ``level2`` (steps, R, P), ``mask``, int64."""
    r, p, c = config.rows, config.sub_macros, config.cols
    width = p.bit_length() - 1
    bits = np.unpackbits(beats, axis=-1, bitorder="little", count=config.weight_beat_bits)
    bits = bits.reshape(-1, config.select_beats * config.weight_beat_bits)
    cells = bits[:, :r * p * 2 * width].reshape(len(bits), r, p, 2 * width)
    mask = bits[:, r * p * 2 * width:config.select_bits].reshape(-1, p, c)
    return unsigned_of(cells[..., :width]), unsigned_of(cells[..., width:]), mask.astype(np.int64)


def pack_acts(config: DcimConfig, windows: np.ndarray) -> np.ndarray:
    """Pack windows into beats of the activation stream.

    Parameters
    ----------
    windows : ndarray of shape (count, inputs)
        Two's-complement activations of ``act_bits``; each window is padded to whole beats.

    Returns
    -------
    ndarray of uint8, shape (count * beats, ceil(act_port_bits / 8)),
        where ``beats = ceil(inputs / act_lanes)``.
    """
    count, inputs = windows.shape
    _check("activations", windows, windows.shape, *_signed_range(config.act_bits))
    beats = -(-inputs // config.act_lanes)
    padded = np.zeros((count, beats * config.act_lanes), dtype=np.int64)
    padded[:, :inputs] = windows
    bits = bits_of(padded.reshape(count * beats, config.act_lanes), config.act_bits)
    return bytes_of(bits.reshape(count * beats, -1))


def unpack_acts(config: DcimConfig, beats: np.ndarray) -> np.ndarray:
    """Return the activations of each beat: int64, shape (beats, act_lanes)."""
    bits = np.unpackbits(beats, axis=-1, bitorder="little", count=config.act_port_bits)
    return signed_of(bits.reshape(len(beats), config.act_lanes, config.act_bits))
