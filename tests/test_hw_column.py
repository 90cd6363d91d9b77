"""A column unit against golden, and every sentence of its contract."""

import numpy as np
import pytest
from hw_support import (
    BASE,
    PAIR,
    SMALLEST,
    drive,
    ids,
    peek,
    random_signed_lanes,
    settle,
    simulate,
    words,
)

from cimforge_hw.dcim.carry_save_column import CarrySaveColumn
from cimforge_hw.dcim.column import Column
from cimforge_verif import golden
from cimforge_verif.compare import assert_equal

CONFIGS = [
    SMALLEST, BASE, PAIR,
    BASE.replace(act_slice=1), BASE.replace(act_slice=2), BASE.replace(act_slice=4),
    BASE.replace(index_share=2), BASE.replace(index_share=4, cols=4, act_slice=4),
    BASE.replace(weight_bits=4), BASE.replace(act_bits=4, act_slice=4),
    BASE.replace(act_bits=4, act_slice=2), BASE.replace(rows=4, weight_banks=1),
    BASE.replace(rows=1), BASE.replace(max_m=1, act_slice=2), BASE.replace(max_m=16),
    BASE.replace(adder_stages=1), BASE.replace(adder_stages=1, act_slice=2),
    BASE.replace(adder_stages=1, act_slice=1, index_share=2),
    BASE.replace(index_coding="one_hot"), BASE.replace(index_coding="one_hot", index_share=2),
    PAIR.replace(index_coding="one_hot", act_slice=1),
]
KINDS = [Column, CarrySaveColumn]


class Bench:
    """Writes weights into a column and passes vectors through it."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut, self.config = ctx, dut, dut.config

    def put(self, bank, row, weight, index, en=1):
        """Put one row on the write port, for the next cycle."""
        write, bits = self.dut.write, self.config.weight_bits
        unit = words(weight, bits) | int(index) << bits * self.config.index_share
        drive(self.ctx, [write.en, write.bank, write.row, write.data[0]], [en, bank, row, unit])

    async def load(self, bank, weight, index):
        for row in range(self.config.rows):
            self.put(bank, row, weight[row], index[row])
            await self.ctx.tick()
        self.ctx.set(self.dut.write.en, 0)

    def slice(self, lines, i, bank=0, active=None):
        """Put slice i of a vector on the lines."""
        cfg, dut = self.config, self.dut
        if cfg.adder_stages == 2:
            self.ctx.set(dut.advance, 1)
        active = (1 << cfg.index_share) - 1 if active is None else active
        drive(self.ctx, dut.line, words(lines >> i * cfg.act_slice, cfg.act_slice))
        drive(self.ctx, [dut.enable, dut.first, dut.last, dut.bank, dut.active],
              [1, i == 0, i == cfg.slices - 1, bank, active])

    async def vector(self, lines, bank=0, active=None):
        """Pass one vector; return the sums in the cycle after its last slice."""
        for i in range(self.config.slices):
            self.slice(lines, i, bank, active)
            await self.ctx.tick()
        return await self.sums()

    async def sums(self):
        """Return the sums of the slices so far; nothing more is enabled."""
        self.ctx.set(self.dut.enable, 0)
        await settle(self.ctx, self.dut)
        return peek(self.ctx, self.dut.sum)


def operands(config, rng):
    """Return random weights, indices and lines."""
    weight = rng.integers(-1 << config.weight_bits - 1, 1 << config.weight_bits - 1,
                          (config.rows, config.index_share))
    index = rng.integers(0, config.lines, config.rows)
    lines = rng.integers(-1 << config.act_bits - 1, 1 << config.act_bits - 1,
                         (config.rows, config.lines))
    return weight, index, lines


def run(config, bench, kind=Column):
    dut = kind(config)

    async def testbench(ctx):
        await bench(Bench(ctx, dut), np.random.default_rng(1))

    simulate(dut, testbench)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_matches_golden(config, kind):
    async def bench(b, rng):
        acts = list(random_signed_lanes(rng, (config.rows, config.lines), config.act_bits, 6))
        shape = (config.rows, config.index_share)
        for n, weight in enumerate(random_signed_lanes(rng, shape, config.weight_bits, 4)):
            bank, index = n % config.weight_banks, operands(config, rng)[1]
            await b.load(bank, weight, index)
            for lines in acts:
                assert_equal("sum", await b.vector(lines, bank),
                             golden.column(config, weight, index, lines), ("column",))

    run(config, bench, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_every_index_picks_its_line(config, kind):
    async def bench(b, rng):
        weight, _, _ = operands(config, rng)
        lines = rng.integers(-8, 8, (config.rows, config.lines))
        for pick in range(config.lines):
            index = (pick + np.arange(config.rows)) % config.lines
            await b.load(0, weight, index)
            assert_equal("sum", await b.vector(lines),
                         golden.column(config, weight, index, lines))

    run(config, bench, kind)


@pytest.mark.parametrize("config", [BASE, BASE.replace(act_slice=2)], ids=ids)
def test_sum_holds_until_the_next_enabled_slice(config):
    async def bench(b, rng):
        weight, index, lines = operands(config, rng)
        await b.load(0, weight, index)
        expected = await b.vector(lines)
        for i in (0, config.slices - 1):
            b.slice(~lines, i, bank=1, active=0)
            b.ctx.set(b.dut.enable, 0)
            b.put(0, i % config.rows, ~weight[0], 0)
            await b.ctx.tick()
            assert_equal("held sum", peek(b.ctx, b.dut.sum), expected)
        assert_equal("sum of the weights written meanwhile",
                     await b.vector(np.zeros_like(lines)), np.zeros_like(expected))

    run(config, bench)


@pytest.mark.parametrize("act_slice", [1, 2, 4])
def test_a_pause_between_slices_changes_nothing(act_slice):
    config = BASE.replace(act_slice=act_slice)

    async def bench(b, rng):
        weight, index, lines = operands(config, rng)
        await b.load(0, weight, index)
        for i in range(config.slices):
            b.slice(lines, i)
            await b.ctx.tick()
            b.slice(~lines, 0)
            b.ctx.set(b.dut.enable, 0)
            await b.ctx.tick()
        assert_equal("sum", peek(b.ctx, b.dut.sum), golden.column(config, weight, index, lines))

    run(config, bench)


@pytest.mark.parametrize("act_slice", [8, 2])
def test_only_active_columns_sum(act_slice):
    config = BASE.replace(index_share=2, act_slice=act_slice)

    async def bench(b, rng):
        weight, index, lines = operands(config, rng)
        await b.load(0, weight, index)
        full = golden.column(config, weight, index, lines)
        for active in (0b00, 0b01, 0b10, 0b11):
            mask = [active & 1, active >> 1]
            assert_equal(f"active {active:02b}", await b.vector(lines, active=active), full * mask)

    run(config, bench)


@pytest.mark.parametrize("act_slice", [8, 2])
def test_a_write_never_disturbs_the_bank_that_is_read(act_slice):
    config = BASE.replace(act_slice=act_slice)

    async def bench(b, rng):
        old, index, lines = operands(config, rng)
        new = ~old
        await b.load(0, old, index)
        for row in range(config.rows):
            b.put(1, row, new[row], index[row])
            assert_equal("bank 0 while bank 1 is written", await b.vector(lines, 0),
                         golden.column(config, old, index, lines))
        b.put(1, 0, old[0], index[0], en=0)
        assert_equal("bank 1", await b.vector(lines, 1),
                     golden.column(config, new, index, lines))

    run(config, bench)


def test_a_write_needs_one_cycle_and_one_row():
    config = BASE.replace(rows=4)

    async def bench(b, rng):
        weight, index, lines = operands(config, rng)
        await b.load(0, weight, index)
        for row in range(config.rows):
            b.put(0, row, ~weight[row], index[row])
            assert_equal("sum in the cycle of the write", await b.vector(lines),
                         golden.column(config, weight, index, lines))
            weight[row] = ~weight[row]
            b.ctx.set(b.dut.write.en, 0)
            assert_equal("sum in the next cycle", await b.vector(lines),
                         golden.column(config, weight, index, lines))

    run(config, bench)


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_stage_waits_for_advance(kind):
    config = BASE.replace(act_slice=4)

    async def bench(b, rng):
        weight, index, lines = operands(config, rng)
        await b.load(0, weight, index)
        before = await b.vector(np.zeros_like(lines))
        for i in range(config.slices):
            b.slice(lines, i)
            await b.ctx.tick()
            b.slice(~lines, 0)  # on the lines, and not taken
            drive(b.ctx, [b.dut.enable, b.dut.advance], [0, 0])
            for _ in range(2):
                held = peek(b.ctx, b.dut.sum)
                await b.ctx.tick()
                assert_equal("sum", peek(b.ctx, b.dut.sum), before if i == 0 else held)
        assert_equal("sum", await b.sums(), golden.column(config, weight, index, lines))

    run(config, bench, kind)
