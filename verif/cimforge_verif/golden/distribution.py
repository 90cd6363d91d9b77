"""The distribution network: from the activation window to the lines of every slot."""

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.mode import Mode, slot_blocks
from cimforge_verif.golden.operands import signed, unsigned

__all__ = ["distribution", "pair_inputs"]


def distribution(config: DcimConfig, window: np.ndarray, mode: Mode,
                 level1: np.ndarray | None = None,
                 level2: np.ndarray | None = None) -> np.ndarray:
    """Return the lines of every slot.

    ``line``: the M inputs of the slot's block. ``pair``: level-1 mux p of a row picks pair
    ``level1[r, p]`` of the block of sub-macro p; slot (r, p) gets level-1 output ``level2[r, p]``.
    Slots past the last whole block, and pairs past the last of a block, see zeros.

    Parameters
    ----------
    config : DcimConfig
    window : ndarray of shape (..., window_inputs)
    mode : Mode
        One of ``config.modes``.
    level1, level2 : ndarray of shape (R, P), optional
        Selects in 0..P-1; wanted by ``pair``, and only there.

    Returns
    -------
    ndarray of int64, shape (..., R, P, L)

    Raises
    ------
    DataError
        If the mode is not legal, or an operand has the wrong shape or range.
    """
    if mode not in config.modes:
        raise DataError(f"mode must be one of {', '.join(map(str, config.modes))}, not {mode}")
    window = signed("window", window, (config.window_inputs,), config.act_bits)
    zero = np.zeros((*window.shape[:-1], 1), dtype=np.int64)
    padded = np.concatenate([window, zero], axis=-1)  # input -1 is zero
    if config.select == "line":
        if level1 is not None or level2 is not None:
            raise DataError("level1 and level2 need select: pair")
        block = slot_blocks(config, mode)[..., None]
        return padded[..., np.where(block >= 0, block * mode.m + np.arange(mode.m), -1)]
    return padded[..., pair_inputs(config, mode, level1, level2)]


def pair_inputs(config: DcimConfig, mode: Mode, level1: np.ndarray | None,
                level2: np.ndarray | None) -> np.ndarray:
    """Return which input of the window each of the two lines of a slot carries; -1 is zero.

    Parameters
    ----------
    config : DcimConfig
    mode : Mode
    level1, level2 : ndarray of shape (..., R, P)

    Returns
    -------
    ndarray of int64, shape (..., R, P, 2)
    """
    if level1 is None or level2 is None:
        raise DataError("select: pair wants level1 and level2")
    shape = (config.rows, config.sub_macros)
    level1 = unsigned("level1", level1, shape, config.sub_macros)
    level2 = unsigned("level2", level2, shape, config.sub_macros)
    place = 2 * level1[..., None] + np.arange(2)  # of the two lines in the block
    start = slot_blocks(config, mode)[..., None] * mode.m
    level1_output = np.where(place < mode.m, start + place, -1)  # M = 1: the pair is (x, 0)
    return np.take_along_axis(level1_output, level2[..., None], axis=-2)
