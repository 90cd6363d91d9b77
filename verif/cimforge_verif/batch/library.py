"""The verilated tile as an object: one program per call, arrays in and out."""

import ctypes
import time
import weakref
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np

from cimforge.spec.errors import ToolError

__all__ = ["INPUTS", "Outcome", "Status", "Tile", "TileLibrary"]

#: Streams in the order of the harness.
INPUTS = ("commands", "weights", "acts")
_BYTES = ctypes.POINTER(ctypes.c_uint8)
_U64 = ctypes.c_uint64


class Status(IntEnum):
    """How a program ended."""

    DONE = 0
    HUNG = 1
    DIFFERS = 2  #: the next result beat is not the expected one
    SURPLUS = 3  #: a result beat after the last expected one
    ERROR = 4  #: the tile's error register is set
    PROTOCOL = 5  #: valid was dropped before the beat was taken


class _Stalls(ctypes.Structure):
    _fields_ = [("bits", _BYTES), ("cycles", _U64)]


class _Input(ctypes.Structure):
    _fields_ = [("beats", _BYTES), ("count", _U64), ("bytes", _U64), ("stalls", _Stalls)]


class _Job(ctypes.Structure):
    _fields_ = [("inputs", _Input * len(INPUTS)), ("expected", _BYTES), ("results", _BYTES),
                ("result_count", _U64), ("result_bytes", _U64), ("sink", _Stalls), ("limit", _U64),
                ("watch", _U64), ("end", _U64), ("stalled", _U64)]


class _Outcome(ctypes.Structure):
    _fields_ = [("status", _U64), ("cycles", _U64), ("beats", _U64), ("sent", _U64 * len(INPUTS)),
                ("stall", _U64)]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the tile did with a program.

    Attributes
    ----------
    status : Status
    cycles : int
        Stepped.
    results : ndarray of uint8, shape (beats, bytes)
        Payloads that arrived; with `Status.DIFFERS`, the last one is the wrong one.
    sent : dict of str to int
        Beats taken of each input.
    stall : int
        What the tile's stall counter should say; 0 if nothing waits.
    seconds : float
        Wall-clock time.
    """

    status: Status
    cycles: int
    results: np.ndarray
    sent: dict[str, int]
    stall: int
    seconds: float


class TileLibrary:
    """A library from :func:`.build.build_library`; makes tiles.

    Raises
    ------
    ToolError
        If it cannot be loaded.
    """

    def __init__(self, path: Path):
        try:
            self._functions = ctypes.CDLL(str(path))
            self._functions.tile_new.restype = ctypes.c_void_p
        except (OSError, AttributeError) as error:
            raise ToolError(f"{path}: cannot be loaded: {error}") from error
        self._functions.tile_delete.argtypes = [ctypes.c_void_p]
        self._functions.tile_run.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Job),
                                             ctypes.POINTER(_Outcome)]
        self._functions.tile_peek.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._functions.tile_peek.restype = _U64

    def tile(self) -> "Tile":
        """Return a new tile."""
        return Tile(self._functions)


class Tile:
    """One verilated model. Calls release the interpreter, so threads run tiles in parallel."""

    def __init__(self, functions: ctypes.CDLL):
        self._functions = functions
        self._model = functions.tile_new()
        self._free = weakref.finalize(self, functions.tile_delete, self._model)

    def run(self, streams: dict[str, np.ndarray], expected: np.ndarray, *,
            stalls: dict[str, np.ndarray] | None = None, limit: int, watch: int, end: int,
            compare: bool = True) -> Outcome:
        """Run one program from reset.

        Parameters
        ----------
        streams : dict of str to ndarray of uint8, shape (beats, bytes)
            Payloads of :data:`INPUTS`, least significant byte first.
        expected : ndarray of uint8, shape (beats, bytes)
            Payloads of the result stream; without ``compare``, only their number counts.
        stalls : dict of str to ndarray of bool, shape (cycles,), optional
            By stream, ``"results"`` included: true where it waits.
        limit, watch : int
            Cycles after which the program counts as hung; cycles to look for surplus results.
        end : int
            Opcode of the last command.
        compare : bool
            Stop at the first result that is not the expected one.
        """
        keep = [np.ascontiguousarray(streams[name], dtype=np.uint8) for name in INPUTS]
        wanted = np.ascontiguousarray(expected, dtype=np.uint8)
        results = np.zeros((len(wanted) + 1, wanted.shape[1]), dtype=np.uint8)
        masks = {name: np.packbits(mask, bitorder="little")
                 for name, mask in (stalls or {}).items()}

        def waiting(name: str) -> _Stalls:
            mask = masks.get(name)
            return _Stalls() if mask is None else _Stalls(_pointer(mask), 8 * len(mask))

        job = _Job(
            inputs=(_Input * len(INPUTS))(*(
                _Input(_pointer(beats), len(beats), beats.shape[1], waiting(name))
                for name, beats in zip(INPUTS, keep, strict=True))),
            expected=_pointer(wanted) if compare else _BYTES(), results=_pointer(results),
            result_count=len(wanted), result_bytes=wanted.shape[1], sink=waiting("results"),
            limit=limit, watch=watch, end=end, stalled=bool(masks))
        out = _Outcome()
        begin = time.perf_counter()
        self._functions.tile_run(self._model, ctypes.byref(job), ctypes.byref(out))
        seconds = time.perf_counter() - begin
        status = Status(out.status)
        return Outcome(status, out.cycles, results[:out.beats + (status is Status.DIFFERS)],
                       dict(zip(INPUTS, out.sent, strict=True)), out.stall, seconds)

    def peek(self, port: str) -> int:
        """Return an output port that is no stream."""
        return self._functions.tile_peek(self._model, port.encode())


def _pointer(array: np.ndarray):
    return array.ctypes.data_as(_BYTES)
