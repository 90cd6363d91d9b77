"""A tile on a bus as software sees it: registers, streams, interrupt; over any transport.

Methods are coroutines, so that the same driver runs inside a simulator that is itself a loop of
coroutines. A transport whose calls return at once needs none: :func:`complete` runs a coroutine of
the driver to its end.
"""

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from cimforge.spec.analog.commands import AnalogError
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.commands import ErrorCode
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError, ToolError
from cimforge.spec.registers import (
    COUNTERS,
    IDENTITY,
    MAP_VERSION,
    STREAMS,
    Response,
    TileKind,
    digest_words,
    kind_of,
    register_map,
    tdata_bytes,
)

__all__ = ["CHANNELS", "BusError", "Outcome", "ProgramError", "StreamError", "TileDriver",
           "Transport", "complete"]

#: Everything that may wait: five channels of registers, four streams.
CHANNELS = ("aw", "w", "b", "ar", "r", *STREAMS, "results")

_T = TypeVar("_T")


class BusError(ToolError):
    """An access that was answered with an error.

    Attributes
    ----------
    address : int
    response : Response or int
        A number if AXI4-Lite knows no such response.
    """

    def __init__(self, what: str, address: int, response: int):
        known = response in set(Response)
        self.address, self.response = address, Response(response) if known else response
        name = Response(response).name if known else f"response {response}"
        super().__init__(f"{what} {address:#05x} was answered with {name}")


class ProgramError(DataError):
    """The tile stopped at an illegal command; ``clear`` makes it usable again.

    Attributes
    ----------
    code : ErrorCode or AnalogError
    position : int
        Of the command since the last clear.
    """

    def __init__(self, code: ErrorCode | AnalogError, position: int):
        self.code, self.position = code, position
        super().__init__(f"the tile reports {code.name} for command {position}")


class StreamError(DataError):
    """A packet was not as announced; ``soft_reset`` makes the tile usable again.

    Attributes
    ----------
    flags : tuple of str
        Fields of STREAM_ERROR.
    """

    def __init__(self, flags: tuple[str, ...], beats: dict[str, int]):
        self.flags = flags
        accepted = ", ".join(f"{count} {name}" for name, count in beats.items())
        super().__init__(f"malformed packets: {', '.join(flags)}; beats accepted: {accepted}")


class Transport(Protocol):
    """What a driver needs of a bus. A stream's packets are sent and received in order."""

    async def read32(self, address: int) -> int:
        """Read a word; BusError if the response is an error."""

    async def write32(self, address: int, value: int) -> None:
        """Write a word; BusError if the response is an error."""

    def send(self, stream: str, beats: np.ndarray) -> None:
        """Queue a packet: uint8, shape (beats, bytes of TDATA). Returns at once."""

    def received(self) -> list[np.ndarray]:
        """Return the result packets that ended since the last call, as ``send`` takes them."""

    async def interrupt(self, cycles: int) -> bool:
        """Wait until the interrupt is raised; False if that takes longer than ``cycles``."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a program did.

    Attributes
    ----------
    packets : list of ndarray of uint8, shape (beats, bytes of TDATA)
        Results, a packet for every command that was marked last.
    counters : dict of str to int
        Since the last clear.
    """

    packets: list[np.ndarray]
    counters: dict[str, int]


class TileDriver:
    """Runs programs on a tile; :meth:`open` comes first.

    Parameters
    ----------
    transport : Transport
    config : DcimConfig or AnalogConfig
        Of the tile that should be there.
    """

    def __init__(self, transport: Transport, config: DcimConfig | AnalogConfig):
        self.transport, self.config = transport, config
        self.kind, self._bytes = kind_of(config), tdata_bytes(config)
        self.map = {register.name: register for register in register_map(self.kind)}
        self._opened = False

    async def read(self, name: str) -> int:
        """Return a register."""
        return await self.transport.read32(self.map[name].address)

    async def write(self, name: str, value: int) -> None:
        """Write a register."""
        await self.transport.write32(self.map[name].address, value)

    async def fields(self, name: str) -> dict[str, int]:
        """Return the fields of a register."""
        value = await self.read(name)
        return {f.name: (value & f.mask) >> f.low for f in self.map[name].fields}

    async def act(self, *names: str) -> None:
        """Write one to fields of CONTROL."""
        await self.write("CONTROL", sum(self.map["CONTROL"].field(name).mask for name in names))

    async def open(self) -> None:
        """See that this is the tile that programs will be made for; enable all interrupts.

        Raises
        ------
        DataError
            It is not; nothing has been written then.
        """
        identity = await self.read("ID")
        if identity != IDENTITY:
            raise DataError(f"no tile here: ID is {identity:#010x}, not {IDENTITY:#010x}")
        version = await self.fields("VERSION")
        if version["MAJOR"] != MAP_VERSION[0] or version["MINOR"] < MAP_VERSION[1]:
            raise DataError(f"the tile has version {version['MAJOR']}.{version['MINOR']} of the "
                            f"registers, this driver needs {MAP_VERSION[0]}.{MAP_VERSION[1]}")
        kind = (await self.fields("TILE"))["KIND"]
        if kind != self.kind:
            names = {int(k): k.name.lower() for k in TileKind}
            raise DataError(f"the tile is {names.get(kind, f'of kind {kind}')}, not "
                            f"{self.kind.name.lower()}")
        low, high = await self.read("DIGEST_LO"), await self.read("DIGEST_HI")
        if (low, high) != digest_words(self.config):
            raise DataError(f"the tile was built for configuration {high:08x}{low:08x}, not "
                            f"{self.config.digest}")
        await self.write("INTERRUPT_ENABLE", self.map["INTERRUPT_ENABLE"].mask)
        self._opened = True

    async def run(self, streams: Mapping[str, np.ndarray], cycles: int) -> Outcome:
        """Run one program: a packet of every stream, commands up to End.

        Parameters
        ----------
        streams : mapping of str to ndarray of uint8, shape (beats, bytes)
            ``commands``, ``weights`` and ``acts``.
        cycles : int
            Limit, from the start.

        Raises
        ------
        ProgramError, StreamError
            What the tile reports.
        ToolError
            The tile is not ready, or not done within ``cycles``.
        """
        if type(cycles) is not int or cycles < 1:
            raise DataError(f"cycles must be an integer of at least 1, not {cycles!r}")
        await self.start(streams)
        return await self.finish(streams, cycles)

    async def start(self, streams: Mapping[str, np.ndarray]) -> None:
        """Announce the packets, queue them, let the program in.

        Raises
        ------
        DataError
            An array does not fit its stream; nothing has been written then.
        ToolError
            The tile is not ready.
        """
        if not self._opened:
            raise DataError("the tile has not been looked at yet: call open() first")
        self._check_shapes(streams)
        status = await self.fields("STATUS")
        if not status["READY"]:
            raise ToolError(f"the tile is not ready: {_set(status)}")
        await self.write("INTERRUPT_STATUS", self.map["INTERRUPT_STATUS"].mask)
        await self.write("STREAM_ERROR", self.map["STREAM_ERROR"].mask)
        self.transport.received()  # of a program that failed: not this one's
        self._before = await self.beats()
        for name in STREAMS:
            await self.write(f"{name.upper()}_LENGTH", len(streams[name]))
        for name in STREAMS:
            if len(streams[name]):
                self.transport.send(name, streams[name])
        await self.act("START")

    def _check_shapes(self, streams: Mapping[str, np.ndarray]) -> None:
        if not isinstance(streams, Mapping):
            raise DataError(f"streams must be arrays by name, not {streams!r}")
        for name in STREAMS:
            beats, size = streams.get(name), self._bytes[name]
            if not isinstance(beats, np.ndarray):
                raise DataError(f"{name} must be an array, not {beats!r}")
            if beats.dtype != np.uint8 or beats.ndim != 2 or beats.shape[1] != size:
                raise DataError(f"{name} must be uint8 of shape (beats, {size}), not "
                                f"{beats.dtype} of shape {beats.shape}")

    async def finish(self, streams: Mapping[str, np.ndarray], cycles: int) -> Outcome:
        """Wait for the end of what :meth:`start` started; as for :meth:`run`."""
        if not await self.transport.interrupt(cycles):
            status = await self.fields("STATUS")
            raise ToolError(f"not done after {cycles} cycles: {_set(status)}; beats "
                            f"{await self.beats()}")
        happened = await self.fields("INTERRUPT_STATUS")
        if happened["STREAM"]:
            flags = await self.fields("STREAM_ERROR")
            await self.write("INTERRUPT_STATUS", self.map["INTERRUPT_STATUS"].field("STREAM").mask)
            raise StreamError(tuple(n for n, value in flags.items() if value), await self.beats())
        if happened["ERROR"]:
            raise await self._program_error()
        if not happened["DONE"]:
            raise ToolError("an interrupt was raised, and no reason for it is given")
        await self.write("INTERRUPT_STATUS", self.map["INTERRUPT_STATUS"].mask)
        await self._check_beats(streams)
        return Outcome(self.transport.received(), await self.counters())

    async def _check_beats(self, streams: Mapping[str, np.ndarray]) -> None:
        """Raise ToolError unless every beat that was sent went into the tile."""
        now = await self.beats()
        for name in STREAMS:
            taken = (now[name] - self._before[name]) % (1 << 32)
            if taken != len(streams[name]):
                raise ToolError(f"{taken} of {len(streams[name])} beats of {name} were accepted, "
                                f"and yet the program ended")

    async def _program_error(self) -> ProgramError | ToolError:
        code, position = await self.read("ERROR_CODE"), await self.read("ERROR_POSITION")
        codes = ErrorCode if self.kind is TileKind.DIGITAL else AnalogError
        if code not in set(codes) or code == codes.NONE:
            return ToolError(f"the tile stopped at command {position} with error code {code}, "
                             "which this driver does not know")
        return ProgramError(codes(code), position)

    async def beats(self) -> dict[str, int]:
        """Return the beat counts of all four streams."""
        return {name: await self.read(f"{name.upper()}_BEATS") for name in (*STREAMS, "results")}

    async def counters(self) -> dict[str, int]:
        """Return the tile's counters, all of the same cycle."""
        await self.act("SNAPSHOT")
        return {name: await self.read(f"{name.upper()}_LO")
                | await self.read(f"{name.upper()}_HI") << 32 for name in COUNTERS[self.kind]}

    async def clear(self, polls: int = 1000) -> None:
        """Forget error, banks and counts, once packets that have begun have ended.

        Raises
        ------
        ToolError
            Still waiting, and no beat was taken during as many as ``polls`` looks.
        """
        await self.act("CLEAR")
        taken = await self.beats()
        while True:
            try:
                await self._until_not("CLEARING", polls)
                break
            except ToolError:
                before, taken = taken, await self.beats()
                if taken == before:  # otherwise the long tail of a program goes in meanwhile
                    raise
        await self.write("INTERRUPT_STATUS", self.map["INTERRUPT_STATUS"].mask)

    async def soft_reset(self, polls: int = 1000) -> None:
        """Drop everything in flight; the rest of packets that have begun must still be sent.

        Packets that were queued and have not begun are not in the tile yet: they are the next
        program's, unless the sender forgets them.
        """
        await self.act("SOFT_RESET")
        await self._until_not("RESETTING", polls)
        self.transport.received()

    async def _until_not(self, field: str, polls: int) -> None:
        for _ in range(polls):
            status = await self.fields("STATUS")
            if not status[field]:
                return
        raise ToolError(f"still {field} after {polls} looks at it: {_set(status)}")


def _set(fields: Mapping[str, int]) -> str:
    return ", ".join(name for name, value in fields.items() if value) or "no flag is set"


def complete(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine that never really waits, as over a transport that returns at once."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("the transport waits for something: it needs an event loop")
