"""The verdict on every command: the table of docs/dcim.md, at each of its borders."""

import numpy as np
import pytest
from hw_support import BASE, PAIR, SMALLEST, WIDEST, drive, ids, peek, simulate

from cimforge.spec.commands import FIELDS, ErrorCode, Opcode
from cimforge_hw.dcim.check import Check
from cimforge_verif.checks import BankState, check

CONFIGS = [
    SMALLEST, BASE, PAIR, BASE.replace(weight_banks=1), PAIR.replace(weight_banks=1),
    BASE.replace(fixed_n=2), BASE.replace(act_depth=1 << 16, acc_depth=1 << 16, max_m=1),
    PAIR.replace(sub_macros=8, rows=1, max_m=16, cols=4), *WIDEST,
]
WIDTHS = dict(FIELDS)


def borders(config):
    """Return interesting values of every field."""
    m = [*range(5), 7]
    return {
        "opcode": [*range(8), 15], "bank": [0, 1], "first": [0, 1], "last": [0, 1],
        "requantize": [0, 1], "release": [0, 1], "n": [*range(10), 16, 31], "m_log2": m,
        "group_log2": m, "bias": [0, (1 << 32) - 1],
        "steps": [0, 1, 2, 3, config.max_steps, config.max_steps + 1, 47, 48, 4095],
        "row": [0, 1, config.act_depth - 1, config.act_depth,
                config.sub_macros * config.cols - 1, config.sub_macros * config.cols, 65535],
        "stride": [0, 1, 2, config.window_beats, config.window_beats + 1, 65535],
        "count": [0, 1, 2, config.acc_depth, config.acc_depth + 1, config.act_depth, 65535],
        "acc": [0, 1, config.acc_depth - 1, config.acc_depth, 65535],
    }


def random_command(config, rng):
    """Return fields that are often legal but for one."""
    values = {name: int(rng.choice(choice)) for name, choice in borders(config).items()}
    values = {name: value % (1 << WIDTHS[name]) for name, value in values.items()}
    mode = config.modes[rng.integers(len(config.modes))]
    legal = dict(opcode=int(rng.choice(list(Opcode))), n=mode.n, m_log2=mode.m.bit_length() - 1,
                 group_log2=mode.group.bit_length() - 1, count=1, steps=1, row=0, acc=0,
                 stride=1)
    kept = [name for name in legal if rng.random() < 0.8]
    return values | {name: legal[name] for name in kept}


def verdicts(config, cases):
    """Return what the block says of (fields, loaded, steps of both banks)."""
    dut, codes = Check(config), []

    async def bench(ctx):
        for fields, loaded, steps in cases:
            word = 0
            for name, bits in reversed(FIELDS):
                word = word << bits | fields[name]
            drive(ctx, [dut.command, dut.take], [word, 1])
            await ctx.tick()
            drive(ctx, [dut.command, dut.take], [~word & (1 << sum(WIDTHS.values())) - 1, 0])
            drive(ctx, [dut.loaded, dut.steps], [loaded, steps[fields["bank"]]])
            codes.append(peek(ctx, dut.error))

    simulate(dut, bench)
    return codes


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_agrees_with_the_table(config):
    rng = np.random.default_rng(16)
    cases = []
    for _ in range(800):
        loaded = int(rng.integers(1 << config.weight_banks))
        steps = [int(rng.integers(config.max_steps + 1)) for _ in range(2)]
        cases.append((random_command(config, rng), loaded, steps))
    for (fields, loaded, steps), code in zip(cases, verdicts(config, cases), strict=True):
        banks = [BankState(bool(loaded >> b & 1), steps[b]) for b in range(config.weight_banks)]
        want = check(config, fields, banks)
        assert code == want, f"{fields=} {loaded=} {steps=}: {ErrorCode(code)!r}, not {want!r}"


def test_the_random_commands_reach_every_code():
    rng = np.random.default_rng(17)
    cases = [(random_command(PAIR, rng), int(rng.integers(4)), [1, 2]) for _ in range(1500)]
    assert set(verdicts(PAIR, cases)) == set(ErrorCode)


@pytest.mark.parametrize(("changes", "code"), [
    (dict(row=7), ErrorCode.NONE), (dict(row=8), ErrorCode.ADDRESS),
    (dict(row=1, count=3, stride=3), ErrorCode.NONE),
    (dict(row=2, count=3, stride=3), ErrorCode.ADDRESS),
    (dict(row=7, count=65535, stride=0), ErrorCode.NONE),
    (dict(row=0, count=65535, stride=65535), ErrorCode.ADDRESS),  # products need 32 bits
    (dict(row=1, count=2, stride=65535), ErrorCode.ADDRESS),  # the sum needs 17
    (dict(row=0, stride=0x8000, count=0x201), ErrorCode.ADDRESS),  # 2^24: 24 bits are zero
    (dict(acc=4, first=0), ErrorCode.ADDRESS), (dict(acc=65535, last=0), ErrorCode.ADDRESS),
    (dict(acc=65535), ErrorCode.NONE), (dict(acc=3, first=0), ErrorCode.NONE),
])
def test_borders_of_a_compute(changes, code):
    legal = dict(opcode=Opcode.COMPUTE, bank=0, first=1, last=1, requantize=0, release=1, n=1,
                 m_log2=2, group_log2=0, steps=1, row=0, stride=1, count=1, acc=0, bias=0)
    assert verdicts(BASE, [(legal | changes, 1, [0, 0])]) == [code]
