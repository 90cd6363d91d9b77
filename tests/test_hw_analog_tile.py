"""Whole programs on the analog tile: results, flags, counters, exactly the predicted cycles."""

import gc
import warnings

import numpy as np
import pytest
from amaranth.hdl import UnusedElaboratable
from hw_analog_bench import OTHER, SMALLEST, TINY, analog_ids, run_analog, run_and_check
from hw_support import drive, peek, simulate

from cimforge.spec.analog.commands import (
    AnalogError,
    Drive,
    End,
    Input,
    Output,
    Program,
    ReadSaturation,
    SetRequantize,
    encode,
)
from cimforge.spec.config import DcimConfig
from cimforge_hw.analog.counters import COUNTERS, Counters
from cimforge_hw.analog.tile import AnalogTile
from cimforge_verif.analog.random_program import random_program
from cimforge_verif.analog.vectors import AnalogVectors

ONE = TINY.replace(arrays=1)  # half the hardware to simulate
INPUTS = ("commands", "weights", "acts")
EVERY_STREAM = dict.fromkeys((*INPUTS, "results"), 0.3)
#: Every parameter with a value that TINY has not, two of them or three at a time.
CONFIGS = [
    TINY, SMALLEST, OTHER.replace(array=8, grain=4, arrays=1),
    TINY.replace(arrays=1, cell_bits=4, adcs=8, adc_bits=5, port=2, grain=4),
    TINY.replace(cell_bits=8, adcs=2, t_conv=1, t_settle=3, dither=7),
    TINY.replace(adcs=1, adc_bits=1, grain=8, port=8, t_conv=2, act_depth=50, acc_depth=33),
]


def program_of(config, commands, rng):
    """Return a program of these commands with random data."""
    weights = sum(config.program_beats for c in commands if isinstance(c, Program))
    acts = sum(c.count for c in commands if isinstance(c, Input))
    return AnalogVectors(config, commands, *(
        rng.integers(-128, 128, (beats, config.port), dtype=np.int8) for beats in (weights, acts)))


def whole_array(config, array=0, tags=None, **settings):
    """Return commands that program an array, drive it whole and send its sums."""
    n, full = config.grains, (1 << config.grains) - 1
    tags = np.ones((n, n), dtype=int) if tags is None else tags
    drive = {"array": array, "row_mask": full, "col_mask": full, "src": 0, "dst": 0,
             "bits": config.adc_bits, "src_jump": config.grain, "dst_jump": config.grain,
             **settings}
    beats = config.array // config.port
    return [*(Program(array=array, row=int(r), col=int(c), tag=int(tags[r, c]))
              for r, c in np.argwhere(tags)),
            Input(dst=0, count=beats), Drive(**drive, depends=1), Output(src=0, count=beats),
            ReadSaturation(array=array)]


@pytest.mark.parametrize("config", CONFIGS, ids=analog_ids)
def test_random_programs_in_exactly_the_predicted_cycles(config):
    async def bench(b, rng):
        await run_and_check(b, random_program(config, rng, 12, pulses=1))
        assert b.counters()["stall"] == 0
        await b.clear()

    run_analog(config, bench, seed=3)


@pytest.mark.parametrize("stalls", [EVERY_STREAM, {"results": 0.8}, dict.fromkeys(INPUTS, 0.6)],
                         ids=["all", "sink", "sources"])
def test_random_programs_with_stalls(stalls):
    async def bench(b, rng):
        await run_and_check(b, program_of(TINY, [*whole_array(TINY), End()], rng))
        assert b.counters()["stall"] > 0
        await b.clear()
        await run_and_check(b, random_program(TINY, rng, 10, pulses=1))

    run_analog(TINY, bench, stalls=stalls, seed=4)


@pytest.mark.parametrize("config", [ONE, ONE.replace(cell_bits=2, adcs=8, port=2)],
                         ids=analog_ids)
def test_extremes_without_loss(config):
    async def bench(b, rng):
        for weight, act in ((-128, -128), (127, -128), (-1, 127)):
            program = program_of(config, [*whole_array(config), End()], rng)
            program.weights[:], program.acts[:] = weight, act
            outcome = await run_and_check(b, program)
            beats = config.array // config.port
            assert set(np.ravel(outcome.beats[:beats])) == {config.array * weight * act}
            assert not np.any(outcome.beats[beats:])
            await b.clear()

    run_analog(config, bench)


def test_saturation_is_flagged_counted_and_read():
    """Counts of single columns are right between drives, and gone after ``clear``."""
    async def bench(b, rng):
        for settings, lost in ((dict(bits=2, shift=2, round=True), False), (dict(offset=2), True),
                               (dict(row_group=2, bits=1), True)):
            commands = whole_array(ONE, **settings)
            again = commands[-3:-1]
            program = program_of(ONE, [*commands, *again, ReadSaturation(array=0), End()], rng)
            program.acts[:], program.weights[:2] = rng.integers(1, 128, program.acts.shape), 127
            outcome = await run_and_check(b, program)
            once, twice = np.array(outcome.beats)[8:16], np.array(outcome.beats)[24:]
            assert b.counters()["saturations"] == twice.sum()
            assert (twice == 2 * once).all()
            assert once.any() == lost == peek(b.ctx, b.dut.saturated)
            await b.clear()
            assert peek(b.ctx, b.dut.saturated) == 0
        outcome = await run_and_check(b, program_of(ONE, [ReadSaturation(array=0), End()], rng))
        assert not np.any(outcome.beats)

    run_analog(ONE, bench)


def test_a_drive_that_mixes_blocks_is_flagged_with_its_position():
    """A dense mapping: diagonals of blocks with tags of their own, driven one, then all."""
    n = TINY.grains
    tags = 1 + (np.arange(n)[None] - np.arange(n)[:, None]) % n

    async def bench(b, rng):
        whole = whole_array(TINY, tags=tags)
        drive = whole[-3]
        commands = whole[:-3]
        for row in range(n):  # one block per column
            commands.append(Drive(array=0, row_mask=1 << row, col_mask=15, src=0, dst=0, bits=4,
                                  dst_jump=2, depends=row + 1))
        await run_and_check(b, program_of(TINY, [*commands, End()], rng))
        assert b.illegal() == (0, 0)
        await b.clear()
        await run_and_check(b, program_of(TINY, [*whole[-4:-3], drive, drive, *whole[-2:], End()],
                                          rng))
        assert b.illegal() == (1, 1)
        await b.clear()
        assert b.illegal() == (0, 0)

    run_analog(TINY, bench)


def test_drives_of_one_array_overlap_and_bank_their_sums():
    """Drives in a row load, convert and retire at once; the third waits for a bank."""
    async def bench(b, rng):
        commands = whole_array(TINY)[:-1]
        commands.append(Output(src=0, count=TINY.acc_depth))  # holds up retirement
        for i in range(1, 6):
            commands.append(Drive(array=i // 5, row_mask=15, col_mask=15 >> i % 3, src=0, dst=8 * i,
                                  bits=TINY.adc_bits if i > 3 else 1, src_jump=2, dst_jump=2))
        commands += [Output(src=0, count=TINY.acc_depth), End()]
        await run_and_check(b, program_of(TINY, commands, rng))

    run_analog(TINY, bench)


def test_last_marks_the_last_beat_of_what_asks_for_it():
    async def bench(b, rng):
        commands = whole_array(TINY)
        outcome = await run_and_check(b, program_of(TINY, [
            *commands, Output(src=0, count=2, last=False), ReadSaturation(array=1, last=False),
            Output(src=1, count=1), End()], rng))
        assert np.flatnonzero(outcome.last).tolist() == [7, 15, 26]

    run_analog(TINY, bench)


ILLEGAL = [
    (0, AnalogError.OPCODE),
    (Drive(array=0, row_mask=0, col_mask=1, src=0, dst=0, bits=1), AnalogError.MASK),
    (Output(src=48, count=1), AnalogError.ADDRESS), (Input(dst=0, count=0), AnalogError.COUNT)]


def test_an_error_stops_the_program_but_not_what_was_dispatched():
    """Input that was dispatched still gets its data; all that follows is discarded."""
    async def bench(b, rng):
        for command, error in ILLEGAL:
            before, after = program_of(ONE, whole_array(ONE), rng), encode(whole_array(ONE))
            word = encode([command]) if command else np.zeros((1, 32), dtype=np.uint8)
            program = AnalogVectors(ONE, np.concatenate([before.words, word, after]),
                                    np.tile(before.weights, (2, 1)), np.tile(before.acts, (2, 1)))
            b.send(program)
            b.compare(program, await b.finish())
            assert b.error() == (error, len(before.commands))
            await b.clear()
        await run_and_check(b, program_of(ONE, [*whole_array(ONE), End()], rng))

    run_analog(ONE, bench, stalls={"acts": 0.7})


def test_clear_starts_the_dither_again_and_keeps_the_memories():
    config = TINY.replace(dither=3, adc_bits=2, adcs=8)

    async def bench(b, rng):
        commands = whole_array(config, array=1, shift=1)
        first = await run_and_check(b, program_of(config, [*commands, End()], rng))
        beats = []
        for _ in range(2):
            await b.clear()
            outcome = await run_and_check(b, program_of(config, [
                *commands[-3:-2], Output(src=0, count=8), End()], rng))
            beats.append(outcome.beats)
        assert beats == [first.beats[:8]] * 2

    run_analog(config, bench)


def test_reset_in_flight():
    """Whatever reset interrupts leaves no trace but in the memories, which are written again."""
    async def bench(b, rng):
        for wait in (30, 75, 90, 130):
            b.send(program_of(ONE, [*whole_array(ONE), *whole_array(ONE, bits=1)], rng))
            for _ in range(wait):
                await b.tick()
            assert peek(b.ctx, b.dut.busy)
            await b.restart()
        await run_and_check(b, program_of(ONE, [*whole_array(ONE), End()], rng))

    run_analog(ONE, bench)


def test_set_requantize_reaches_its_slot():
    async def bench(b, rng):
        commands = whole_array(ONE)
        drive, full = commands[-3], 15
        for slot, bias, multiplier, shift in ((0, -1 << 31, 0xFFFF, 47), (1, 99, 700, 13)):
            commands += [SetRequantize(slot=slot, bias=bias, multiplier=multiplier, shift=shift),
                         Drive(array=0, row_mask=full, col_mask=full, src=0, dst=16 * slot + 8,
                               bits=4, src_jump=2, dst_jump=2, requantize=True, slot=slot),
                         # read back: one drive's activations are the next one's
                         Drive(array=0, row_mask=full, col_mask=full, src=16 * slot + 8, dst=0,
                               bits=4, src_jump=2, dst_jump=2, depends=1), Output(src=0, count=8)]
        assert isinstance(drive, Drive)
        await run_and_check(b, program_of(ONE, [*commands, End()], rng))

    run_analog(ONE, bench)


def test_counters_count_events():
    dut, rng = Counters(TINY), np.random.default_rng(16)
    wanted = dict.fromkeys(COUNTERS, 0)

    async def bench(ctx):
        for step in range(40):
            running, stalled, load, retire, saturating = rng.integers(0, 2, 5)
            busy, clear = rng.integers(0, 2, 2), step == 30
            driven, grains, clamped = rng.integers(0, 9, 2), rng.integers(0, 5, 2), rng.integers(9)
            drive(ctx, [dut.running, dut.stalled, dut.load, dut.retire, dut.saturating, dut.clear],
                  [running, stalled, load, retire, saturating, clear])
            drive(ctx, dut.busy, busy[0] + 2 * busy[1])
            drive(ctx, [dut.driven, dut.grains, dut.clamped], [driven, grains, [clamped]])
            await ctx.tick()
            events = (running, busy.sum(), grains.sum() * 2 * 8, driven.sum(), load, retire,
                      clamped * saturating, running & stalled)
            for name, event in zip(COUNTERS, events, strict=True):
                wanted[name] = 0 if clear else wanted[name] + event
                assert peek(ctx, getattr(dut.values, name)) == wanted[name], name
            assert peek(ctx, dut.saturated) == (wanted["saturations"] > 0)

    simulate(dut, bench)


def test_a_digital_configuration_is_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        with pytest.raises(TypeError, match=r"^config must be an AnalogConfig, not DcimConfig"):
            AnalogTile(DcimConfig())
        gc.collect()  # the tile that never was
