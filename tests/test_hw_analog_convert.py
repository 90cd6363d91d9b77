"""From sampled sums to column sums: rounds, converters, shift and add, saturation counts."""

import numpy as np
import pytest
from hw_analog_bench import OTHER, SMALLEST, TINY, analog_ids
from hw_support import drive, fields, peek, simulate, words

from cimforge.spec.analog.timing import rounds
from cimforge_hw.analog.adc import Adc, Converter
from cimforge_hw.analog.rounds import Rounds, families
from cimforge_hw.analog.saturation import Saturation
from cimforge_hw.analog.shift_add import ShiftAdd, ShiftAddLane
from cimforge_verif.analog import transfer
from cimforge_verif.analog.adc import rotate16
from cimforge_verif.analog.drive import conversion_round

DITHER = TINY.replace(dither=1, cell_bits=2)
SPREAD = [TINY.replace(adcs=adcs) for adcs in (1, 2, 4, 8)]


@pytest.mark.parametrize("config", [*SPREAD, SMALLEST, OTHER], ids=analog_ids)
def test_every_converter_takes_its_active_columns_in_ascending_order(config):
    dut, kinds = Rounds(config), families(config)
    masks = [1, 1 << config.grains - 1, (1 << config.grains) - 1, 5 % (1 << config.grains)]

    async def bench(ctx):
        for mask in masks:
            drive(ctx, [dut.begin, dut.mask], [1, mask])
            await ctx.tick()
            drive(ctx, [dut.begin, dut.mask], [0, 0])
            column = np.flatnonzero([mask >> c // config.grain & 1 for c in range(config.array)])
            place = conversion_round(config, column)
            for number in range(rounds(config, mask)):
                converted = set()
                for j in range(config.adcs):
                    family = j * kinds // config.adcs
                    if peek(ctx, dut.active) >> family & 1:
                        c = peek(ctx, dut.slot[family]) * config.adcs + j
                        converted.add(c)
                        assert peek(ctx, dut.grain[family]) * kinds + family == c // config.grain
                assert converted == set(column[place == number].tolist())
                assert peek(ctx, dut.last) == (number == rounds(config, mask) - 1)
                drive(ctx, dut.step, 1)
                await ctx.tick()
                drive(ctx, dut.step, 0)
            assert peek(ctx, dut.active) == 0

    simulate(dut, bench)


def settings_of(config, rng, count):
    """Yield corners of a converter's settings, then random ones."""
    bits = config.adc_bits
    yield from [dict(bits=bits), dict(bits=1), dict(bits=bits, offset=4095),
                dict(bits=bits, shift=15, round=1), dict(bits=1, shift=1, round=1),
                dict(bits=bits, shift=2, round=0)]
    for _ in range(count):
        yield dict(bits=int(rng.integers(1, bits + 1)), shift=int(rng.integers(0, 5)),
                   offset=int(rng.integers(0, 8)), round=int(rng.integers(0, 2)))


@pytest.mark.parametrize("config", [
    TINY, SMALLEST, DITHER, OTHER, TINY.replace(adc_bits=2), TINY.replace(adc_bits=9)],
    ids=analog_ids)
def test_a_converter_does_what_the_formula_says(config):
    dut, rng = Converter(config), np.random.default_rng(4)
    most = config.array * ((1 << config.cell_bits) - 1)

    async def bench(ctx):
        for setting in settings_of(config, rng, 25):
            for sums in (np.full(config.planes, most), np.zeros(config.planes, dtype=int),
                         *rng.integers(0, most + 1, (3, config.planes))):
                noise = int(rng.integers(0, 1 << 16))
                shift, offset = setting.get("shift", 0), setting.get("offset", 0)
                added = 1 << shift >> 1 if setting.get("round") else 0
                if config.dither:
                    drive(ctx, dut.noise, noise)
                    turns = 5 * np.arange(config.planes) % 16
                    added = rotate16(np.array(noise), turns) & (1 << shift) - 1
                fields(ctx, dut.settings, **setting)
                drive(ctx, dut.sums, words(sums, config.sum_bits))
                value, clamped = transfer(sums, setting["bits"], shift, offset, added)
                codes = [peek(ctx, code) for code in dut.codes.code]
                assert codes == ((value - offset) >> shift).tolist(), (setting, sums)
                assert peek(ctx, dut.codes.clamped) == clamped.sum()

    simulate(dut, bench)


@pytest.mark.parametrize("config", [TINY, TINY.replace(adcs=8), DITHER], ids=analog_ids)
def test_converters_see_their_columns_and_their_dither(config):
    dut, rng = Adc(config), np.random.default_rng(5)
    most = config.array * ((1 << config.cell_bits) - 1)

    async def bench(ctx):
        sums = rng.integers(0, most + 1, (config.array, config.planes))
        drive(ctx, dut.held, words(sums, config.sum_bits))
        fields(ctx, dut.settings, bits=config.adc_bits, shift=2)
        for slot in range(config.array // config.adcs):
            lfsr = int(rng.integers(0, 1 << 16))
            drive(ctx, dut.slot, [slot] * families(config))
            if config.dither:
                drive(ctx, dut.lfsr, lfsr)
            for j, codes in enumerate(dut.codes):
                turns = (5 * np.arange(config.planes) + 3 * j) % 16
                added = rotate16(np.array(lfsr), turns) & 3 if config.dither else 0
                value, _ = transfer(sums[slot * config.adcs + j], config.adc_bits, 2, 0, added)
                assert [peek(ctx, code) for code in codes.code] == (value >> 2).tolist()

    simulate(dut, bench)


def pulses_of(rng, groups):
    """Return (sign, first) of the pulses of a drive."""
    return [(t == 7, a == 0, t) for t in range(7, -1, -1) for a in range(groups)]


@pytest.mark.parametrize("config", [TINY, TINY.replace(cell_bits=4), SMALLEST], ids=analog_ids)
@pytest.mark.parametrize("groups", [1, 3])
def test_a_lane_sums_planes_bits_and_groups(config, groups):
    dut, rng = ShiftAddLane(config), np.random.default_rng(6)
    weight = 1 << config.cell_bits * np.arange(config.planes)

    async def bench(ctx):
        for bank, shift, offset in ((0, 0, 0), (1, 2, 3), (0, 15, 4095)):
            correction = int(rng.integers(-128 * config.array, 127 * config.array))
            total, clamped = -128 * correction, 0
            fields(ctx, dut.settings, shift=shift, offset=offset)
            drive(ctx, [dut.bank, dut.slot, dut.correction, dut.en], [bank, 0, correction, 1])
            for sign, first, t in pulses_of(rng, groups):
                codes = rng.integers(0, 1 << config.adc_bits, config.planes)
                clamps = int(rng.integers(0, config.planes + 1))
                value = int((((codes << shift) + offset) * weight).sum())
                total += -(value << t) if sign else value << t
                clamped += clamps
                fields(ctx, dut.pulse, sign=sign, first=first)
                drive(ctx, dut.codes.clamped, clamps)
                drive(ctx, [dut.codes.code[s] for s in range(config.planes)], codes)
                await ctx.tick()
            drive(ctx, [dut.en, dut.read_bank], [0, bank])
            drive(ctx, dut.read_slot, [0] * len(dut.read_slot))
            got = dut.read[0]
            assert peek(ctx, got.sum) == (total + (1 << 31)) % (1 << 32) - (1 << 31)
            assert peek(ctx, got.clamped) == clamped

    simulate(dut, bench)


@pytest.mark.parametrize("config", [
    TINY.replace(port=2, adcs=1), TINY.replace(port=2, adcs=8), TINY.replace(port=2, adcs=2),
    TINY], ids=analog_ids)
def test_columns_are_read_a_chunk_at_a_time(config):
    dut, rng = ShiftAdd(config), np.random.default_rng(7)
    kinds = families(config)

    async def bench(ctx):
        codes = rng.integers(0, 8, config.array)
        corrections = rng.integers(-9, 9, config.grains)
        fields(ctx, dut.settings)
        fields(ctx, dut.pulse, sign=1, first=1)
        drive(ctx, dut.correction, corrections)
        drive(ctx, dut.en, (1 << kinds) - 1)
        for slot in range(config.array // config.adcs):
            drive(ctx, dut.slot, [slot] * kinds)
            columns = slot * config.adcs + np.arange(config.adcs)
            drive(ctx, dut.grain, columns[::config.adcs // kinds] // config.grain // kinds)
            for code, value in zip(dut.codes, codes[columns], strict=True):
                drive(ctx, code.code[0], value)
            await ctx.tick()
        drive(ctx, dut.en, 0)
        wanted = -codes - np.repeat(corrections, config.grain)
        for chunk in range(config.array // config.port):
            drive(ctx, dut.chunk, chunk)
            got = [peek(ctx, column.sum) for column in dut.read]
            assert got == wanted[chunk * config.port:(chunk + 1) * config.port].tolist()

    simulate(dut, bench)


@pytest.mark.parametrize("config", [TINY.replace(port=2), SMALLEST], ids=analog_ids)
def test_saturations_count_from_zero_after_clear(config):
    dut, rng = Saturation(config), np.random.default_rng(8)
    counts = np.zeros(config.array, dtype=int)

    async def bench(ctx):
        for step in range(30):
            chunk = int(rng.integers(config.array // config.port))
            here = slice(chunk * config.port, (chunk + 1) * config.port)
            clamped = rng.integers(0, 9, config.port)
            drive(ctx, [dut.chunk, dut.add, dut.clear], [chunk, step % 3 != 0, step == 20])
            drive(ctx, dut.clamped, clamped)
            assert (peek(ctx, dut.counts) == counts[here]).all()
            await ctx.tick()
            if step % 3:
                counts[here] += clamped
            if step == 20:
                counts[:] = 0

    simulate(dut, bench)
