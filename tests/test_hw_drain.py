"""The drain: beats in order, one vector held, results raw or requantized."""

import numpy as np
import pytest
from hw_support import BASE, SMALLEST, drive, ids, peek, signed_range, simulate, stall_pattern

from cimforge_hw.dcim.drain import Drain
from cimforge_verif import golden
from cimforge_verif.compare import assert_equal

CONFIGS = [
    SMALLEST, BASE, BASE.replace(out_port=1), BASE.replace(cols=3),
    BASE.replace(cols=3, out_port=1), BASE.replace(cols=4, out_port=2, sub_macros=4),
    BASE.replace(acc_bits=48), BASE.replace(cols=6, out_port=3),
]


class Bench:
    """Offers totals, takes beats, remembers in which cycle."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut, self.config = ctx, dut, dut.config
        self.lanes = self.config.sub_macros * self.config.cols
        self.scale = np.zeros((3, self.lanes), dtype=np.int64)
        self.cycle, self.taken, self.beats, self.held = 0, [], [], None

    async def set_scale(self, output, bias, multiplier, shift):
        write = self.dut.write
        self.scale[:, output] = bias, multiplier, shift
        drive(self.ctx, [write.output, write.parameters.bias, write.parameters.multiplier,
                         write.parameters.shift, write.en],
              [output, bias, multiplier, shift, 1])
        await self.ctx.tick()
        drive(self.ctx, write.en, 0)

    def offer(self, vector):
        totals = self.dut.totals
        drive(self.ctx, totals.valid, vector is not None)
        if vector is not None:
            sums, log2, requantize, end = vector
            for lane, value in enumerate(sums):
                self.ctx.set(totals.lane[lane], int(value))
            drive(self.ctx, [totals.group_log2, totals.requantize, totals.end],
                  [log2, requantize, end])

    async def tick(self, vector, ready=1):
        """Spend one cycle; return whether the vector was taken."""
        ctx, dut = self.ctx, self.dut
        self.offer(vector)
        drive(ctx, dut.results.ready, ready)
        taken = vector is not None and bool(peek(ctx, dut.totals.ready))
        payload = dut.results.payload
        if peek(ctx, dut.results.valid):
            now = ([ctx.get(payload.lane[i]) for i in range(self.config.out_port)],
                   peek(ctx, payload.last))
            assert self.held in (None, now), "the beat changed before it was taken"
            self.held = None if ready else now
            if ready:
                self.beats.append((self.cycle, *now))
        else:
            assert self.held is None, "the beat disappeared before it was taken"
        if taken:
            self.taken.append(self.cycle)
        await ctx.tick()
        self.cycle += 1
        return taken

    async def run(self, vectors, gaps=None, waits=None):
        wait = (lambda: not next(waits)) if waits else (lambda: True)
        for vector in vectors:
            while gaps and next(gaps):
                await self.tick(None, wait())
            while not await self.tick(vector, wait()):
                assert self.cycle < 2000, "the drain does not take the vector"
        while not peek(self.ctx, self.dut.idle):
            await self.tick(None, wait())
            assert self.cycle < 2000, "the drain does not become idle"

    def check(self, vectors):
        """Compare every beat with golden."""
        wanted, lasts = [], []
        for sums, log2, requantize, end in vectors:
            if requantize:
                sums = golden.requantize(sums, *self.scale, self.config.act_bits)
            beats = sums[:self.lanes >> log2].reshape(-1, self.config.out_port)
            wanted += beats.tolist()
            lasts += [0] * (len(beats) - 1) + [end]
        assert_equal("beats", np.array([lanes for _, lanes, _ in self.beats]), np.array(wanted),
                     ("beat", "lane"))
        assert [last for _, _, last in self.beats] == lasts


def run(config, bench):
    dut = Drain(config)

    async def testbench(ctx):
        await bench(Bench(ctx, dut), np.random.default_rng(11))

    simulate(dut, testbench)


def random_vectors(config, rng, count):
    low, high = signed_range(config.acc_bits)
    return [(rng.integers(low, high, config.sub_macros * config.cols, endpoint=True)
             >> rng.integers(config.acc_bits), int(rng.integers(len(config.groups))),
             int(rng.integers(2)), int(rng.integers(2))) for _ in range(count)]


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
@pytest.mark.parametrize("stall", [0, 0.5])
def test_matches_golden(config, stall):
    async def bench(b, rng):
        for output in rng.permutation(b.lanes):  # all different
            await b.set_scale(output, output - 3, 40000 + output, 15 + output)
        vectors = random_vectors(config, rng, 12)
        await b.run(vectors, stall_pattern(stall, 2, "totals"), stall_pattern(stall, 2, "results"))
        b.check(vectors)

    run(config, bench)


@pytest.mark.parametrize("config", [SMALLEST, BASE, BASE.replace(out_port=1)], ids=ids)
@pytest.mark.parametrize("log2", [0, 1])
def test_a_beat_per_cycle_from_the_fourth_after_the_take(config, log2):
    log2 = min(log2, len(config.groups) - 1)

    async def bench(b, rng):
        vectors = [(rng.integers(-8, 8, b.lanes), log2, 0, 1) for _ in range(3)]
        beats = (b.lanes >> log2) // config.out_port
        assert peek(b.ctx, b.dut.idle)
        assert not peek(b.ctx, b.dut.results.valid)
        await b.run(vectors)
        b.check(vectors)
        assert b.taken == [beats * i for i in range(3)]  # with the last beat of the one before
        assert [cycle for cycle, _, _ in b.beats] == list(range(4, 3 * beats + 4))

    run(config, bench)


def test_nothing_is_taken_until_the_last_beat_enters_the_pipeline():
    async def bench(b, rng):
        vectors = [(np.arange(b.lanes) + 8 * i, 1, 0, 0) for i in range(4)]  # of two beats each
        waiting = iter(vectors)
        vector = next(waiting)
        for ready in (0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 0):
            if await b.tick(vector, ready):
                vector = next(waiting, None)
        # Three beats fill the pipeline; then one enters for every beat that leaves.
        assert b.taken == [0, 2, 7, 11]
        await b.run([])
        b.check(vectors)

    run(BASE.replace(out_port=1), bench)


def test_a_parameter_stays_until_it_is_set_again():
    async def bench(b, rng):
        vectors = [(rng.integers(-999, 999, b.lanes), 0, 1, 0) for _ in range(2)]
        for output in range(b.lanes):
            await b.set_scale(output, output, 3, 4)
        await b.run(vectors[:1])
        b.check(vectors[:1])
        b.beats.clear()
        await b.set_scale(1, 99, 1, 0)
        await b.run(vectors[1:])
        b.check(vectors[1:])

    run(BASE, bench)
