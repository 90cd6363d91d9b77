"""Sizes of many tilings at once: what :class:`Tiling` says of one, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.mode import Mode
from cimforge_sw.compile.tiling import COUNT_LIMIT

__all__ = ["Geometry"]

Ints = np.ndarray


def _ceil(value: Ints, unit: Ints | int) -> Ints:
    return -(-value // unit)


@dataclass(frozen=True, eq=False)
class Geometry:
    """Tilings of one configuration, one per entry; all arrays are int64 [L].

    Attributes
    ----------
    config : DcimConfig
    outputs, inputs : ndarray
        O and K.
    passes : ndarray
        Tiles accumulated per window.
    width, k_tile, out_beats : ndarray
        Outputs and inputs of a tile, and beats of its results, by the modes.
    may_step : ndarray of bool
        Whether a tile of this mode may take several select steps.
    """

    config: DcimConfig
    outputs: Ints
    inputs: Ints
    passes: Ints
    width: Ints
    k_tile: Ints
    out_beats: Ints
    may_step: Ints

    @classmethod
    def of(cls, config: DcimConfig, modes: Sequence[Mode], outputs: Ints, inputs: Ints,
           passes: Ints, number: Ints | None = None) -> "Geometry":
        """Return the geometry of layers in their modes.

        Parameters
        ----------
        config : DcimConfig
        modes : sequence of Mode
            Of every layer; or, with ``number``, those that it counts.
        outputs, inputs, passes : ndarray of int64 [L]
        number : ndarray of int64 [L], optional
            Which of ``modes`` each layer has.

        Raises
        ------
        ConfigError
            A mode that the configuration does not have.
        DataError
            Outputs, inputs or passes below 1.
        """
        if unknown := set(modes) - set(config.modes):
            raise ConfigError(f"mode must be one of the configuration's, not {min(unknown)}")
        outputs, inputs, passes = (np.asarray(values, dtype=np.int64)
                                   for values in (outputs, inputs, passes))
        if min(array.min(initial=1) for array in (outputs, inputs, passes)) < 1:
            raise DataError("outputs, inputs and passes must be at least 1")
        table = np.array([(config.outputs(mode), config.k_tile(mode), config.out_beats(mode),
                           config.select == "pair" and mode.m > 2) for mode in modes],
                         dtype=np.int64).reshape(-1, 4)
        width, k_tile, out, steps = (table if number is None else table[number]).T
        return cls(config, outputs, inputs, passes, width, k_tile, out, steps.astype(bool))

    @property
    def blocks(self) -> Ints:
        """Blocks of output columns."""
        return _ceil(self.outputs, self.width)

    @property
    def windows(self) -> Ints:
        """Windows of inputs."""
        return _ceil(self.inputs, self.k_tile)

    @property
    def tiles_per_block(self) -> Ints:
        """Tiles whose sums make one block of outputs."""
        return self.windows * self.passes

    @property
    def cells(self) -> Ints:
        """Cells of all tiles, used or not."""
        return self.blocks * self.tiles_per_block * (self.config.slots * self.config.cols)

    @property
    def usable_rows(self) -> int:
        """Windows that one chunk may take."""
        return min(self.config.act_depth, COUNT_LIMIT)

    @property
    def fits(self) -> Ints:
        """Whether the activation buffer holds a token, and ``max_k`` the inputs: bool [L]."""
        return (self.windows <= self.usable_rows) & (self.inputs <= self.config.max_k)

    def chunks(self, tokens: Ints) -> Ints:
        """Return into how many chunks tokens are cut, as :meth:`Tiling.chunks` does."""
        limit = self.usable_rows // self.windows
        summed = (self.tiles_per_block > 1) | self.may_step
        return _ceil(tokens, np.where(summed, np.minimum(limit, self.config.acc_depth), limit))

    @property
    def beats(self) -> tuple[Ints, Ints]:
        """Beats of the first window that is loaded, and of every other."""
        lanes = self.config.act_lanes
        full = _ceil(np.minimum(self.inputs, self.k_tile), lanes)
        short = _ceil(self.inputs - (self.windows - 1) * self.k_tile, lanes)
        return np.minimum(full, short), full

    def take(self, index: Ints) -> "Geometry":
        """Return some of the entries."""
        return Geometry(self.config, *(getattr(self, name)[index] for name in (
            "outputs", "inputs", "passes", "width", "k_tile", "out_beats", "may_step")))
