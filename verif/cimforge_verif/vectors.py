"""Test vectors of one layer: what goes in, what comes out, and both on disk."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from cimforge.spec.bits import bits_of, bytes_of
from cimforge.spec.commands import WORD_BYTES, encode
from cimforge.spec.config import DcimConfig
from cimforge.spec.program import LayerProgram
from cimforge.spec.timing import cycles
from cimforge_verif.hex_files import write_hex
from cimforge_verif.replay import Counters, replay
from cimforge_verif.vector_files import load_sealed, save_sealed

__all__ = ["VectorSet", "make_vectors"]

_ARRAYS = ("words", "weights", "acts", "results", "last", "y", "x")
_COUNTERS = ("cycles", *(counter.name for counter in fields(Counters)))
_KEYS = ("layer", "seed", "counters", "origin")


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorSet:
    """Streams of one layer and what the tile must answer.

    Attributes
    ----------
    config : DcimConfig
    layer : str
    words : ndarray of uint8, shape (commands, 16)
    weights : ndarray of uint8, shape (beats, ceil(weight_beat_bits / 8))
    acts : ndarray of uint8, shape (beats, ceil(act_port_bits / 8))
    results : ndarray of int64, shape (beats, out_port)
    last : ndarray of uint8, shape (beats,)
        1 for the last result beat of a command.
    y : ndarray of int64, shape (T, O)
    x : ndarray of int64, shape (T, K)
    counters : dict of str to int
        What the tile must have counted, ``cycles`` (with streams always ready) included.
    seed : int or None
        Of the inputs, where they were random.
    origin : dict
        Whatever else makes them again: model and its digest, plan, command.
    """

    config: DcimConfig
    layer: str
    words: np.ndarray
    weights: np.ndarray
    acts: np.ndarray
    results: np.ndarray
    last: np.ndarray
    y: np.ndarray
    x: np.ndarray
    counters: dict[str, int]
    seed: int | None = None
    origin: dict = field(default_factory=dict)

    def save(self, folder: str | Path) -> None:
        """Write ``vectors.npz``, then ``manifest.json``, each whole or not at all."""
        save_sealed(folder, self.config, {name: getattr(self, name) for name in _ARRAYS},
                    {name: getattr(self, name) for name in _KEYS})

    @classmethod
    def load(cls, folder: str | Path, config: DcimConfig) -> "VectorSet":
        """Read a set back.

        Parameters
        ----------
        folder : path
        config : DcimConfig
            The hardware they are wanted for.

        Raises
        ------
        DataError
            If files are missing, damaged, of another format, or made for other hardware.
        """
        manifest, arrays = load_sealed(folder, config, _ARRAYS, _KEYS, _COUNTERS)
        keep: dict = {**arrays, **{name: manifest[name] for name in _KEYS}}
        return cls(config=config, **keep)

    def export_hex(self, folder: str | Path) -> dict[str, Path]:
        """Write the streams as ``$readmemh`` files, one whole payload per line.

        In ``results`` the top bit of a line is the ``last`` flag of the beat.

        Returns
        -------
        dict of str to Path
            ``commands``, ``weights``, ``acts`` and ``results``.
        """
        config = self.config
        lanes = bits_of(self.results, config.acc_bits).reshape(len(self.results), -1)
        bits = np.concatenate([lanes, self.last[:, None]], axis=1)
        streams = {"commands": (self.words, 8 * WORD_BYTES),
                   "weights": (self.weights, config.weight_beat_bits),
                   "acts": (self.acts, config.act_port_bits),
                   "results": (bytes_of(bits), config.out_port * config.acc_bits + 1)}
        paths = {name: Path(folder) / f"{name}.hex" for name in streams}
        for name, (beats, width) in streams.items():
            write_hex(paths[name], beats, width)
        return paths


def make_vectors(config: DcimConfig, layer: LayerProgram, x: np.ndarray, *,
                 seed: int | None = None, origin: dict | None = None) -> VectorSet:
    """Replay a layer and keep everything that goes in and comes out.

    Parameters
    ----------
    config : DcimConfig
    layer : LayerProgram
    x : ndarray of integers, shape (T, K)
    seed, origin
        See :class:`VectorSet`.

    Raises
    ------
    DataError
        If the layer is illegal, or ``x`` is not its input.
    """
    result = replay(config, layer, x)
    counters = {"cycles": cycles(config, layer.commands), **asdict(result.counters)}
    return VectorSet(
        config=config, layer=layer.name, words=encode(layer.commands), weights=layer.weights,
        acts=layer.act_beats(config, x), results=result.beats, last=result.last,
        y=result.y, x=x.astype(np.int64), counters=counters, seed=seed, origin=origin or {})
