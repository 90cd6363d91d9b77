"""What a Compute multiplies: the fast dense statement, and the golden blocks it must equal."""

from dataclasses import dataclass, field

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.mode import Mode, slot_blocks
from cimforge_verif import golden
from cimforge_verif.golden.distribution import pair_inputs

__all__ = ["Bank", "dense_tile", "products", "reference"]


@dataclass
class Bank:
    """What one weight bank holds.

    Attributes
    ----------
    weight : ndarray of int64, shape (P, R, C)
    index : ndarray of int64, shape (P, R, units)
    selects : tuple of ndarray, or None
        ``level1``, ``level2`` (steps, R, P) and ``mask`` (steps, P, C); ``pair`` only.
    """

    weight: np.ndarray
    index: np.ndarray
    selects: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    _dense: dict[tuple[Mode, int], np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def nonzeros(self) -> int:
        """Nonzero weights of the bank."""
        return int(np.count_nonzero(self.weight))

    def dense(self, config: DcimConfig, mode: Mode, steps: int) -> np.ndarray:
        """Return :func:`dense_tile`, worked out once per load, mode and number of steps."""
        if (mode, steps) not in self._dense:
            selects = None if self.selects is None else tuple(s[:steps] for s in self.selects)
            self._dense[mode, steps] = dense_tile(config, mode, self.weight, self.index, selects)
        return self._dense[mode, steps]


def _inputs(config: DcimConfig, mode: Mode, index: np.ndarray, selects) -> np.ndarray:
    """Return the input of the window that each cell multiplies, -1 for none: (S, P, R, C)."""
    index = np.repeat(index, config.index_share, axis=-1)
    if config.select == "line":
        block = slot_blocks(config, mode).T[..., None]
        return np.where(block >= 0, block * mode.m + index, -1)[None]
    lines = pair_inputs(config, mode, selects[0], selects[1]).swapaxes(1, 2)  # (S, P, R, 2)
    return np.where(index == 1, lines[..., 1:], lines[..., :1])


def dense_tile(config: DcimConfig, mode: Mode, weight: np.ndarray, index: np.ndarray,
               selects: tuple[np.ndarray, ...] | None = None) -> np.ndarray:
    """Return the dense matrix that a tile stands for: ``lanes = window[:K_tile] @ tile``.

    Parameters
    ----------
    config : DcimConfig
    mode : Mode
    weight : ndarray of shape (P, R, C)
    index : ndarray of shape (P, R, units)
    selects : tuple of ndarray, optional
        ``level1``, ``level2`` (steps, R, P) and ``mask`` (steps, P, C); ``pair`` only.

    Returns
    -------
    ndarray of float64, shape (K_tile, P/G*C)
        Exact: a sum of products stays far below 2^53.
    """
    depth, width = config.k_tile(mode), config.outputs(mode)
    inputs = _inputs(config, mode, index, selects)
    used = np.broadcast_to(weight, inputs.shape) * (inputs >= 0)
    if selects is not None:
        used = used * selects[2][:, :, None, :]
    group = np.arange(config.sub_macros)[:, None, None] // mode.group
    lane = group * config.cols + np.arange(config.cols)
    flat = np.maximum(inputs, 0) * width + lane
    total = np.bincount(flat.ravel(), weights=used.ravel(), minlength=depth * width)
    return total.reshape(depth, width)


def products(config: DcimConfig, mode: Mode, steps: int, bank: Bank,
             windows: np.ndarray) -> np.ndarray:
    """Return the sums of every window over all steps.

    Parameters
    ----------
    config : DcimConfig
    mode : Mode
    steps : int
    bank : Bank
    windows : ndarray of shape (count, window_inputs)

    Returns
    -------
    ndarray of int64, shape (count, P*C)
    """
    tile = bank.dense(config, mode, steps)
    lanes = np.zeros((len(windows), config.sub_macros * config.cols), dtype=np.int64)
    lanes[:, :tile.shape[1]] = windows[:, :tile.shape[0]].astype(np.float64) @ tile
    return lanes


def reference(config: DcimConfig, mode: Mode, steps: int, bank: Bank,
               windows: np.ndarray) -> np.ndarray:
    """Do what :func:`products` does with the golden functions, block by block.

    Parameters and result are those of :func:`products`.
    """
    if bank.selects is None:
        return golden.macro(config, windows, mode, bank.weight, bank.index)
    level1, level2, mask = bank.selects
    sums = [golden.macro(config, windows, mode, bank.weight, bank.index, level1[s], level2[s],
                         mask[s]) for s in range(steps)]
    return np.sum(sums, axis=0)
