"""cocotb bench that keeps every stream busy and measures. Started by :mod:`.throughput`."""

import itertools
import json
import os
import time
from pathlib import Path

import cocotb
import numpy as np

from cimforge_verif.sim.bfm import Bench, Stream, StreamDriver, StreamMonitor, StreamSink, ints_of
from cimforge_verif.sim.throughput import JOB_VARIABLE


@cocotb.test()
async def throughput(dut):
    """Offer the same beats over and over, take every result, count cycles per second."""
    job = json.loads(os.environ[JOB_VARIABLE])
    with np.load(job["beats"], allow_pickle=False) as arrays:
        beats = {name: list(ints_of(arrays[name])) for name in job["inputs"]}
    inputs = {name: Stream(dut, name) for name in job["inputs"]}
    outputs = {name: Stream(dut, name) for name in job["outputs"]}
    drivers = {name: StreamDriver(stream) for name, stream in inputs.items()}
    monitors = {name: StreamMonitor(stream) for name, stream in outputs.items()}
    bench = Bench(dut, [*inputs.values(), *outputs.values()],
                  [*drivers.values(), *monitors.values(), *map(StreamSink, outputs.values())])
    for port, value in job["constants"].items():
        getattr(dut, port).value = value
    await bench.reset()
    for name, driver in drivers.items():
        driver.send(itertools.cycle(beats[name]))
    await bench.idle(job["warm_up"])
    before = {name: driver.sent for name, driver in drivers.items()}
    before |= {name: monitor.transfers for name, monitor in monitors.items()}
    begin = time.perf_counter()
    await bench.idle(job["cycles"])
    seconds = time.perf_counter() - begin
    after = {name: driver.sent for name, driver in drivers.items()}
    after |= {name: monitor.transfers for name, monitor in monitors.items()}
    Path(job["output"]).write_text(json.dumps({
        "cycles": job["cycles"], "seconds": seconds,
        "transfers": {name: after[name] - before[name] for name in after},
    }), encoding="utf-8")
