"""What the golden tiles share: commands in program order, beats off the input streams, errors."""

from abc import ABC, abstractmethod
from enum import IntEnum
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from cimforge.spec.errors import DataError
from cimforge.spec.words import WordFormat

__all__ = ["CommandTile"]

_Command = TypeVar("_Command")


class CommandTile(ABC, Generic[_Command]):
    """Takes command words until one is illegal; what they do is its subclasses' business.

    Parameters
    ----------
    name : str
        Names the program in errors.
    port : int
        Elements of a beat of results.
    weights, acts : (dtype, int)
        Type and width of a beat of the input streams.

    Attributes
    ----------
    error : IntEnum
        Sticky until :meth:`clear`; 0 is none.
    position : int
        Of the command in error, counted since reset or ``clear``; meaningless without an error.
    last : list of int
        Of every beat that :meth:`run` returned, whether it is marked ``last``.
    """

    _format: ClassVar[WordFormat]
    error: Any

    def __init__(self, name: str, port: int, weights: tuple[type, int], acts: tuple[type, int]):
        self.name, self._port = name, port
        self._kinds = {"weights": weights, "acts": acts}
        self._out: list[np.ndarray] = []
        self.last: list[int] = []
        self._streams: dict[str, np.ndarray] = {}
        self.clear()

    def clear(self) -> None:
        """Forget the error, and count from zero; memories stay."""
        self.error, self.position, self._taken = 0, 0, 0

    def run(self, words: "np.ndarray | list[_Command]", weights: np.ndarray | None = None,
            acts: np.ndarray | None = None) -> np.ndarray:
        """Execute commands.

        Parameters
        ----------
        words : ndarray of uint8, shape (n, bytes), or list of commands
        weights, acts : ndarray, shape (beats, width), optional
            The input streams; what an error leaves of them is discarded.

        Returns
        -------
        ndarray of int64, shape (beats, port)
            The result stream.

        Raises
        ------
        DataError
            No words or beats, or the commands want more beats than there are, or leave some. An
            illegal command raises nothing: it sets :attr:`error`.
        """
        if not isinstance(words, np.ndarray):
            words = self._format.encode(words)
        self._format.check(words)
        self._streams = {"weight": self._beats("weights", weights),
                         "activation": self._beats("acts", acts)}
        self._out, self.last = [np.zeros((0, self._port), dtype=np.int64)], []
        for word in words:
            self._take(word)
        left = {name: len(rest) for name, rest in self._streams.items() if len(rest)}
        if left and not self.error:
            raise DataError(f"{self.name}: the commands leave " + " and ".join(
                f"{count} {name} beats" for name, count in left.items()))
        return np.concatenate(self._out)

    @abstractmethod
    def _check(self, fields: dict[str, int]) -> IntEnum:
        """Return what is wrong with a word, as its fields."""

    @abstractmethod
    def _execute(self, command: _Command) -> None:
        """Carry out a legal command."""

    def _take(self, word: np.ndarray) -> None:
        if self.error:
            return
        self.position = self._taken
        self.error = self._check(self._format.unpack(int.from_bytes(word.tobytes(), "little")))
        if not self.error:
            self._execute(self._format.decode(word[None])[0])
            self._taken += 1

    def _beats(self, name: str, beats: np.ndarray | None) -> np.ndarray:
        dtype, width = self._kinds[name]
        if beats is None:
            return np.zeros((0, width), dtype=dtype)
        if beats.ndim != 2 or beats.shape[1] != width or beats.dtype != dtype:
            raise DataError(f"{name} must be {np.dtype(dtype)} of shape (beats, {width}), not "
                            f"{beats.dtype} of shape {beats.shape}")
        return beats

    def _next(self, name: str, count: int) -> np.ndarray:
        stream = self._streams[name]
        if len(stream) < count:
            raise DataError(f"{self.name}: command {self.position} wants {count} {name} beats, "
                            f"but {len(stream)} are left")
        self._streams[name] = stream[count:]
        return stream[:count]

    def _send(self, beats: np.ndarray, last: bool) -> None:
        self._out.append(beats)
        self.last += [0] * (len(beats) - 1) + [int(last)]
