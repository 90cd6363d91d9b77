"""Word lines, tags, address generators, the loader and the programmer of the analog tile."""

import numpy as np
import pytest
from hw_analog_bench import OTHER, SMALLEST, TINY, analog_ids
from hw_support import drive, fields, peek, simulate, words

from cimforge.spec.analog.address import Side, last_address, lines
from cimforge_hw.analog.legality import Legality
from cimforge_hw.analog.loader import Loader
from cimforge_hw.analog.memories import ActivationMemory, SumMemory
from cimforge_hw.analog.programmer import Programmer
from cimforge_hw.analog.walk import Walk
from cimforge_hw.analog.word_line import WordLine

WIDE = TINY.replace(array=128, grain=32, port=8)


def grains_of(config, mask):
    """Return the grains of a mask, ascending."""
    return [g for g in range(config.grains) if mask >> g & 1]


def load_beats(ctx, dut, config, mask, acts):
    """Drive a load, a cycle per item: its announcement, its beats, and nothing more."""
    drive(ctx, dut.load.begin, 1)
    yield
    drive(ctx, dut.load.begin, 0)
    for number, beat in enumerate(acts.reshape(-1, config.port)):
        grain = grains_of(config, mask)[number // config.grain_beats]
        drive(ctx, [dut.load.en, dut.load.grain], [1, grain])
        if hasattr(dut.load, "sum"):
            drive(ctx, dut.load.sum, beat.sum())
        else:
            drive(ctx, dut.load.part, number % config.grain_beats)
            drive(ctx, dut.load.bits, [words(beat >> t & 1, 1) for t in range(8)])
        yield
    drive(ctx, dut.load.en, 0)


@pytest.mark.parametrize("config", [TINY, SMALLEST, OTHER, WIDE], ids=analog_ids)
@pytest.mark.parametrize("group", [1, 2, 4, 1 << 15])
def test_pulses_by_bit_and_row_group(config, group):
    """The next drive is loaded while one pulses, without a trace of it."""
    dut, rng = WordLine(config), np.random.default_rng(10)
    group = max(group, config.array // 16) if group > 1 else max(1, config.array // 16)
    full = (1 << config.grains) - 1

    async def bench(ctx):
        for mask in (full, 1 << config.grains - 1, 5 & full):
            rows = np.flatnonzero([mask >> r // config.grain & 1 for r in range(config.array)])
            acts = rng.integers(-128, 128, len(rows))
            for _ in load_beats(ctx, dut, config, mask, acts):
                await ctx.tick()
            drive(ctx, [dut.start, dut.row_group_log2], [1, group.bit_length() - 1])
            await ctx.tick()
            drive(ctx, dut.start, 0)
            other = load_beats(ctx, dut, config, full, rng.integers(-128, 128, config.array))
            pulses = -(-len(rows) // group)
            for t in range(7, -1, -1):
                for a in range(pulses):
                    line = np.zeros(config.array, dtype=int)
                    here = slice(a * group, (a + 1) * group)
                    line[rows[here]] = acts[here] >> t & 1
                    wanted = words(np.repeat(line, 8).reshape(-1, 64), 1)
                    assert [ctx.get(word) for word in dut.line] == wanted, (t, a)
                    assert peek(ctx, dut.driven) == line.sum()
                    assert peek(ctx, dut.sign) == (t == 7)
                    assert peek(ctx, dut.first) == (a == 0)
                    assert peek(ctx, dut.last) == (t == 0 and a == pulses - 1)
                    drive(ctx, dut.step, 1)
                    next(other, None)
                    await ctx.tick()
                    drive(ctx, [dut.step, dut.load.en], [0, 0])

    simulate(dut, bench)


@pytest.mark.parametrize("config", [TINY, SMALLEST, TINY.replace(grain=8, port=4)], ids=analog_ids)
def test_corrections_and_mixed_tags(config):
    dut, rng, n = Legality(config), np.random.default_rng(11), config.grains
    tags = np.zeros((n, n), dtype=int)
    found = set()

    async def bench(ctx):
        for trial in range(10):
            if trial == 5:
                drive(ctx, dut.program.erase, 1)
                await ctx.tick()
                drive(ctx, dut.program.erase, 0)
                tags[:] = 0
            for _ in range(max(1, n * n // 2)):
                row, col, tag = *rng.integers(0, n, 2), rng.choice([1, 1, 255])
                tags[row, col] = tag
                p = dut.program
                drive(ctx, [p.mark, p.row, p.col, p.tag], [1, row, col, tag])
                await ctx.tick()
            drive(ctx, dut.program.mark, 0)
            rows, cols = rng.integers(1, 1 << n, 2)
            drive(ctx, dut.col_mask, cols)
            acts = rng.integers(-128, 128, len(grains_of(config, rows)) * config.grain)
            mixed = False
            for _ in load_beats(ctx, dut, config, rows, acts):
                mixed |= peek(ctx, dut.mixed) == 1
                await ctx.tick()
            drive(ctx, dut.start, 1)
            await ctx.tick()
            drive(ctx, dut.start, 0)
            met = tags[np.ix_(grains_of(config, rows), grains_of(config, cols))]
            wanted = any(len(set(column[column > 0])) > 1 for column in met.T)
            assert mixed == wanted
            found.add(wanted)
            sums = acts.reshape(-1, config.grain).sum(1)
            correction = ((tags[grains_of(config, rows)] > 0) * sums[:, None]).sum(0)
            assert (peek(ctx, dut.correction) == correction).all()

    simulate(dut, bench)
    assert found == ({False, True} if n > 1 else {False})


def side_of(config, rng):
    """Return a random side whose addresses have 16 bits."""
    while True:
        side = Side(int(rng.integers(1, 1 << config.grains)), *(int(v) for v in rng.integers(
            0, 1 << rng.integers(1, 14), 3)), int(rng.integers(32)),
            1 << int(rng.integers(config.grains.bit_length())))
        if last_address(config, side) < 1 << 16:
            return side


def set_side(ctx, view, side):
    """Drive the fields of a side."""
    fields(ctx, view, mask=side.mask, base=side.base, stride=side.stride, jump=side.jump,
           rotation=side.rotation, block_log2=side.block.bit_length() - 1)


@pytest.mark.parametrize("config", [
    TINY, SMALLEST, OTHER, TINY.replace(grain=8, port=4), TINY.replace(array=512, grain=16,
                                                                       port=16)], ids=analog_ids)
def test_addresses_of_random_sides(config):
    """Beats follow without gaps, also from one side to the next."""
    dut, rng, port = Walk(config), np.random.default_rng(12), config.port

    async def bench(ctx):
        for _ in range(20):
            side = side_of(config, rng)
            set_side(ctx, dut.side, side)
            line, address = (a.reshape(-1, port) for a in lines(config, side))
            for number in range(len(line)):
                assert (peek(ctx, dut.address) == address[number]).all(), side
                assert peek(ctx, dut.chunk) == line[number, 0] // port
                assert peek(ctx, dut.grain) == line[number, 0] // config.grain
                assert peek(ctx, dut.last) == (number == len(line) - 1)
                for step in (0, 1) if rng.random() < 0.1 else (1,):
                    drive(ctx, dut.step, step)
                    await ctx.tick()

    simulate(dut, bench)


@pytest.mark.parametrize("kind", [ActivationMemory, SumMemory])
def test_memories_read_and_write_anywhere(kind):
    config = TINY.replace(port=2, act_depth=9, acc_depth=10)
    dut, rng = kind(config), np.random.default_rng(13)
    depth = 9 if kind is ActivationMemory else 10
    held = np.zeros(depth, dtype=int)

    async def bench(ctx):
        for _ in range(60):
            here, there = (rng.choice(depth, 2, replace=False) for _ in range(2))
            data, write = rng.integers(0, 200, 2), rng.random() < 0.7
            drive(ctx, [dut.write, dut.address, dut.data], [write, here, data])
            drive(ctx, dut.read_address, there)
            assert (peek(ctx, dut.read) == held[there]).all()
            await ctx.tick()
            if write:
                held[here] = data

    simulate(dut, bench)


@pytest.mark.parametrize("config", [TINY, SMALLEST, OTHER], ids=analog_ids)
def test_the_programmer_writes_a_square_row_by_row(config):
    dut, rng = Programmer(config), np.random.default_rng(14)
    g, port = config.grain, config.port

    async def bench(ctx):
        for row, col in ((0, config.grains - 1), (config.grains - 1, 0)):
            drive(ctx, [dut.start, dut.row, dut.col, dut.tag], [1, row, col, 9])
            assert peek(ctx, [dut.weights.ready, dut.program.mark]).tolist() == [0, 1]
            await ctx.tick()
            for number in range(config.program_beats):
                while rng.random() < 0.3:
                    drive(ctx, dut.weights.valid, 0)
                    assert peek(ctx, [dut.program.en, dut.done]).tolist() == [0, 0]
                    await ctx.tick()
                weights = rng.integers(-128, 128, port)
                drive(ctx, [dut.weights.valid, dut.weights.payload], [1, words(weights, 8)])
                r, part = divmod(number, config.grain_beats)
                p = dut.program
                assert peek(ctx, [p.en, p.line, p.chunk]).tolist() == [
                    1, row * g + r, col * config.grain_beats + part]
                assert (peek(ctx, dut.program.cells) == weights + 128).all()
                assert peek(ctx, dut.done) == (number == config.program_beats - 1)
                await ctx.tick()
            drive(ctx, [dut.start, dut.weights.valid], [0, 0])
            await ctx.tick()

    simulate(dut, bench)


@pytest.mark.parametrize(("depends", "number", "retired", "pops"), [
    (0, 5, 0, True), (1, 5, 4, False), (1, 5, 5, True), (3, 5, 2, False), (3, 5, 3, True),
    (65535, 2, 0, True), (2, 1, 254, False), (2, 1, 0, True)])
def test_a_drive_waits_for_what_it_depends_on(depends, number, retired, pops):
    dut = Loader(TINY)

    async def bench(ctx):
        task = dut.task.payload
        drive(ctx, [dut.free, dut.retired, dut.task.valid], [2, retired, 1])
        drive(ctx, [task.array, task.depends, task.number, task.side.mask],
              [1, depends, number, 1])
        await ctx.tick()
        drive(ctx, dut.task.valid, 0)
        assert peek(ctx, dut.begin) == 2 * pops
        drive(ctx, dut.free, 1)
        assert peek(ctx, dut.begin) == 0  # its array has no room

    simulate(dut, bench)


def test_drives_load_without_gaps():
    """A drive is taken while another one waits, and popped with the last beat of the first."""
    dut, beats = Loader(TINY), []

    async def bench(ctx):
        task = dut.task.payload
        drive(ctx, [dut.free, dut.task.valid, task.side.stride], [3, 1, 1])
        for cycle in range(12):
            if cycle < 3:
                drive(ctx, [task.array, task.side.mask, task.position], [cycle % 2, 9, cycle])
            taken = peek(ctx, dut.task.ready)
            beats.append((peek(ctx, dut.begin), peek(ctx, dut.en), peek(ctx, dut.address[0]),
                          peek(ctx, dut.position), peek(ctx, dut.load.last)))
            assert taken == (cycle in (0, 1, 5, 9, 10, 11)), cycle
            if cycle == 2:
                drive(ctx, dut.task.valid, 1)
            await ctx.tick()
            if cycle == 5:
                drive(ctx, dut.task.valid, 0)

    simulate(dut, bench)
    assert [b[:2] for b in beats[1:6]] == [(1, 0), (0, 1), (0, 1), (0, 1), (2, 1)]
    assert [b[2] for b in beats[2:6]] == [0, 1, 0, 1]
    assert [b[3] for b in beats[2:10]] == [0] * 4 + [1] * 4
    assert [b[4] for b in beats[2:10]] == [0, 0, 0, 1] * 2
