"""cocotb bench of ``check``: table and golden; started by ``test_blocks.py``."""

from collections import Counter

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from cimforge.spec.commands import FIELDS, ErrorCode, Opcode
from cimforge_verif.checks import BankState, check
from tb.bfm import Bench, block_config, settle

CONFIG = block_config()
# Around every limit that a check compares with, beside anything else.
LIMITS = (0, 1, 2, 47, 48, CONFIG.max_steps, CONFIG.act_depth, CONFIG.acc_depth,
          CONFIG.window_beats, CONFIG.sub_macros * CONFIG.cols)


def field(rng, name: str, bits: int) -> int:
    if name == "opcode" and rng.random() < 0.9:
        return int(rng.choice(list(Opcode)))
    if rng.random() < 0.9:
        value = int(rng.choice(LIMITS)) + int(rng.integers(-1, 2))
        return value % (1 << bits) if name in ("row", "stride", "count", "acc", "steps") else (
            int(rng.integers(0, 1 << bits)))
    return int(rng.choice([0, (1 << bits) - 1, rng.integers(0, 1 << bits)]))


def random_command(rng) -> dict[str, int]:
    """Return fields around the limits, half of the time with a legal mode."""
    values = {name: field(rng, name, bits) for name, bits in FIELDS}
    mode = CONFIG.modes[rng.integers(len(CONFIG.modes))]
    if rng.random() < 0.8:
        values |= {"n": mode.n, "m_log2": mode.m.bit_length() - 1,
                   "group_log2": mode.group.bit_length() - 1}
    if rng.random() < 0.5:  # small enough to get past COUNT and ADDRESS
        values |= {"row": 0, "count": 1, "acc": 0, "stride": int(rng.integers(0, 2)),
                   "steps": int(rng.integers(1, CONFIG.max_steps + 1))}
    return values


@cocotb.test()
async def table_and_model(dut):
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    seen = Counter()
    dut.take.value = 0
    await Bench(dut).reset()
    for _ in range(12000):
        values = random_command(rng)
        loaded = [bool(rng.integers(2)) for _ in range(CONFIG.weight_banks)]
        selects = [int(rng.integers(0, CONFIG.max_steps + 1)) for _ in loaded]
        word = shift = 0
        for name, bits in FIELDS:
            word |= values[name] << shift
            shift += bits
        dut.command.value, dut.take.value = word, 1
        await RisingEdge(dut.clk)
        dut.command.value, dut.take.value = ~word & (1 << shift) - 1, 0  # taken is taken
        dut.loaded.value = sum(full << bank for bank, full in enumerate(loaded))
        bank = values["bank"]
        dut.steps.value = selects[bank] if bank < len(selects) else 0
        await settle()
        expected = check(CONFIG, values, [BankState(*s) for s in zip(loaded, selects,
                                                                     strict=True)])
        got = ErrorCode(int(dut.error.value))
        assert got == expected, f"{values}, banks {loaded}, selects {selects}: {got!r}"
        seen[expected] += 1
    wanted = set(ErrorCode) - ({ErrorCode.NO_SELECTS} if CONFIG.select != "pair" else set())
    assert min(seen[code] for code in wanted) >= 50, seen
