"""cocotb bench of ``dcim_tile``: whole programs through its streams. Started by :mod:`.layers`."""

import json
import os
import time

import cocotb
import numpy as np

from cimforge.spec.commands import ErrorCode, Opcode
from cimforge_verif.compare import Mismatch, assert_equal
from cimforge_verif.sim.bfm import Bench, Stream, StreamDriver, StreamMonitor, StreamSink
from cimforge_verif.sim.jobs import (
    COUNTERS,
    JOB_VARIABLE,
    LayerJob,
    LayerResult,
    counter_errors,
    pack_results,
    unpack_results,
)
from cimforge_verif.sim.stall_model import Handshake, StallModel
from cimforge_verif.sim.stalls import stall_pattern
from cimforge_verif.vectors import VectorSet

# Stream -> the array of a vector set that it carries.
_INPUTS = {"commands": "words", "weights": "weights", "acts": "acts"}
_REPORT_S = 0.25


class ResultChecker:
    """Compares every beat of the result stream as it arrives."""

    def __init__(self, lanes: int, acc_bits: int):
        self._shape = lanes, acc_bits
        self._bits = lanes * acc_bits
        self.start("", [])

    def start(self, name: str, expected: list[int]) -> None:
        """Begin a layer."""
        self.name, self.expected = name, expected
        self.seen: list[int] = []
        self.last: list[int] = []

    def observe(self, payload: int) -> None:
        """Compare one beat: the lanes, and above them the ``last`` flag."""
        last, position = payload >> self._bits, len(self.seen)
        data = payload - (last << self._bits)
        if position >= len(self.expected):
            raise AssertionError(f"surplus result beat {position} after all "
                                 f"{len(self.expected)} expected ones")
        wanted = self.expected[position]
        if payload != wanted:
            name, flag = f"result beat {position} of {len(self.expected)}", wanted >> self._bits
            actual, expected = unpack_results([data, wanted - (flag << self._bits)], *self._shape)
            assert_equal(name, actual, expected, ("lane",))
            raise Mismatch(f"{name}: expected the flag last = {flag}, got {last}")
        self.seen.append(data)
        self.last.append(last)

    @property
    def missing(self) -> int:
        """Beats that have not arrived."""
        return len(self.expected) - len(self.seen)

    def results(self) -> np.ndarray:
        """Return what arrived: int64, shape (beats, out_port)."""
        return unpack_results(self.seen, *self._shape)


class StallWatch:
    """Feeds :class:`StallModel` with what the ports did at every edge."""

    def __init__(self, streams: dict[str, Stream], end: int = Opcode.END):
        self.model, self._end = StallModel(), end
        self._streams = [streams[name] for name in ("commands", "weights", "acts", "results")]

    def edge(self) -> None:
        """Take one cycle."""
        commands, weights, acts, results = (
            Handshake(stream.valid, stream.is_ready()) for stream in self._streams)
        offered = self._streams[0]
        self.model.step(commands, weights, acts, results,
                        is_end=offered.moves and offered.read() % 16 == self._end)

    def reset(self) -> None:
        """Count from zero."""
        self.model.reset()


class Progress:
    """Writes how far the bench is, a few times a second."""

    def __init__(self, job: LayerJob):
        self._path, self._next = job.progress_path, 0.0

    def report(self, layer: int, beats: int, finished: bool = False) -> None:
        """Write, if the last time is long ago or the layer has finished."""
        now = time.monotonic()
        if finished or now >= self._next:
            self._next = now + _REPORT_S
            partial = self._path.with_suffix(".part")
            partial.write_text(json.dumps([layer, beats]), encoding="utf-8")
            partial.replace(self._path)


class TileBench:
    """Drivers of the input streams, sink, monitor and checker of the results."""

    def __init__(self, dut, job: LayerJob):
        self.dut, self.job = dut, job
        self.checker = ResultChecker(job.config.out_port, job.config.acc_bits)
        self.progress = Progress(job)
        streams = {name: Stream(dut, name) for name in (*_INPUTS, "results")}
        stalls = {name: stall_pattern(job.stalls.get(name, 0.0), job.seed, name)
                  for name in streams}
        self.drivers = {name: StreamDriver(streams[name], stalls[name]) for name in _INPUTS}
        monitor = StreamMonitor(streams["results"], self.checker.observe)
        sink = StreamSink(streams["results"], stalls["results"])
        self.watch = StallWatch(streams)
        # Where nothing waits there is nothing to watch, and looking takes time.
        agents = [self.watch] if any(job.stalls.values()) else []
        self.bench = Bench(dut, streams.values(), [*agents, *self.drivers.values(), monitor, sink])

    async def layer(self, index: int, vectors: VectorSet, limit: int) -> None:
        """Run one layer from reset; raises AssertionError at the first thing that is wrong."""
        self.checker.start(vectors.layer, pack_results(
            vectors.results, self.job.config.acc_bits, vectors.last))
        self.dut.clear.value = 0
        await self.bench.reset()
        for name, array in _INPUTS.items():
            self.drivers[name].send(getattr(vectors, array))
        begin = time.perf_counter()
        await self.bench.run(lambda: self._finished(index), limit)
        seconds, simulated = time.perf_counter() - begin, self.bench.cycle
        await self.bench.idle(self.job.watch)
        counters = {name: int(getattr(self.dut, f"counters__{name}").value) for name in COUNTERS}
        self._check(vectors, counters)
        self.progress.report(index, len(self.checker.seen), finished=True)
        self.job.save_result(index, LayerResult(
            name=vectors.layer, results=self.checker.results(), counters=counters,
            last=np.array(self.checker.last, dtype=np.uint8), simulated=simulated,
            seconds=seconds))

    def _finished(self, index: int) -> bool:
        cycle = self.bench.cycle
        if cycle % 256 == 0:
            self.progress.report(index, len(self.checker.seen))
        if cycle % 16 == 0 and int(self.dut.error.value):
            return True  # nothing more will come; _check says what it is
        return (not self.checker.missing and all(d.done for d in self.drivers.values())
                and not int(self.dut.busy.value))

    def _check(self, vectors: VectorSet, counters: dict[str, int]) -> None:
        error = int(self.dut.error.value)
        assert not error, (f"the tile reports {ErrorCode(error).name} for command "
                           f"{int(self.dut.error_position.value)}")
        assert not self.checker.missing, f"{self.checker.missing} result beats never arrived"
        for name, driver in self.drivers.items():
            assert driver.done, f"only {driver.sent} {name} were taken"
        if self.job.counters:
            stalled = any(self.job.stalls.values())
            errors = counter_errors(
                counters, {**vectors.counters, "stall": self.watch.model.count}, stalled)
            assert not errors, "; ".join(errors)


@cocotb.test()
async def layers(dut):
    """Every layer of the job, one after the other."""
    job = LayerJob.load(os.environ[JOB_VARIABLE])
    tile = TileBench(dut, job)
    for index, (name, limit) in enumerate(zip(job.names, job.limits, strict=True)):
        vectors = VectorSet.load(job.vectors_folder(index), job.config)
        try:
            await tile.layer(index, vectors, limit)
        except AssertionError as error:
            raise AssertionError(f"layer {name}, cycle {tile.bench.cycle}: {error}") from error
