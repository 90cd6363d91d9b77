"""What goes into an analog tile, and what must come out."""

from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from cimforge.spec.analog.commands import AnalogCommand, AnalogError, decode, encode
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.analog.timing import cycles
from cimforge.spec.errors import DataError
from cimforge_verif.analog.hazards import check_hazards
from cimforge_verif.analog.tile import AnalogCounters, AnalogTile
from cimforge_verif.vector_files import load_sealed, save_sealed

__all__ = ["AnalogVectors", "Expected"]

_ARRAYS = ("words", "weights", "acts", "results", "last")
_KEYS = ("name", "counters", "illegal")
_COUNTERS = ("cycles", *(counter.name for counter in fields(AnalogCounters)))


@dataclass(frozen=True, eq=False)
class Expected:
    """What the golden model makes of vectors, from reset.

    Attributes
    ----------
    results : ndarray of int64, shape (beats, port)
    last : ndarray of uint8, shape (beats,)
    counters : dict of str to int
        All but ``stall``; ``cycles`` from the closed form.
    illegal : int
        Position of the first drive that mixed blocks, or -1.
    """

    results: np.ndarray
    last: np.ndarray
    counters: dict[str, int]
    illegal: int


@dataclass(frozen=True, eq=False)
class AnalogVectors:
    """Commands, or words of them, and what they load.

    Attributes
    ----------
    config : AnalogConfig
    commands : list of AnalogCommand, or ndarray of uint8, shape (n, 32)
    weights, acts : ndarray of int8, shape (beats, port)
    name : str
        For messages.
    """

    config: AnalogConfig
    commands: list[AnalogCommand] | np.ndarray
    weights: np.ndarray = field(repr=False)
    acts: np.ndarray = field(repr=False)
    name: str = "program"

    @property
    def words(self) -> np.ndarray:
        """Command words: uint8, shape (n, 32)."""
        return self.commands if isinstance(self.commands, np.ndarray) else encode(self.commands)

    def streams(self) -> dict[str, list[int]]:
        """Return every input stream as integers."""
        return {name: [int.from_bytes(beat.tobytes(), "little") for beat in beats]
                for name, beats in (("commands", self.words), ("weights", self.weights),
                                    ("acts", self.acts))}

    def streams_as_bytes(self) -> dict[str, np.ndarray]:
        """Return every input stream: uint8, shape (beats, bytes), least significant byte first."""
        return {"commands": self.words, "weights": self.weights.view(np.uint8),
                "acts": self.acts.view(np.uint8)}

    def expected(self) -> Expected:
        """Run the golden model.

        Raises
        ------
        DataError
            If the commands are words, one of them is illegal, they do not end or depend on what
            is not theirs (`check_hazards`), or the streams do not fit them.
        """
        if isinstance(self.commands, np.ndarray):
            raise DataError(f"{self.name}: cycles are predicted for commands, not for words")
        tile = AnalogTile(self.config, self.name)
        results = tile.run(self.commands, self.weights, self.acts)
        if tile.error is not AnalogError.NONE:
            raise DataError(f"{self.name}: {tile.error.name} at {self.commands[tile.position]}")
        check_hazards(self.config, self.commands, self.name)
        counters = {"cycles": cycles(self.config, self.commands), **tile.counters.to_dict()}
        return Expected(results, np.array(tile.last, dtype=np.uint8), counters,
                        -1 if tile.illegal is None else tile.illegal)

    def save(self, folder: str | Path) -> None:
        """Write the streams, and what must come out, for this or any other testbench.

        Raises
        ------
        DataError
            As for :meth:`expected`; or a file that cannot be written.
        """
        expected = self.expected()
        save_sealed(folder, self.config,
                    {"words": self.words, "weights": self.weights, "acts": self.acts,
                     "results": expected.results, "last": expected.last},
                    {"name": self.name, "counters": expected.counters,
                     "illegal": expected.illegal})

    @classmethod
    def load(cls, folder: str | Path, config: AnalogConfig) -> "AnalogVectors":
        """Read streams back; what must come out is worked out anew.

        Raises
        ------
        DataError
            If files are missing, damaged, of another format, or made for other hardware.
        """
        manifest, arrays = load_sealed(folder, config, _ARRAYS, _KEYS, _COUNTERS)
        return cls(config, decode(arrays["words"]), arrays["weights"], arrays["acts"],
                   manifest["name"])
