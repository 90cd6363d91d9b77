"""cocotb bench of ``accumulator``; started by ``test_blocks.py``."""

import cocotb
import numpy as np

from cimforge_verif.golden import accumulator
from cimforge_verif.random_tile import random_signed
from tb.bfm import (
    Bench,
    FieldStream,
    Scoreboard,
    StreamDriver,
    StreamMonitor,
    StreamSink,
    block_config,
    join,
    signed,
    split,
    stall_pattern,
)

CONFIG = block_config()
LANES = CONFIG.sub_macros * CONFIG.cols
FIELDS = [*(f"lane__{i}" for i in range(LANES)), "group_log2", "tag"]
TAG = (("acc", (CONFIG.acc_depth - 1).bit_length()), ("first", 1), ("last", 1),
       ("requantize", 1), ("end", 1))


class AccumulatorBench:
    """The model is fed by the monitor of ``merged``."""

    def __init__(self, dut, stall: float):
        self.rng = np.random.default_rng(cocotb.RANDOM_SEED)
        merged = FieldStream(dut, "merged", FIELDS)
        totals = FieldStream(dut, "totals", ("lane", "group_log2", "requantize", "end"))
        self.scoreboard = Scoreboard("total")
        seed = cocotb.RANDOM_SEED
        self.driver = StreamDriver(merged, stall_pattern(stall, seed, "merged"))
        self.inputs = StreamMonitor(merged, self.observe)
        self.outputs = StreamMonitor(totals, self.scoreboard.observe)
        # totals answer merged in the same cycle, so the model must see merged first
        self.bench = Bench(dut, [merged, totals], [
            self.driver, self.inputs, self.outputs,
            StreamSink(totals, stall_pattern(stall, seed, "totals"))])
        self.stored = np.zeros((CONFIG.acc_depth, LANES), dtype=np.int64)
        self.rows: set[int] = set()

    def observe(self, beat) -> None:
        tag = split(beat["tag"], TAG)
        sums = np.array([signed(beat[f"lane__{i}"], CONFIG.macro_bits) for i in range(LANES)])
        total = accumulator(CONFIG, self.stored[tag["acc"]], sums, bool(tag["first"]))
        if tag["last"]:
            self.scoreboard.expect({"lane": join(total.tolist(), CONFIG.acc_bits),
                                    "group_log2": beat["group_log2"],
                                    "requantize": tag["requantize"], "end": tag["end"]})
        else:
            self.stored[tag["acc"]] = total

    def beat(self, first=None, last=None, acc=None, sums=None) -> dict[str, int]:
        """Return a random beat; a row is only added to after something was stored there."""
        rng = self.rng
        acc = int(rng.integers(CONFIG.acc_depth)) if acc is None else acc
        first = acc not in self.rows or rng.random() < 0.2 if first is None else first
        last = rng.random() < 0.4 if last is None else last
        if not last:
            self.rows.add(acc)
        sums = random_signed(rng, LANES, CONFIG.macro_bits) if sums is None else sums
        tag, shift = 0, 0
        values = {"acc": acc, "first": first, "last": last, "requantize": rng.integers(2),
                  "end": rng.integers(2)}
        for name, bits in TAG:
            tag |= int(values[name]) << shift
            shift += bits
        return {**{f"lane__{i}": int(v) for i, v in enumerate(sums)}, "tag": tag,
                "group_log2": int(rng.integers(len(CONFIG.groups)))}

    async def run(self, beats: list[dict[str, int]], limit: int) -> None:
        self.driver.send(beats)
        await self.bench.run(lambda: self.driver.done, limit)
        await self.bench.idle(5)
        self.scoreboard.close()


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.5])
async def random_sums(dut, stall):
    """Sums over random rows; without stalls one per cycle."""
    bench = AccumulatorBench(dut, stall)
    await bench.bench.reset()
    count = 300
    beats = [bench.beat() for _ in range(count)]
    await bench.run(beats, count + 2 if not stall else 10 * count)
    assert bench.inputs.transfers == count
    assert bench.scoreboard.matched > 50


@cocotb.test()
async def sums_wrap(dut):
    """Sums of nothing but extremes; past ``acc_bits`` they wrap, as documented."""
    bench = AccumulatorBench(dut, 0.0)
    await bench.bench.reset()
    low = np.full(LANES, -(1 << CONFIG.macro_bits - 1))
    for sums in (low, -low - 1):
        beats = [bench.beat(i == 0, i == 599, 1, sums) for i in range(600)]
        await bench.run(beats, 700)


@cocotb.test()
async def reset_in_flight(dut):
    """Results that wait when reset comes are gone; the next program starts over."""
    bench = AccumulatorBench(dut, 0.7)
    await bench.bench.reset()
    bench.driver.send([bench.beat() for _ in range(50)])
    await bench.bench.idle(40)
    await bench.bench.reset()
    bench.scoreboard, bench.rows = Scoreboard("total"), set()
    bench.outputs._observe = lambda beat: bench.scoreboard.observe(beat)
    await bench.run([bench.beat() for _ in range(50)], 1000)
