"""The judge of commands against the golden table: borders of every field, and random commands."""

import numpy as np
import pytest
from hw_analog_bench import OTHER, SMALLEST, TINY, analog_ids
from hw_support import drive, peek, simulate

from cimforge.spec.analog.commands import FIELDS, AnalogError, AnalogOpcode, Drive, unpack_word
from cimforge.spec.analog.commands import encode as encode_words
from cimforge_hw.analog.check import Check
from cimforge_verif.analog.checks import check

CONFIGS = [TINY, SMALLEST, OTHER, TINY.replace(array=64, grain=2, act_depth=65536, adc_bits=16)]
_WIDTHS = dict(FIELDS)


def word_of(values):
    """Pack values of fields."""
    word, shift = 0, 0
    for name, bits in FIELDS:
        word |= (int(values.get(name, 0)) & (1 << bits) - 1) << shift
        shift += bits
    return word


def legal_drive(config):
    """Return the fields of a drive that reaches the end of both memories."""
    drive = Drive(array=config.arrays - 1, row_mask=1 << config.grains - 1,
                  col_mask=1 << config.grains - 1, src=config.act_depth - config.grain,
                  dst=min(config.act_depth, config.acc_depth) - config.grain, bits=config.adc_bits,
                  slot=config.requantizers - 1, requantize=True, accumulate=True)
    return unpack_word(int.from_bytes(encode_words([drive])[0].tobytes(), "little"))


def near(config, name, rng):
    """Return values of a field where something may change."""
    limits = {"array": config.arrays, "bits": config.adc_bits, "slot": config.requantizers,
              "row_mask": 1 << config.grains, "col_mask": 1 << config.grains,
              "src": config.act_depth, "dst": config.acc_depth, "depends": 255, "src_stride": 47,
              "src_block_log2": config.grains.bit_length(), "opcode": 8,
              "dst_block_log2": config.grains.bit_length()}
    limit = limits.get(name, 1)
    values = [0, 1, limit - 1, limit, limit + 1, limit + 2, (1 << _WIDTHS[name]) - 1,
              int(rng.integers(0, 1 << _WIDTHS[name])), limit // 2, limit - config.grain]
    return [value for value in values if 0 <= value < 1 << _WIDTHS[name]]


def commands(config, rng, count):
    """Yield legal drives with one field changed, and commands with every field near a border."""
    base = legal_drive(config)
    for name, _ in FIELDS:
        for value in near(config, name, rng):
            yield {**base, name: value}
    for rotation in range(config.grains + 1):  # the second block still fits, the third does not
        for side, mask, depth in (("src", "row_mask", config.act_depth),
                                  ("dst", "col_mask", min(config.act_depth, config.acc_depth))):
            for grain in {0, 1 % config.grains, config.grains - 1}:
                yield {**base, mask: 1 << grain, side: 0, f"{side}_rotation": rotation,
                       f"{side}_jump": depth - config.grain}
    for _ in range(count):
        values = {name: rng.choice(near(config, name, rng)) for name, _ in FIELDS}
        small = {f"{side}_{name}": int(rng.integers(0, 1 + config.grain)) for side in ("src", "dst")
                 for name in ("stride", "jump", "block_log2")}
        if rng.random() < 0.7:
            values |= small
        if rng.random() < 0.7:
            values["opcode"] = rng.choice(list(AnalogOpcode))
        if rng.random() < 0.8:
            values["bits"], values["array"] = config.adc_bits, 0
            values |= {name: int(rng.integers(1, 1 << config.grains))
                       for name in ("row_mask", "col_mask")}
        yield {name: int(value) for name, value in values.items()}


@pytest.mark.parametrize("config", CONFIGS, ids=analog_ids)
def test_agrees_with_the_table(config):
    dut, rng, seen = Check(config), np.random.default_rng(15), set()

    async def bench(ctx):
        for values in commands(config, rng, 500):
            word = word_of(values)
            drive(ctx, dut.command, word)
            wanted = check(config, unpack_word(word))
            assert peek(ctx, dut.error) == wanted, (values, wanted)
            seen.add(wanted)

    simulate(dut, bench)
    assert seen == set(AnalogError)
    assert check(config, legal_drive(config)) is AnalogError.NONE
