"""A compiled layer: commands, the weights they load, and how inputs and results map to streams."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from cimforge.spec.commands import Command, Compute, LoadActs
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.layout import pack_acts
from cimforge.spec.mode import Mode

__all__ = ["LayerProgram", "Program", "check_layer_name"]


def check_layer_name(name: object) -> None:
    """Refuse a name that, as a path, would lead out of the folder in which files are named by it.

    Raises
    ------
    DataError
        If it is no string, or one of its parts between slashes is empty, ``.`` or ``..``, or it
        holds a control character.
    """
    if not isinstance(name, str) or {"", ".", ".."} & set(name.split("/")) or not (
            name.isprintable()):
        raise DataError(f"a layer's name must be like a relative path, without empty, '.' or '..' "
                        f"parts or control characters, not {name!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerProgram:
    """One linear layer ``y[T, O] = x[T, K] @ W.T`` as a stream of commands.

    Attributes
    ----------
    name : str
        Layer name in the model.
    outputs, inputs, tokens : int
        O, K and T.
    pattern : str
        N:M of the pruned layer, such as ``"2:4"``.
    mode : Mode
        Mode of the macro it runs in.
    commands : list of Command
        Ends with ``End``.
    weights : ndarray of uint8, shape (beats, ceil(weight_beat_bits / 8))
        The weight stream, in the order in which the commands load it.
    windows : ndarray of int64, shape (rows, 3)
        ``(token, first input, inputs)`` of every window, in the order of the activation stream.
    results : ndarray of int64, shape (emitting Computes, 4)
        ``(first token, tokens, first output, outputs)``; beats past ``outputs`` carry nothing.
    slot_use : float
        Weights of the layer over slots of its tiles.
    passes : int
        Accumulated passes over the layer: more than 1 where a sparser mode, perhaps the only one
        of a fixed tile, runs a denser layer.
    """

    name: str
    outputs: int
    inputs: int
    tokens: int
    pattern: str
    mode: Mode
    commands: list[Command]
    weights: np.ndarray
    windows: np.ndarray
    results: np.ndarray
    slot_use: float
    passes: int = 1

    def __post_init__(self):
        check_layer_name(self.name)

    @cached_property
    def weights_digest(self) -> str:
        """SHA-256 of the weight stream; names its blob on disk."""
        return hashlib.sha256(np.ascontiguousarray(self.weights).tobytes()).hexdigest()

    @property
    def tiles(self) -> int:
        """Weight tiles computed per chunk of tokens summed over chunks."""
        return sum(isinstance(command, Compute) for command in self.commands)

    @property
    def steps(self) -> int:
        """Largest number of select steps of any tile."""
        return max(c.steps for c in self.commands if isinstance(c, Compute))

    def act_beats(self, config: DcimConfig, x: np.ndarray) -> np.ndarray:
        """Return the activation stream of an input.

        Parameters
        ----------
        x : ndarray of integers, shape (T, K)

        Returns
        -------
        ndarray of uint8, shape (beats, ceil(act_port_bits / 8))

        Raises
        ------
        DataError
            If the shape or the range of ``x`` is not the layer's.
        """
        if x.shape != (self.tokens, self.inputs):
            raise DataError(f"{self.name}: inputs must have shape "
                            f"{(self.tokens, self.inputs)} (tokens, inputs), not {x.shape}")
        if not np.issubdtype(x.dtype, np.integer):
            raise DataError(f"{self.name}: inputs must be integers, not {x.dtype}")
        loads = [(c.count, c.beats) for c in self.commands if isinstance(c, LoadActs)]
        parts, position = [], 0
        for count, beats in loads:
            rows = self.windows[position:position + count]
            block = np.zeros((count, beats * config.act_lanes), dtype=np.int64)
            for target, (token, first, inputs) in zip(block, rows, strict=True):
                target[:inputs] = x[token, first:first + inputs]
            parts.append(pack_acts(config, block))
            position += count
        return np.concatenate(parts)

    def collect(self, config: DcimConfig, beats: np.ndarray) -> np.ndarray:
        """Assemble the result stream into the layer's output.

        Parameters
        ----------
        beats : ndarray of integers, shape (beats, out_port)

        Returns
        -------
        ndarray of int64, shape (T, O)

        Raises
        ------
        DataError
            If there are not exactly as many beats as the program emits.
        """
        width = config.outputs(self.mode)
        wanted = int(self.results[:, 1].sum()) * (width // config.out_port)
        if beats.shape != (wanted, config.out_port):
            raise DataError(f"{self.name}: expected results of shape "
                            f"{(wanted, config.out_port)}, got {beats.shape}")
        vectors = beats.reshape(-1, width)
        y = np.zeros((self.tokens, self.outputs), dtype=np.int64)
        position = 0
        for token, count, first, outputs in self.results:
            block = vectors[position:position + count, :outputs]
            y[token:token + count, first:first + outputs] = block
            position += count
        return y


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """Compiled layers of one model for one configuration.

    Attributes
    ----------
    config : DcimConfig
    layers : dict of str to LayerProgram
        In the order of the model.
    origin : dict
        Whatever reproduces it: model and its digest, plan, seed.
    """

    config: DcimConfig
    layers: dict[str, LayerProgram]
    origin: dict = field(default_factory=dict)

    def __post_init__(self):
        for name in self.layers:
            check_layer_name(name)

    def layer(self, name: str) -> LayerProgram:
        """Return one layer; the error of an unknown name lists near ones."""
        if name in self.layers:
            return self.layers[name]
        near = ", ".join(list(self.layers)[:4])
        raise DataError(f"the program has no layer named {name!r}; its layers are {near}"
                        f"{', …' if len(self.layers) > 4 else ''}")
