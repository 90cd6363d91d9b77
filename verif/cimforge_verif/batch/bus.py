"""The driver's transport to a verilated tile on a bus: no Python per cycle, and no event loop."""

import ctypes
import weakref
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError, DataError, ToolError
from cimforge.spec.registers import ADDRESS_BITS, STREAMS, tdata_bytes
from cimforge_verif.batch.programs import stall_masks
from cimforge_verif.compare import Mismatch
from cimforge_verif.driver import CHANNELS, BusError

__all__ = ["BatchTransport"]

_SILENT, _BROKEN = 1, 2  # what calls return, 0 apart; as in bus.cpp
_CHUNK = 1 << 16  # cycles of one call
_PERIOD = 1 << 16  # cycles after which a stall pattern starts anew
_U64, _U32 = ctypes.c_uint64, ctypes.c_uint32
_BYTES = ctypes.POINTER(ctypes.c_uint8)
_BUS, _ANSWER = ctypes.c_void_p, ctypes.POINTER(_U32)

_SIGNATURES: dict[str, tuple[list, object]] = {
    "bus_new": ([ctypes.POINTER(_U64)], _BUS),
    "bus_delete": ([_BUS], None),
    "bus_reset": ([_BUS], None),
    "bus_stall": ([_BUS, _U64, _BYTES, _U64], None),
    "bus_read": ([_BUS, _U32, _U64, _ANSWER], _U64),
    "bus_write": ([_BUS, _U32, _U32, _U32, _U64, _ANSWER], _U64),
    "bus_send": ([_BUS, _U64, _BYTES, _BYTES, _U64], None),
    "bus_step": ([_BUS, _U64, _U64, ctypes.POINTER(_U64)], _U64),
    "bus_packets": ([_BUS], _U64),
    "bus_beats": ([_BUS, _U64], _U64),
    "bus_take": ([_BUS, _BYTES], None),
    "bus_cycles": ([_BUS], _U64),
}


class BatchTransport:
    """Masters and a sink on every port, in C++; time passes while something is waited for.

    Nothing here ever waits for an event loop: drive it with
    :func:`cimforge_verif.driver.complete`.

    Parameters
    ----------
    library : Path
        From :func:`.build.build_library` with ``kind=BUS``.
    config : DcimConfig or AnalogConfig
        What the Verilog was made from: says how wide the streams are.
    limit : int
        Cycles after which an access counts as unanswered.

    Attributes
    ----------
    accesses : int
        Register accesses so far.

    Raises
    ------
    ToolError
        The library cannot be loaded.
    """

    def __init__(self, library: Path, config: DcimConfig | AnalogConfig, *, limit: int = 10_000):
        self._functions = _load(library)
        self._bytes, self._limit, self.accesses = tdata_bytes(config), limit, 0
        self._silent = ""  # the access that was not answered; its answer would be taken for another
        sizes = (_U64 * len(self._bytes))(*self._bytes.values())
        self._bus = _BUS(self._functions.bus_new(sizes))
        self._free = weakref.finalize(self, self._functions.bus_delete, self._bus)

    @property
    def cycles(self) -> int:
        """Cycles that passed; those of resets are not counted."""
        return self._functions.bus_cycles(self._bus)

    def stall(self, rates: Mapping[str, float], seed: int) -> None:
        """Let channels wait from now on, at random.

        Parameters
        ----------
        rates : mapping of str to float
            Probability by name, of :data:`cimforge_verif.driver.CHANNELS`; others do not wait.
        seed : int
        """
        for name, rate in rates.items():
            if name not in CHANNELS or not 0 <= rate < 1:
                raise ConfigError(f"a stall is a channel of {', '.join(CHANNELS)} and a "
                                  f"probability in 0..1 and not 1, not {name}: {rate!r}")
        masks = stall_masks(rates, seed, _PERIOD)
        for index, name in enumerate(CHANNELS):
            bits = np.packbits(masks.get(name, np.zeros(0, bool)), bitorder="little")
            self._functions.bus_stall(self._bus, index, _pointer(bits), 8 * len(bits))

    def reset(self) -> None:
        """Pull ``rst``; what was queued and received is forgotten, stalls stay."""
        self._functions.bus_reset(self._bus)
        self._silent = ""

    def step(self, cycles: int) -> None:
        """Let time pass."""
        self._step(cycles, False)

    async def read32(self, address: int) -> int:
        """Read a word."""
        answer = self._access("reading", self._functions.bus_read, address)
        return answer[1]

    async def write32(self, address: int, value: int) -> None:
        """Write a word."""
        self._access("writing", self._functions.bus_write, address, value, 0xF)

    async def write_bytes(self, address: int, data: bytes) -> None:
        """Write some bytes of a word: only their strobes are set."""
        low = address % 4
        if not 0 < len(data) <= 4 - low:
            raise DataError(f"{len(data)} bytes from {address:#05x} on are not within a word")
        self._access("writing", self._functions.bus_write, address,
                     int.from_bytes(data, "little") << 8 * low, (1 << len(data)) - 1 << low)

    def send(self, stream: str, beats: np.ndarray, keep: np.ndarray | None = None) -> None:
        """Queue a packet; ``keep``, bool of the same shape, says which bytes count."""
        if stream not in STREAMS:
            raise DataError(f"packets are sent on {', '.join(STREAMS)}, not on {stream!r}")
        size = self._bytes[stream]
        if beats.dtype != np.uint8 or beats.ndim != 2 or beats.shape[1] != size or not len(beats):
            raise DataError(f"a packet of {stream} must be uint8 of shape (1 or more, {size}), not "
                            f"{beats.dtype} of shape {beats.shape}")
        kept = np.ones(beats.shape, bool) if keep is None else np.asarray(keep, dtype=bool)
        if kept.shape != beats.shape:
            raise DataError(f"keep must be of shape {beats.shape}, not {kept.shape}")
        data, bits = np.ascontiguousarray(beats), np.packbits(kept, axis=1, bitorder="little")
        self._functions.bus_send(self._bus, STREAMS.index(stream), _pointer(data), _pointer(bits),
                                 len(beats))

    def received(self) -> list[np.ndarray]:
        """Return the result packets that ended since the last call, null beats removed."""
        packets = []
        for _ in range(self._functions.bus_packets(self._bus)):
            beats = self._functions.bus_beats(self._bus, 0)
            packet = np.zeros((beats, self._bytes["results"]), np.uint8)
            self._functions.bus_take(self._bus, _pointer(packet))
            packets.append(packet)
        return packets

    async def interrupt(self, cycles: int) -> bool:
        """Wait for ``irq``."""
        return self._step(cycles, True)

    def _step(self, cycles: int, until_irq: bool) -> bool:
        if type(cycles) is not int or cycles < 0:
            raise DataError(f"cycles must be an integer of at least 0, not {cycles!r}")
        raised = _U64()
        for first in range(0, cycles, _CHUNK):  # so that Ctrl-C gets through
            self._check("waiting", self._functions.bus_step(
                self._bus, min(_CHUNK, cycles - first), until_irq, ctypes.byref(raised)))
            if raised.value:
                return True
        return False

    def _access(self, what: str, function, address: int, *value: int) -> list[int]:
        if not 0 <= address < 1 << ADDRESS_BITS:
            raise DataError(f"addresses have {ADDRESS_BITS} bits, {address:#x} has more")
        if value and not 0 <= value[0] < 1 << 32:
            raise DataError(f"registers have 32 bits, {value[0]:#x} does not fit")
        if self._silent:
            raise ToolError(f"{self._silent} was never answered, and nothing can be asked before a "
                            "reset()")
        self.accesses += 1
        answer = (_U32 * 2)()
        status = function(self._bus, address, *value, self._limit, answer)
        if status == _SILENT:
            self._silent = f"{what} {address:#05x}"
        self._check(f"{what} {address:#05x}", status)
        if answer[0]:
            raise BusError(what, address, answer[0])
        return list(answer)

    def _check(self, what: str, status: int) -> None:
        if status == _SILENT:
            raise ToolError(f"{what} was not answered within {self._limit} cycles")
        if status >= _BROKEN:
            raise Mismatch(f"{what}, cycle {self.cycles}: channel {CHANNELS[status - _BROKEN]} did "
                           "not keep what it offered until it was taken, or sent half a beat")


def _load(library: Path) -> ctypes.CDLL:
    try:
        functions = ctypes.CDLL(str(library))
        for name, (arguments, result) in _SIGNATURES.items():
            getattr(functions, name).argtypes = arguments
            getattr(functions, name).restype = result
    except (OSError, AttributeError) as error:
        raise ToolError(f"{library}: cannot be loaded: {error}") from error
    return functions


def _pointer(array: np.ndarray):
    return array.ctypes.data_as(_BYTES)
