"""Which element of a vector meets which row or column of an array: the address generators."""

from dataclasses import dataclass

import numpy as np

from cimforge.spec.analog.commands import Drive
from cimforge.spec.analog.config import AnalogConfig

__all__ = ["Side", "destination", "last_address", "lines", "source"]


@dataclass(frozen=True)
class Side:
    """The rows or the columns of a drive, and their addresses (see `Drive`).

    Parameters
    ----------
    mask : int
        Active grains.
    base, stride, jump, rotation, block : int
        Of the address generator; ``block`` in grains.
    """

    mask: int
    base: int
    stride: int
    jump: int
    rotation: int
    block: int


def source(drive: Drive) -> Side:
    """Return the rows' side of a drive."""
    return Side(drive.row_mask, drive.src, drive.src_stride, drive.src_jump, drive.src_rotation,
                drive.src_block)


def destination(drive: Drive) -> Side:
    """Return the columns' side of a drive."""
    return Side(drive.col_mask, drive.dst, drive.dst_stride, drive.dst_jump, drive.dst_rotation,
                drive.dst_block)


def _turns(config: AnalogConfig, side: Side) -> np.ndarray:
    """Return q of every active grain, ascending."""
    grains = np.flatnonzero([side.mask >> g & 1 for g in range(config.grains)])
    return (grains // side.block - side.rotation) % (config.grains // side.block)


def lines(config: AnalogConfig, side: Side) -> tuple[np.ndarray, np.ndarray]:
    """Return the active rows or columns and the address of each: int64, ascending lines.

    The block must not have more grains than the array.
    """
    active = np.array([bool(side.mask >> g & 1) for g in range(config.grains)])
    line = np.flatnonzero(np.repeat(active, config.grain))
    size = side.block * config.grain
    turn = (line // size - side.rotation) % (config.grains // side.block)
    return line, side.base + side.jump * turn + side.stride * (line % size)


def last_address(config: AnalogConfig, side: Side) -> int:
    """Return the largest address that the tile checks: the last element of the last block."""
    turn = int(_turns(config, side).max())
    return side.base + side.jump * turn + side.stride * (side.block * config.grain - 1)
