"""Random tiles: every slot of the macro filled with a weight at a legal position."""

from dataclasses import dataclass

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.mode import Mode

__all__ = ["RandomTile", "random_signed", "random_tile"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomTile:
    """One tile, as the macro holds it and as the dense matrix that it stands for.

    Attributes
    ----------
    dense : ndarray of int64, shape (K_tile, P/G*C)
    weight : ndarray of int64, shape (P, R, C)
    index : ndarray of int64, shape (P, R, units)
    selects : tuple of ndarray, or None
        ``level1``, ``level2`` (steps, R, P) and ``mask`` (steps, P, C); ``pair`` only.
    """

    dense: np.ndarray
    weight: np.ndarray
    index: np.ndarray
    selects: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None


def random_signed(rng, shape, bits: int) -> np.ndarray:
    """Return uniform values with extremes and zeros more often than chance gives them."""
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    values = rng.integers(low, high, shape, endpoint=True)
    special = rng.choice([low, high, 0, -1], shape)
    return np.where(rng.random(shape) < 0.25, special, values)


def _positions(config: DcimConfig, mode: Mode, steps: int, rng) -> np.ndarray:
    """Return distinct positions in the block: (groups, blocks, N, columns).

    ``line``: columns of a unit share them. ``pair``: columns of a step share which pair they use.
    """
    groups, blocks = config.sub_macros // mode.group, config.rows * mode.group // mode.n
    kinds = config.units if config.select == "line" else steps
    order = rng.random((groups, blocks, kinds, mode.m)).argsort(axis=-1)[..., :mode.n]
    order = order.swapaxes(-1, -2)
    columns = np.arange(config.cols)
    if config.select == "line":
        return order[..., columns // config.index_share]
    order = order[..., columns % steps]
    if mode.m > 1:  # any bit of the pair, as long as positions stay distinct
        flip = rng.integers(0, 2, (groups, blocks, mode.m // 2, config.cols))
        order = order ^ np.take_along_axis(flip, order // 2, axis=2)
    return order


def random_tile(config: DcimConfig, mode: Mode, rng, steps: int = 1, inputs: int | None = None
                ) -> RandomTile:
    """Fill every slot of a tile with a random weight at a random legal position.

    Parameters
    ----------
    config : DcimConfig
    mode : Mode
    rng : numpy.random.Generator
    steps : int
        Select steps (``pair``), at most C: column c computes in step ``c mod steps``.
    inputs : int, optional
        Inputs that the layer has in this tile; weights past them are zero.

    Returns
    -------
    RandomTile
    """
    p, r, c, (n, group) = config.sub_macros, config.rows, config.cols, (mode.n, mode.group)
    groups, blocks = p // group, r * group // n
    inputs = config.k_tile(mode) if inputs is None else inputs
    position = _positions(config, mode, steps, rng)
    kept = random_signed(rng, position.shape, config.weight_bits)
    start = np.arange(blocks)[:, None, None] * mode.m
    kept = np.where(start + position < inputs, kept, 0)
    block = np.zeros((groups, blocks, mode.m, c), dtype=np.int64)
    np.put_along_axis(block, position, kept, axis=2)
    dense = block.reshape(groups, -1, c).swapaxes(0, 1).reshape(-1, groups * c)

    # Unused slots hold anything: they see zeros.
    weight = random_signed(rng, (groups, r * group, c), config.weight_bits)
    place = np.zeros((groups, r * group, c), dtype=np.int64)
    weight[:, :blocks * n] = kept.reshape(groups, -1, c)
    place[:, :blocks * n] = position.reshape(groups, -1, c)
    weight, place = (a.reshape(groups, r, group, c).swapaxes(1, 2).reshape(p, r, c)
                     for a in (weight, place))
    if config.select == "line":
        return RandomTile(dense=dense, weight=weight, index=place[..., ::config.index_share])
    return RandomTile(dense=dense, weight=weight, index=place % 2,
                      selects=_selects(config, mode, place // 2, steps, rng))


def _selects(config: DcimConfig, mode: Mode, pair: np.ndarray, steps: int, rng):
    """Return selects that bring slot (p, r) the pair of its step's columns, by a random detour."""
    p, r = config.sub_macros, config.rows
    wanted = pair[..., :steps].transpose(2, 1, 0)  # (steps, R, P); column s stands for step s
    turn = rng.integers(0, mode.n, (steps, r, 1))
    sub = np.arange(p)
    level2 = sub - sub % mode.n + (sub + turn) % mode.n  # another sub-macro of the same block
    level1 = np.zeros_like(wanted)
    np.put_along_axis(level1, level2, wanted, axis=-1)
    mask = np.arange(config.cols) % steps == np.arange(steps)[:, None]
    return level1, level2, np.repeat(mask[:, None], p, axis=1).astype(np.int64)
