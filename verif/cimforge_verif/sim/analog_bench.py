"""cocotb bench of ``analog_tile``: programs through its streams. Started by :mod:`.analog`."""

import os
import time
from typing import Any

import cocotb
import numpy as np

from cimforge.spec.analog.commands import AnalogError, AnalogOpcode
from cimforge.spec.analog.config import AnalogConfig
from cimforge_verif.sim.analog import ANALOG_COUNTERS, JOB_VARIABLE, AnalogJob
from cimforge_verif.sim.bfm import Bench, Stream, StreamDriver, StreamMonitor, StreamSink
from cimforge_verif.sim.jobs import counter_errors, pack_results
from cimforge_verif.sim.layer_bench import ResultChecker, StallWatch
from cimforge_verif.sim.stalls import stall_pattern

# Stream -> the array of a program that it carries.
_INPUTS = {"commands": "words", "weights": "weights", "acts": "acts"}


class AnalogBench:
    """Drivers of the input streams, sink, monitor and checker of the results."""

    def __init__(self, dut: Any, job: AnalogJob):
        self.dut, self.job = dut, job
        self.config = AnalogConfig(**job.parameters)
        self.checker = ResultChecker(self.config.port, self.config.acc_bits)
        streams = {name: Stream(dut, name) for name in (*_INPUTS, "results")}
        stalls = {name: stall_pattern(job.stalls.get(name, 0.0), job.seed, name)
                  for name in streams}
        self.drivers = {name: StreamDriver(streams[name], stalls[name]) for name in _INPUTS}
        monitor = StreamMonitor(streams["results"], self.checker.observe)
        sink = StreamSink(streams["results"], stalls["results"])
        self.watch = StallWatch(streams, AnalogOpcode.END)
        # Where nothing waits there is nothing to watch, and looking takes time.
        self.stalled = any(job.stalls.values())
        agents = [self.watch] if self.stalled else []
        self.bench = Bench(dut, streams.values(), [*agents, *self.drivers.values(), monitor, sink])

    async def program(self, index: int) -> None:
        """Run one program from reset; raises AssertionError at the first thing that is wrong."""
        with np.load(self.job.arrays(str(index)), allow_pickle=False) as arrays:
            data = dict(arrays)
        self.checker.start(self.job.names[index], pack_results(
            data["results"], self.config.acc_bits, data["last"]))
        self.dut.clear.value = 0
        await self.bench.reset()
        for name, array in _INPUTS.items():
            self.drivers[name].send(data[array])
        begin = time.perf_counter()
        await self.bench.run(self._finished, self.job.limits[index])
        seconds, simulated = time.perf_counter() - begin, self.bench.cycle
        await self.bench.idle(self.job.watch)
        counters = {name: int(getattr(self.dut, f"counters__{name}").value)
                    for name in ANALOG_COUNTERS}
        self._check(index, counters, data["counters"].tolist())
        np.savez(self.job.arrays(f"result{index}"), results=self.checker.results(),
                 counters=[counters[name] for name in ANALOG_COUNTERS], simulated=simulated,
                 seconds=seconds)

    def _finished(self) -> bool:
        if self.bench.cycle % 16 == 0 and int(self.dut.error.value):
            return True  # nothing more will come; _check says what it is
        return (not self.checker.missing and all(d.done for d in self.drivers.values())
                and not int(self.dut.busy.value))

    def _check(self, index: int, counters: dict[str, int], wanted: list[int]) -> None:
        error = int(self.dut.error.value)
        assert not error, (f"the tile reports {AnalogError(error).name} for command "
                           f"{int(self.dut.error_position.value)}")
        assert not self.checker.missing, f"{self.checker.missing} result beats never arrived"
        for name, driver in self.drivers.items():
            assert driver.done, f"only {driver.sent} {name} were taken"
        expected = dict(zip(ANALOG_COUNTERS, wanted, strict=False))
        errors = counter_errors(
            counters, {**expected, "stall": self.watch.model.count}, self.stalled)
        assert not errors, "; ".join(errors)
        assert bool(self.dut.saturated.value) == (expected["saturations"] > 0)
        position = self.job.illegal[index]
        found = int(self.dut.illegal_position.value) if int(self.dut.illegal.value) else -1
        assert found == position, f"the first illegal drive is {position}, not {found}"


@cocotb.test()
async def programs(dut):
    """Every program of the job, one after the other."""
    job = AnalogJob.load(os.environ[JOB_VARIABLE])
    bench = AnalogBench(dut, job)
    for index, name in enumerate(job.names):
        try:
            await bench.program(index)
        except AssertionError as error:
            raise AssertionError(f"{name} {index}, cycle {bench.bench.cycle}: {error}") from error
