"""Bus models of valid/ready streams, stepped together by one loop per clock.

A cocotb task costs microseconds each time it wakes, so drivers and monitors are plain objects: one
:class:`Bench` awaits the rising edge and calls them in turn. Reads at the edge return the values
from before it, so what a :class:`Stream` samples there *is* the transfer of that edge; writes take
effect after it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from cocotb.clock import Clock
from cocotb.handle import SimHandleBase
from cocotb.triggers import RisingEdge

from cimforge_verif.sim.stalls import always_ready

__all__ = [
    "Agent", "Bench", "Scoreboard", "Stream", "StreamDriver", "StreamMonitor", "StreamSink",
    "beats_of", "ints_of",
]


def ints_of(beats: np.ndarray) -> Iterator[int]:
    """Yield the integer of every beat: uint8, shape (n, bytes), least significant byte first."""
    width = beats.shape[1]
    data = np.ascontiguousarray(beats, dtype=np.uint8).data.cast("B") if beats.size else b""
    for start in range(0, len(beats) * width, width):
        yield int.from_bytes(data[start:start + width], "little")


def beats_of(values: Iterable[int], width: int) -> np.ndarray:
    """Inverse of :func:`ints_of` for integers of ``width`` bits: uint8, shape (n, bytes)."""
    size = -(-width // 8)
    data = b"".join(value.to_bytes(size, "little") for value in values)
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, size)


class _Bit:
    """A one-bit signal.

    The only user of cocotb's private handle: ``.value`` builds a ``Logic`` each time, which costs
    several times as much as the simulator's own access, six times a cycle.
    """

    def __init__(self, signal: Any):
        if len(signal) != 1:
            raise ValueError(f"{signal._path} has {len(signal)} bits, not 1")
        self._signal = signal
        self.get: Callable[[], int] = signal._handle.get_signal_val_long
        self._driven: bool | None = None

    def drive(self, value: bool) -> None:
        """Write, unless this is what was written last."""
        if value is not self._driven:
            self._driven = value
            self._signal.value = int(value)


class Stream:
    """The signals of one stream and what they did at the current edge.

    Attributes
    ----------
    name : str
    valid, ready : bool
        As sampled; ``ready`` is only looked at, and only true, while ``valid``.
    moves : bool
        A beat was transferred at this edge.
    """

    def __init__(self, dut: SimHandleBase, name: str):
        self.name = name
        self.payload: Any = getattr(dut, f"{name}__payload")
        self.width = len(self.payload)
        self._valid, self._ready = (_Bit(getattr(dut, f"{name}__{port}"))
                                    for port in ("valid", "ready"))
        self.drive_valid, self.drive_ready = self._valid.drive, self._ready.drive
        self.valid = self.ready = self.moves = False

    def sample(self) -> None:
        """Look at the handshake; once per edge, before the agents."""
        self.valid = self._valid.get() == 1
        self.ready = self.moves = self.valid and self._ready.get() == 1

    def is_ready(self) -> bool:
        """Look at ready of this edge whether or not there is a beat."""
        return self._ready.get() == 1

    def read(self) -> int:
        """Return the payload of this edge as an unsigned integer."""
        return int(self.payload.value)


class Agent(Protocol):
    """Something that acts at every rising edge."""

    def edge(self) -> None:
        """Act; the streams have been sampled."""

    def reset(self) -> None:
        """Forget everything and drive what is driven during reset."""


class StreamDriver:
    """Offers beats in order; holds each until it is taken.

    Parameters
    ----------
    stream : Stream
        Whose payload and valid it drives.
    stalls : iterator of bool
        True in a cycle in which no new beat is offered.
    """

    def __init__(self, stream: Stream, stalls: Iterator[bool] | None = None):
        self.stream = stream
        self._stalls = stalls or always_ready()
        self._beats: deque[Iterator[int]] = deque()
        self._holding = False
        self.sent = 0

    def stall(self, stalls: Iterator[bool]) -> None:
        """Take another pattern from here on."""
        self._stalls = stalls

    def send(self, beats: np.ndarray | Iterable[int]) -> None:
        """Append beats: rows of bytes (uint8, least significant first) or integers."""
        self._beats.append(ints_of(beats) if isinstance(beats, np.ndarray) else iter(beats))

    @property
    def done(self) -> bool:
        """Whether every beat was taken."""
        return not self._holding and not self._beats

    def _next(self) -> int | None:
        while self._beats:
            beat = next(self._beats[0], None)
            if beat is not None:
                return beat
            self._beats.popleft()
        return None

    def edge(self) -> None:
        """Count a transfer and offer the next beat."""
        if self._holding:
            if not self.stream.moves:
                return
            self.sent += 1
            self._holding = False
        beat = None if next(self._stalls) else self._next()
        if beat is not None:
            self.stream.payload.value = beat
            self._holding = True
        self.stream.drive_valid(self._holding)

    def reset(self) -> None:
        """Drop what was not sent."""
        self._beats.clear()
        self._holding, self.sent = False, 0
        self.stream.drive_valid(False)


class StreamSink:
    """Drives ready; True in ``stalls`` is a cycle in which nothing is taken."""

    def __init__(self, stream: Stream, stalls: Iterator[bool] | None = None):
        self.stream = stream
        self._stalls = stalls or always_ready()

    def stall(self, stalls: Iterator[bool]) -> None:
        """Take another pattern from here on."""
        self._stalls = stalls

    def edge(self) -> None:
        """Decide about the next cycle."""
        self.stream.drive_ready(not next(self._stalls))

    def reset(self) -> None:
        """Take nothing during reset."""
        self.stream.drive_ready(False)


class StreamMonitor:
    """Reports transfers and checks the rules of valid and ready.

    Parameters
    ----------
    stream : Stream
    observe : callable
        Called with the payload of every transfer, in the cycle in which it happens.
    stable : bool
        Check that a waiting payload does not change; False saves reading it every cycle where
        only our own driver could change it.

    Raises
    ------
    AssertionError
        At the edge at which valid is dropped, or the payload changes, before it was taken.
    """

    def __init__(self, stream: Stream, observe: Callable[[int], None] = lambda _: None,
                 stable: bool = True):
        self.stream, self._observe, self._stable = stream, observe, stable
        self._waiting: int | None = None  # payload of the beat that waits; 0 if not stable
        self.cycle = self.transfers = 0

    def edge(self) -> None:
        """Look at this edge."""
        stream = self.stream
        self.cycle += 1
        if not stream.valid:
            assert self._waiting is None, (
                f"{stream.name}: valid was dropped before beat {self.transfers} was taken "
                f"(cycle {self.cycle})")
            return
        payload = stream.read() if self._stable or stream.moves else 0
        assert not self._stable or self._waiting is None or payload == self._waiting, (
            f"{stream.name}: the payload of beat {self.transfers} changed while it waited "
            f"(cycle {self.cycle}): {self._waiting:#x} became {payload:#x}")
        self._waiting = None if stream.moves else payload
        if stream.moves:
            self._observe(payload)
            self.transfers += 1

    def reset(self) -> None:
        """Forget the beat that waited."""
        self._waiting, self.cycle, self.transfers = None, 0, 0


class Scoreboard:
    """Compares results with expectations in order; missing and surplus ones fail.

    Parameters
    ----------
    name : str
        Of what is compared, for messages.
    """

    def __init__(self, name: str = "result"):
        self.name = name
        self._expected: deque[Any] = deque()
        self.matched = 0

    def expect(self, value: Any) -> None:
        """Append an expectation."""
        self._expected.append(value)

    def observe(self, value: Any) -> None:
        """Compare the next result."""
        assert self._expected, f"{self.name} {self.matched} was not expected: got {value}"
        expected = self._expected.popleft()
        assert value == expected, f"{self.name} {self.matched}: got {value}, expected {expected}"
        self.matched += 1

    def close(self, count: int | None = None) -> None:
        """Fail if anything is missing, or if not ``count`` results were compared in all."""
        assert not self._expected, f"{len(self._expected)} {self.name}(s) never arrived"
        assert count is None or self.matched == count, (
            f"compared {self.matched} {self.name}s, not {count}")


class Bench:
    """The clock, the reset, and the loop that steps streams and agents.

    Parameters
    ----------
    dut : handle of the top
        With ports ``clk`` and ``rst``.
    streams : iterable of Stream
    agents : iterable of Agent
        In the order in which they act.
    """

    def __init__(self, dut: Any, streams: Iterable[Stream] = (), agents: Iterable[Agent] = ()):
        self.dut = dut
        self.streams, self.agents = list(streams), list(agents)
        self.cycle = 0
        self._clock: Clock | None = None

    async def reset(self, cycles: int = 2) -> None:
        """Reset the design and every agent; starts the clock on the first call."""
        if self._clock is None:
            self._clock = Clock(self.dut.clk, 10, unit="ns")
            self._clock.start()
        for agent in self.agents:
            agent.reset()
        self.dut.rst.value = 1
        for _ in range(cycles):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        self.cycle = 0

    async def run(self, until: Callable[[], bool], limit: int) -> None:
        """Step until ``until()`` holds after an edge.

        Raises
        ------
        AssertionError
            If it does not within ``limit`` cycles; the message says what each stream did last.
        """
        edge = RisingEdge(self.dut.clk)
        samples = [stream.sample for stream in self.streams]
        edges = [agent.edge for agent in self.agents]
        for _ in range(limit):
            await edge
            for step in samples:
                step()
            for step in edges:
                step()
            self.cycle += 1
            if until():
                return
        states = ", ".join(f"{s.name} valid={s.valid:d} ready={s.ready:d}" for s in self.streams)
        raise AssertionError(f"not done after {limit} cycles; {states}")

    async def idle(self, cycles: int) -> None:
        """Step ``cycles`` cycles; monitors go on watching."""
        end = self.cycle + cycles
        await self.run(lambda: self.cycle >= end, cycles)
