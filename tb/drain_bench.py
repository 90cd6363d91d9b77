"""cocotb bench of ``drain``; started by ``test_blocks.py``."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from cimforge_verif.golden import requantize
from cimforge_verif.random_tile import random_signed
from tb.bfm import (
    Bench,
    FieldStream,
    Scoreboard,
    Stream,
    StreamDriver,
    StreamMonitor,
    StreamSink,
    block_config,
    join,
    low_bits,
    signed,
    stall_pattern,
)

CONFIG = block_config()
LANES, PORT, BITS = CONFIG.sub_macros * CONFIG.cols, CONFIG.out_port, CONFIG.acc_bits


class DrainBench:
    """The model is fed by the monitor of ``totals``."""

    def __init__(self, dut, stall: float):
        self.dut, self.rng = dut, np.random.default_rng(cocotb.RANDOM_SEED)
        totals = FieldStream(dut, "totals", ("lane", "group_log2", "requantize", "end"))
        results = Stream(dut, "results")
        self.scoreboard = Scoreboard("beat")
        seed = cocotb.RANDOM_SEED
        self.driver = StreamDriver(totals, stall_pattern(stall, seed, "totals"))
        self.outputs = StreamMonitor(results, lambda beat: self.scoreboard.observe(beat))
        self.bench = Bench(dut, [totals, results], [
            self.driver, self.outputs, StreamMonitor(totals, self.observe),
            StreamSink(results, stall_pattern(stall, seed, "results"))])
        self.scale = np.zeros((3, LANES), dtype=np.int64)

    def observe(self, beat) -> None:
        sums = np.array([signed(beat["lane"] >> BITS * i & (1 << BITS) - 1, BITS)
                         for i in range(LANES)])
        if beat["requantize"]:
            sums = requantize(sums, *self.scale, CONFIG.act_bits)
        count = (LANES >> beat["group_log2"]) // PORT
        for i in range(count):
            lanes = join(sums[i * PORT:(i + 1) * PORT].tolist(), BITS)
            last = beat["end"] and i == count - 1
            self.scoreboard.expect(lanes | int(last) << PORT * BITS)

    def vector(self, group_log2=None, **fields) -> dict[str, int]:
        rng = self.rng
        group_log2 = rng.integers(len(CONFIG.groups)) if group_log2 is None else group_log2
        bits = int(rng.integers(CONFIG.act_bits, BITS))  # so that not all results saturate
        return {"lane": join(random_signed(rng, LANES, bits).tolist(), BITS),
                "group_log2": int(group_log2), "requantize": int(rng.integers(2)),
                "end": int(rng.integers(2)), **fields}

    async def start(self) -> None:
        """Reset, then write every column's parameters."""
        self.dut.write.value = 0
        await self.bench.reset()
        for output in range(LANES):
            bias, multiplier = int(self.rng.integers(-99, 99)), int(self.rng.integers(1 << 16))
            shift = int(self.rng.integers(10, 24))
            self.scale[:, output] = bias, multiplier, shift
            self.dut.write.value = (1 | output << 1 | low_bits(bias, 32) << 17 | multiplier << 49
                                    | shift << 65)
            await RisingEdge(self.dut.clk)
        self.dut.write.value = 0

    async def run(self, vectors: list[dict[str, int]], limit: int) -> int:
        """Send vectors and return the cycles until the last beat was taken."""
        self.driver.send(vectors)
        begin = self.bench.cycle
        await self.bench.run(lambda: self.driver.done and not self.scoreboard._expected, limit)
        cycles = self.bench.cycle - begin
        await self.bench.idle(20)
        self.scoreboard.close()
        assert int(self.dut.idle.value)
        return cycles


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.4])
async def random_vectors(dut, stall):
    """Every G, raw and requantized, in any order."""
    bench = DrainBench(dut, stall)
    await bench.start()
    await bench.run([bench.vector() for _ in range(150)], 20000)


@cocotb.test()
async def throughput(dut):
    """A beat in every cycle: the next vector is taken when the last beat enters the pipeline."""
    bench = DrainBench(dut, 0.0)
    await bench.start()
    for group_log2 in range(len(CONFIG.groups)):
        beats = (LANES >> group_log2) // PORT
        cycles = await bench.run([bench.vector(group_log2) for _ in range(30)], 5000)
        # one cycle to offer the first vector, one to hold it, then the requantizers
        assert cycles == 30 * beats + 2 + CONFIG.drain_latency, (group_log2, cycles)


@cocotb.test()
async def reset_in_flight(dut):
    """Beats that were not taken are gone; parameters and later vectors are not."""
    bench = DrainBench(dut, 0.8)
    await bench.start()
    bench.driver.send([bench.vector() for _ in range(9)])
    await bench.bench.idle(15)
    await bench.bench.reset()
    bench.scoreboard = Scoreboard("beat")
    await bench.bench.idle(20)
    await bench.run([bench.vector() for _ in range(20)], 5000)
