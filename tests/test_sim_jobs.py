"""Results as integers, counters with and without stalls, and the results file of cocotb."""

import numpy as np
import pytest

from cimforge_verif.sim.jobs import (
    COUNTERS,
    LayerJob,
    LayerResult,
    counter_errors,
    pack_results,
    unpack_results,
)
from cimforge_verif.sim.run import read_results

XML = """<testsuites><testsuite tests="3">
<testcase classname="tb.x" name="good" time="1.5"/>
<testcase classname="tb.x" name="left_out"><skipped/></testcase>
<testcase classname="tb.x" name="bad" time="0"><failure message="lane 3: 1\nmore"/></testcase>
</testsuite></testsuites>"""


@pytest.mark.parametrize(("out_port", "acc_bits"), [(1, 21), (5, 17), (32, 32), (2, 48)])
@pytest.mark.parametrize("count", [0, 1, 4097])
def test_results_survive_packing(out_port, acc_bits, count):
    low = -(1 << acc_bits - 1)
    results = np.random.default_rng(1).integers(low, -low, (count, out_port))
    if count:
        results[0, 0], results[-1, -1] = low, -low - 1
    words = pack_results(results, acc_bits)
    assert all(0 <= word < 1 << out_port * acc_bits for word in words)
    assert (unpack_results(words, out_port, acc_bits) == results).all()


def test_lane_0_is_in_the_low_bits():
    assert pack_results(np.array([[1, -1]]), 8) == [0xFF01]
    assert pack_results(np.array([[1, -1], [2, 0]]), 8, [1, 0]) == [0x1FF01, 2]


@pytest.mark.parametrize(("counted", "stalled", "errors"), [
    (dict(cycles=100, macs=7, stall=0), False, []),
    (dict(cycles=101, macs=7, stall=9), False, ["counter cycles: expected 100, got 101"]),
    (dict(cycles=109, macs=7, stall=9), True, []),
    (dict(cycles=110, macs=7, stall=9), True, ["counter cycles: expected 100..109, got 110"]),
    (dict(cycles=99, macs=7, stall=9), True, ["counter cycles: expected 100..109, got 99"]),
    (dict(cycles=100, macs=8, stall=0), False, ["counter macs: expected 7, got 8"]),
])
def test_counters(counted, stalled, errors):
    assert counter_errors(counted, {"cycles": 100, "macs": 7}, stalled) == errors


def test_a_job_and_its_results_survive_the_disk(tmp_path):
    job = LayerJob(parameters={"rows": 16}, names=["a"], limits=[9], folder=str(tmp_path),
                   stalls={"acts": 0.5})
    again = LayerJob.load(job.save())
    assert again == job
    assert again.config.rows == 16
    counters = {name: i for i, name in enumerate(COUNTERS)}
    job.save_result(0, LayerResult(name="a", results=np.arange(4).reshape(2, 2), simulated=3,
                                   last=np.array([0, 1], np.uint8), counters=counters,
                                   seconds=0.5))
    result = again.load_result(0)
    assert result.results.tolist() == [[0, 1], [2, 3]]
    assert (result.name, result.counters, result.simulated) == ("a", counters, 3)


def test_results_of_cocotb(tmp_path):
    path = tmp_path / "results.xml"
    path.write_text(XML)
    good, bad = read_results(path)
    assert (good.name, good.seconds, good.message) == ("tb.x.good", 1.5, "")
    assert bad.message.startswith("lane 3: 1")


@pytest.mark.parametrize("text", [None, "", "<testsuites><testsuite>"])
def test_a_results_file_that_is_missing_or_cut_has_no_tests(tmp_path, text):
    path = tmp_path / "results.xml"
    if text is not None:
        path.write_text(text)
    assert read_results(path) == []
