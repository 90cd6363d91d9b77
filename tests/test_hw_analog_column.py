"""Cells and column sums of an array: the column, the crossbar, sample and hold."""

import numpy as np
import pytest
from hw_analog_bench import OTHER, SMALLEST, TINY, analog_ids
from hw_support import drive, peek, simulate, words

from cimforge_hw.analog.column import Column
from cimforge_hw.analog.crossbar import Crossbar
from cimforge_hw.analog.sample_hold import SampleHold

WIDE = TINY.replace(array=128, grain=16, port=4)  # word lines that take two ports
CONFIGS = [TINY, SMALLEST, TINY.replace(cell_bits=2), TINY.replace(cell_bits=4), WIDE]


def plane_sums(config, cells, line):
    """Return S of every plane and column: cells and line with rows first."""
    shifts = config.cell_bits * np.arange(config.planes)
    planes = cells[..., None] >> shifts & (1 << config.cell_bits) - 1
    return (planes * line.reshape(-1, *[1] * (planes.ndim - 1))).sum(0)


def spread(line):
    """Return word lines as columns have them: eight times each, eight rows in a word."""
    return words(np.repeat(line, 8).reshape(-1, 64), 1)


def driven_rows(rng, config):
    """Yield all rows, none, each end, and random ones."""
    for ends in ([0], [config.array - 1], [], range(config.array)):
        line = np.zeros(config.array, dtype=int)
        line[list(ends)] = 1
        yield line
    for _ in range(4):
        yield rng.integers(0, 2, config.array)


@pytest.mark.parametrize("config", CONFIGS, ids=analog_ids)
def test_a_column_sums_its_driven_cells(config):
    dut, rng = Column(config), np.random.default_rng(1)
    cells = rng.integers(0, 256, config.array)
    cells[:3] = 255, 0, 128

    async def bench(ctx):
        drive(ctx, dut.line, spread(np.ones(config.array, dtype=int)))
        assert ctx.get(dut.sums) == 0  # nothing is programmed after reset
        for row, cell in [(5, 255), (0, 85), *enumerate(cells)]:  # some rows twice
            one = spread(np.arange(8) == row % 8)
            drive(ctx, [dut.word, dut.rows, dut.cell, dut.write], [row // 8, *one, cell, 1])
            await ctx.tick()
        drive(ctx, [dut.write, dut.cell], [0, 77])
        for line in driven_rows(rng, config):
            drive(ctx, dut.line, spread(line))
            assert ctx.get(dut.sums) == words(plane_sums(config, cells, line), config.sum_bits)
            await ctx.tick()
        drive(ctx, dut.erase, 1)
        await ctx.tick()
        assert ctx.get(dut.sums) == 0

    simulate(dut, bench)


@pytest.mark.parametrize("config", [TINY, OTHER.replace(array=8, grain=4)], ids=analog_ids)
def test_a_crossbar_is_programmed_a_chunk_of_a_row_at_a_time(config):
    dut, rng = Crossbar(config), np.random.default_rng(2)
    m, port, program = config.array, config.port, dut.program
    cells = np.zeros((m, m), dtype=int)

    async def bench(ctx):
        async def compare():
            for line in driven_rows(rng, config):
                drive(ctx, dut.line, spread(line))
                wanted = plane_sums(config, cells, line)
                assert peek(ctx, dut.sums).tolist() == words(wanted, config.sum_bits)

        for row, chunk in rng.permutation([(r, c) for r in range(m) for c in range(m // port)]):
            values = rng.integers(0, 256, port)
            cells[row, chunk * port:(chunk + 1) * port] = values
            drive(ctx, [program.en, program.line, program.chunk], [1, row, chunk])
            drive(ctx, program.cells, values)
            await ctx.tick()
        drive(ctx, program.en, 0)
        await ctx.tick()
        await compare()
        drive(ctx, program.erase, 1)
        await ctx.tick()
        cells[:] = 0
        await compare()

    simulate(dut, bench)


@pytest.mark.parametrize("config", [TINY, SMALLEST], ids=analog_ids)
def test_sums_are_held_until_the_next_sample(config):
    dut, rng = SampleHold(config), np.random.default_rng(3)

    async def bench(ctx):
        held = None
        for sample in (1, 0, 0, 1, 1, 0):
            sums = rng.integers(0, 1 << 8, config.array)
            drive(ctx, dut.sums, sums)
            drive(ctx, dut.sample, sample)
            held = sums if sample else held
            await ctx.tick()
            assert (peek(ctx, dut.held) == held).all()

    simulate(dut, bench)
