"""The accumulator against golden: rows, first and last, readiness, wrap-around."""

import numpy as np
import pytest
from hw_support import BASE, SMALLEST, drive, ids, peek, random_signed_lanes, simulate

from cimforge_hw.dcim.accumulator import Accumulator
from cimforge_verif import golden
from cimforge_verif.compare import assert_equal

CONFIGS = [SMALLEST, BASE, BASE.replace(acc_bits=20, max_k=8), BASE.replace(acc_bits=48),
           BASE.replace(acc_depth=2)]


class Bench:
    """Presents merged sums; keeps a model of the rows."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut, self.config = ctx, dut, dut.config
        self.lanes = self.config.sub_macros * self.config.cols
        self.rows = np.zeros((self.config.acc_depth, self.lanes), dtype=np.int64)

    def present(self, sums, *, acc=0, first=0, last=0, ready=1, valid=1, **rest):
        tag, port = self.dut.merged.tag, self.dut.merged
        drive(self.ctx, port.lane, sums)
        drive(self.ctx, [tag.acc, tag.first, tag.last, tag.requantize, tag.end, port.group_log2,
                         port.valid, self.dut.totals.ready],
              [acc, first, last, rest.get("requantize", 0), rest.get("end", 0),
               rest.get("group_log2", 0), valid, ready])

    def totals(self):
        layout = self.dut.totals.lane
        return np.array([self.ctx.get(layout[i]) for i in range(self.lanes)])

    async def add(self, sums, *, acc, first, last):
        """Pass one vector that is not held up; compare what leaves, or keep what is stored."""
        self.present(sums, acc=acc, first=first, last=last)
        assert peek(self.ctx, self.dut.merged.ready)
        assert peek(self.ctx, self.dut.totals.valid) == last
        total = golden.accumulator(self.config, self.rows[acc], sums, bool(first))
        if last:
            assert_equal("totals", self.totals(), total, ("lane",))
        else:
            self.rows[acc] = total
        await self.ctx.tick()


def run(config, bench):
    dut = Accumulator(config)

    async def testbench(ctx):
        await bench(Bench(ctx, dut), np.random.default_rng(9))

    simulate(dut, testbench)


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_matches_golden(config):
    async def bench(b, rng):
        for acc in range(config.acc_depth):
            await b.add(np.full(b.lanes, acc), acc=acc, first=1, last=0)
        for sums in random_signed_lanes(rng, (b.lanes,), config.macro_bits, 60):
            await b.add(sums, acc=rng.integers(config.acc_depth), first=rng.random() < 0.2,
                        last=rng.random() < 0.4)

    run(config, bench)


def test_a_sum_is_stored_in_the_cycle_it_arrives():
    async def bench(b, rng):
        one = np.arange(b.lanes) + 1
        await b.add(one, acc=3, first=1, last=0)
        await b.add(one, acc=3, first=0, last=0)
        await b.add(one, acc=3, first=0, last=1)  # 3 * one, and the row keeps 2 * one
        await b.add(one, acc=3, first=0, last=1)

    run(BASE, bench)


def test_sums_wrap_at_acc_bits():
    config = BASE.replace(acc_bits=18, max_k=7)

    async def bench(b, rng):
        for sign in (1, -1):
            top = np.full(b.lanes, sign * ((1 << config.macro_bits - 1) - 1))
            for i in range(9):
                await b.add(top, acc=0, first=i == 0, last=0)
            await b.add(top, acc=0, first=0, last=1)

    run(config, bench)


@pytest.mark.parametrize("ready", [0, 1])
def test_only_last_sums_wait_for_totals(ready):
    async def bench(b, rng):
        sums = np.arange(b.lanes)
        b.present(sums, last=0, first=1, ready=ready)
        assert peek(b.ctx, b.dut.merged.ready)
        assert not peek(b.ctx, b.dut.totals.valid)
        b.present(sums, last=1, first=1, ready=ready)
        assert peek(b.ctx, b.dut.merged.ready) == ready
        assert peek(b.ctx, b.dut.totals.valid)
        b.present(sums, last=1, valid=0, ready=ready)
        assert not peek(b.ctx, b.dut.totals.valid)

    run(BASE, bench)


def test_nothing_is_stored_without_valid_or_of_a_last_sum():
    async def bench(b, rng):
        one = np.ones(b.lanes, dtype=np.int64)
        await b.add(one, acc=1, first=1, last=0)
        for valid, last in ((0, 0), (1, 1), (0, 1)):
            b.present(7 * one, acc=1, first=1, last=last, valid=valid)
            await b.ctx.tick()
        await b.add(one, acc=1, first=0, last=1)

    run(BASE, bench)


def test_the_tag_travels_with_the_totals():
    async def bench(b, rng):
        for bits in range(16):
            wanted = dict(requantize=bits & 1, end=bits >> 1 & 1, group_log2=bits >> 2)
            b.present(np.zeros(b.lanes), last=1, **wanted)
            got = {name: peek(b.ctx, getattr(b.dut.totals, name)) for name in wanted}
            assert got == wanted

    run(BASE, bench)
