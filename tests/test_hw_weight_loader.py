"""The weight loader: every beat to its rows, its queue of one, and what it knows of the banks."""

import numpy as np
import pytest
from hw_support import BASE, PAIR, SMALLEST, drive, fields, ids, peek, simulate

from cimforge.spec.layout import pack_selects, pack_weights, unpack_selects
from cimforge_hw.dcim.weight_loader import WeightLoader
from cimforge_verif.compare import assert_equal

CONFIGS = [
    SMALLEST, BASE, BASE.replace(load_rows=1), BASE.replace(sub_macros=4, load_rows=2),
    BASE.replace(cols=4, index_share=2, load_rows=1), BASE.replace(weight_banks=1),
    BASE.replace(rows=1, load_rows=1), PAIR, PAIR.replace(load_rows=1),
    PAIR.replace(sub_macros=1, max_m=2, rows=1),
]
PAIRS = [config for config in CONFIGS if config.select == "pair"]


def integers(beats):
    """Return beats as integers."""
    return [int.from_bytes(beat.tobytes(), "little") for beat in beats]


class Bench:
    """Drives the loader a cycle at a time and keeps what it writes."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut, self.config, self.cycle = ctx, dut, dut.config, 0
        self.rows = {}  # (bank, sub-macro, row) -> words of the units
        self.loading, self.starved, self.first = [], [], []

    async def tick(self, task=None, beat=None, **inputs):
        """Spend a cycle; return whether the task and the beat were taken."""
        ctx, dut = self.ctx, self.dut
        drive(ctx, dut.task.valid, task is not None)
        if task is not None:
            fields(ctx, dut.task.payload, **task)
        drive(ctx, [dut.weights.valid, dut.weights.payload], [beat is not None, beat or 0])
        for name in ("claimed", "claimed_bank", "released", "released_bank", "clear", "discard"):
            drive(ctx, getattr(dut, name), inputs.get(name, 0))
        taken = (task is not None and peek(ctx, dut.task.ready),
                 beat is not None and peek(ctx, dut.weights.ready))
        self._watch()
        await ctx.tick()
        self.cycle += 1
        return tuple(map(bool, taken))

    def _watch(self):
        ctx, dut = self.ctx, self.dut
        for name, log in (("loading", self.loading), ("starved", self.starved)):
            if peek(ctx, getattr(dut, name)):
                log.append(self.cycle)
        enabled = [p for p, port in enumerate(dut.write) if peek(ctx, port.en)]
        assert len(enabled) == (self.config.load_rows if peek(ctx, dut.writing) else 0)
        if enabled and peek(ctx, dut.first):
            self.first.append(self.cycle)
        for p in enabled:
            port = dut.write[p]
            self.rows[peek(ctx, port.bank), p, peek(ctx, port.row)] = peek(ctx, port.data)

    async def load(self, bank, beats, **task):
        """Run one task with a beat in every cycle in which the loader wants one."""
        offered, left = dict(bank=bank, **task), list(beats)
        for _ in range(50):
            if offered is None and not left:
                return
            took_task, took_beat = await self.tick(offered, left[0] if left else None)
            offered = None if took_task else offered
            left = left[1:] if took_beat else left
        raise AssertionError("the loader does not take the task or its beats")


def run(config, bench):
    dut = WeightLoader(config)

    async def testbench(ctx):
        await bench(Bench(ctx, dut), np.random.default_rng(14))

    simulate(dut, testbench)


def random_weights(config, rng):
    """Return weights, indices and the beats that carry them."""
    half = 1 << config.weight_bits - 1
    shape = (config.sub_macros, config.rows)
    weight = rng.integers(-half, half, (*shape, config.cols))
    index = rng.integers(0, config.lines, (*shape, config.units))
    return weight, index, integers(pack_weights(config, weight, index))


def stored(config, weight, index, p, row):
    """Return the words of the units of one row, least significant first."""
    bits, share = config.weight_bits, config.index_share
    return [sum((int(w) & (1 << bits) - 1) << j * bits
                for j, w in enumerate(weight[p, row, u * share:][:share]))
            | int(index[p, row, u]) << share * bits for u in range(config.units)]


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_every_beat_reaches_its_rows(config):
    async def bench(b, rng):
        for bank in range(config.weight_banks):
            weight, index, beats = random_weights(config, rng)
            await b.load(bank, beats)
            for p in range(config.sub_macros):
                for row in range(config.rows):
                    assert_equal(f"row {row} of {p}", b.rows.pop((bank, p, row)),
                                 np.array(stored(config, weight, index, p, row)))
            assert not b.rows
            assert peek(b.ctx, b.dut.ready) == (2 << bank) - 1

    run(config, bench)


@pytest.mark.parametrize("config", [*PAIRS, PAIR.replace(sub_macros=4, max_m=8)], ids=ids)
def test_selects_show_the_step_asked_for(config):
    async def bench(b, rng):
        shape = (config.max_steps, config.rows, config.sub_macros)
        kept = []
        for bank in range(2):
            selects = [rng.integers(0, n, s) for n, s in (
                (config.sub_macros, shape), (config.sub_macros, shape),
                (2, (config.max_steps, config.sub_macros, config.cols)))]
            await b.load(bank, integers(pack_selects(config, *selects)), selects=1,
                         steps=config.max_steps)
            kept.append(selects)
        assert not b.rows
        assert not peek(b.ctx, b.dut.ready)
        for bank in range(2):
            for step in range(config.max_steps):
                drive(b.ctx, [b.dut.step_bank, b.dut.step], [bank, step])
                shown = peek(b.ctx, b.dut.selects)
                width = -(-config.weight_beat_bits // 8)
                parts = [(shown >> i * config.weight_beat_bits
                          & (1 << config.weight_beat_bits) - 1).to_bytes(width, "little")
                         for i in range(config.select_beats)]
                got = unpack_selects(config, np.frombuffer(b"".join(parts), np.uint8)
                                     .reshape(-1, width))
                for name, one, many in zip(("level1", "level2", "mask"), got, kept[bank],
                                           strict=True):
                    assert_equal(f"{name} of step {step}", one[0], many[step])

    run(config, bench)


def test_a_task_starts_one_cycle_after_it_was_taken():
    async def bench(b, rng):
        beats = random_weights(BASE, rng)[2]
        assert peek(b.ctx, b.dut.idle)
        assert await b.tick(dict(bank=0), beats[0]) == (True, False)
        assert not peek(b.ctx, b.dut.idle)
        assert await b.tick(None, beats[0]) == (False, False)  # leaves the queue
        assert await b.tick(None, beats[0]) == (False, True)
        assert await b.tick(None, None) == (False, False)
        assert not peek(b.ctx, b.dut.ready)
        assert await b.tick(None, beats[1]) == (False, True)
        assert peek(b.ctx, b.dut.ready) == 1  # from the cycle after the last beat
        assert peek(b.ctx, b.dut.idle)
        assert (b.loading, b.starved, b.first) == ([2, 4], [3], [2])

    run(BASE, bench)


@pytest.mark.parametrize("config", [BASE, BASE.replace(rows=1, load_rows=1)], ids=ids)
def test_one_task_waits_and_follows_without_a_bubble(config):
    async def bench(b, rng):
        taken = []
        for bank in (0, 1, 0):
            while not (await b.tick(dict(bank=bank), 0))[0]:
                if len(taken) == 2:
                    assert b.cycle <= 20
            taken.append(b.cycle - 1)
        # The second waits while the first loads; the third is taken when the second starts.
        assert taken == [0, 1, 1 + config.weight_beats]
        for _ in range(2 * config.weight_beats):
            await b.tick(None, 0)
        assert b.loading == list(range(2, 2 + 2 * config.weight_beats))
        for _ in range(4):  # bank 0 is occupied: the third does not start
            assert await b.tick(dict(bank=1), 0) == (False, False)
        assert b.starved == []
        await b.tick(None, 0, released=1, released_bank=1)
        assert not (await b.tick(None, 0))[1]
        await b.tick(None, 0, released=1, released_bank=0)
        await b.tick(None, 0)  # starts
        assert (await b.tick(None, 0))[1]

    run(config, bench)


def test_the_same_bank_twice_waits_for_the_release():
    async def bench(b, rng):
        await b.load(0, random_weights(BASE, rng)[2])
        await b.tick(dict(bank=0), 0)
        for _ in range(5):
            assert not (await b.tick(None, 0))[1]
        await b.tick(None, 0, released=1)
        assert not (await b.tick(None, 0))[1]
        assert (await b.tick(None, 0))[1]

    run(BASE, bench)


def test_a_task_for_the_bank_being_filled_waits():
    async def bench(b, rng):
        await b.tick(dict(bank=1), 0)
        await b.tick(dict(bank=1), 0)
        for _ in range(6):
            await b.tick(None, 0)
        assert b.loading == [2, 3]
        await b.tick(None, 0, released=1, released_bank=1)
        await b.tick(None, 0)
        await b.tick(None, 0)
        assert b.loading == [2, 3, 10]

    run(BASE, bench)


@pytest.mark.parametrize("bank", [0, 1])
def test_claimed_ends_ready_and_released_ends_occupied(bank):
    async def bench(b, rng):
        for each in (0, 1):
            await b.load(each, random_weights(BASE, rng)[2])
        await b.tick(claimed=1, claimed_bank=bank)
        assert peek(b.ctx, b.dut.ready) == 2 - bank
        await b.tick(dict(bank=bank), 0)
        for _ in range(3):
            assert not (await b.tick(None, 0))[1]  # still occupied
        await b.tick(None, 0, released=1, released_bank=bank)
        assert peek(b.ctx, b.dut.ready) == 2 - bank
        for _ in range(1 + BASE.weight_beats):
            await b.tick(None, 0)
        assert peek(b.ctx, b.dut.ready) == 3

    run(BASE, bench)


def test_clear_forgets_the_banks():
    async def bench(b, rng):
        for bank in (0, 1):
            await b.load(bank, random_weights(BASE, rng)[2])
        await b.tick(clear=1)
        assert peek(b.ctx, b.dut.ready) == 0
        await b.load(0, random_weights(BASE, rng)[2])
        assert peek(b.ctx, b.dut.ready) == 1

    run(BASE, bench)


def test_weights_are_discarded_only_when_told_to():
    async def bench(b, rng):
        for discard in (0, 1, 1):
            assert await b.tick(None, 0, discard=discard) == (False, bool(discard))
        assert (b.rows, b.loading, b.starved) == ({}, [], [])

    run(BASE, bench)


def test_what_a_waiting_task_wants_is_not_discarded():
    async def bench(b, rng):
        await b.load(0, random_weights(BASE, rng)[2])
        await b.tick(dict(bank=0), 0)
        for _ in range(3):  # the bank is occupied
            assert await b.tick(None, 0, discard=1) == (False, False)
        await b.tick(None, 0, released=1, discard=1)
        await b.tick(None, 0, discard=1)
        for _ in range(BASE.weight_beats):
            assert await b.tick(None, 0, discard=1) == (False, True)
        assert len(b.loading) == 2 * BASE.weight_beats

    run(BASE, bench)
