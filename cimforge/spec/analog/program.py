"""Layers on the analog tile: commands, the weights they program, vectors on the streams."""

from dataclasses import dataclass, field

import numpy as np

from cimforge.spec.analog.commands import AnalogCommand
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import DataError

__all__ = ["AnalogProgram"]


@dataclass(frozen=True, kw_only=True, eq=False)
class AnalogProgram:
    """Linear layers that share one input, as a stream of commands.

    Attributes
    ----------
    config : AnalogConfig
    mapping : str
        Name of the mapping.
    names : tuple of str
        Layers.
    outputs : tuple of int
        O of each.
    inputs, tokens : int
        K and T.
    setup : list of AnalogCommand
        Programs the arrays and the requantizer.
    run : list of AnalogCommand
        All tokens; ends with ``End``.
    weights : ndarray of int8, shape (beats, port)
        The weight stream of ``setup``.
    zeros : int
        Beats of zeros that ``setup`` writes to the activation memory.
    """

    config: AnalogConfig
    mapping: str
    names: tuple[str, ...]
    outputs: tuple[int, ...]
    inputs: int
    tokens: int
    setup: list[AnalogCommand]
    run: list[AnalogCommand]
    weights: np.ndarray = field(repr=False)
    zeros: int

    @property
    def commands(self) -> list[AnalogCommand]:
        """Setup, then all tokens."""
        return self.setup + self.run

    def acts(self, x: np.ndarray) -> np.ndarray:
        """Return the activation stream of INT8 inputs [T, K]: int8, shape (beats, port).

        Raises
        ------
        DataError
            Another shape, or values beyond INT8.
        """
        if x.shape != (self.tokens, self.inputs):
            raise DataError(f"{self.names[0]}: inputs must have shape "
                            f"{(self.tokens, self.inputs)}, not {x.shape}")
        if x.size and not (-128 <= x.min() and x.max() <= 127):
            raise DataError(f"{self.names[0]}: inputs must be in -128..127, not "
                            f"{x.min()}..{x.max()}")
        port = self.config.port
        wide = np.zeros((self.tokens, -(-self.inputs // port) * port), dtype=np.int8)
        wide[:, :self.inputs] = x
        return np.concatenate([np.zeros((self.zeros, port), dtype=np.int8),
                               wide.reshape(-1, port)])

    def results(self, beats: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the layers' results of the result stream: int64 [T, O] each.

        Raises
        ------
        DataError
            Another number of beats.
        """
        port = self.config.port
        each = [-(-outputs // port) for outputs in self.outputs]
        if beats.shape != (self.tokens * sum(each), port):
            raise DataError(f"{self.names[0]}: results must have shape "
                            f"{(self.tokens * sum(each), port)}, not {beats.shape}")
        parts = np.split(beats.reshape(self.tokens, -1), np.cumsum(each)[:-1] * port, axis=1)
        return tuple(part[:, :outputs] for part, outputs in
                     zip(parts, self.outputs, strict=True))
