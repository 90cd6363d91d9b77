"""The activation buffer and its lanes: what is read is what was written, and when."""

import numpy as np
import pytest
from hw_support import BASE, SMALLEST, drive, fields, ids, peek, simulate, words

from cimforge.spec.layout import pack_acts
from cimforge_hw.dcim.activation_buffer import ActivationBuffer
from cimforge_hw.dcim.window_lane import WindowLane
from cimforge_verif.compare import assert_equal

CONFIGS = [
    SMALLEST, BASE, BASE.replace(act_port_bits=8), BASE.replace(act_port_bits=512),
    BASE.replace(act_port_bits=24), BASE.replace(act_depth=2), BASE.replace(act_depth=5),
    BASE.replace(act_bits=4, act_slice=4, act_port_bits=4),
]


class Bench:
    """Loads windows into a buffer and into a model; reads them back."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut, self.config = ctx, dut, dut.config
        cfg = self.config
        self.rows = np.zeros((cfg.act_depth, cfg.window_beats * cfg.act_lanes), dtype=np.int64)

    async def task(self, row, count, beats):
        """Offer a task; return after the cycle in which it was taken."""
        port = self.dut.task
        fields(self.ctx, port.payload, row=row, count=count, beats=beats)
        drive(self.ctx, port.valid, 1)
        assert peek(self.ctx, port.ready), "an idle buffer must take a task"
        await self.ctx.tick()
        drive(self.ctx, port.valid, 0)

    async def load(self, row, windows, stall=lambda: False):
        """Load windows, a beat per cycle but for stalls."""
        beats = -(-windows.shape[1] // self.config.act_lanes)
        await self.task(row, len(windows), beats)
        for i, beat in enumerate(pack_acts(self.config, windows)):
            while stall():
                await self.beat(None)
            await self.beat(int.from_bytes(beat.tobytes(), "little"))
            padded = np.zeros(beats * self.config.act_lanes, dtype=np.int64)
            padded[:windows.shape[1]] = windows[i // beats]
            part = slice(i % beats * self.config.act_lanes, (i % beats + 1) * self.config.act_lanes)
            if part.start == 0:
                self.rows[row + i // beats] = 0
            self.rows[row + i // beats, part] = padded[part]
        assert peek(self.ctx, self.dut.idle)

    async def beat(self, payload):
        """Spend one cycle of a task, with or without a beat."""
        dut, valid = self.dut, payload is not None
        drive(self.ctx, [dut.acts.valid, dut.acts.payload], [valid, payload or 0])
        state = [peek(self.ctx, s) for s in (dut.acts.ready, dut.loading, dut.starved, dut.idle)]
        assert state == [1, valid, not valid, 0]
        await self.ctx.tick()
        drive(self.ctx, dut.acts.valid, 0)

    async def read(self, row):
        """Compare a window in the cycle after its read."""
        drive(self.ctx, [self.dut.read_en, self.dut.read_row], [1, row])
        await self.ctx.tick()
        drive(self.ctx, self.dut.read_en, 0)
        self.shows(row)

    def shows(self, row):
        cfg = self.config
        window = self.rows[row, :cfg.window_inputs].reshape(-1, cfg.max_m)
        assert_equal(f"window {row}", peek(self.ctx, self.dut.window),
                     np.array(words(window, cfg.act_bits)), ("block",))

    def pending(self):
        """Return the rows that are pending now."""
        rows = []
        for row in range(self.config.act_depth):
            drive(self.ctx, self.dut.read_row, row)
            if peek(self.ctx, self.dut.pending):
                rows.append(row)
        return rows


def run(config, bench):
    dut = ActivationBuffer(config)

    async def testbench(ctx):
        await bench(Bench(ctx, dut), np.random.default_rng(12))

    simulate(dut, testbench)


def random_windows(config, rng, count, inputs=None):
    half = 1 << config.act_bits - 1
    return rng.integers(-half, half, (count, inputs or config.window_inputs))


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
@pytest.mark.parametrize("stall", [0, 0.5])
def test_reads_what_was_loaded(config, stall):
    async def bench(b, rng):
        await b.load(0, random_windows(config, rng, config.act_depth))
        for _ in range(4):  # narrower ones too: what they do not reach is zero
            count = rng.integers(1, config.act_depth, endpoint=True)
            inputs = rng.integers(1, config.window_inputs, endpoint=True)
            await b.load(rng.integers(config.act_depth - count + 1),
                         random_windows(config, rng, count, inputs), lambda: rng.random() < stall)
            for row in range(config.act_depth):
                await b.read(row)

    run(config, bench)


@pytest.mark.parametrize("config", [BASE, BASE.replace(act_port_bits=512)], ids=ids)
def test_a_row_is_pending_until_the_cycle_after_its_last_beat(config):
    async def bench(b, rng):
        assert b.pending() == []
        await b.task(2, 3, config.window_beats)
        for row in (2, 3, 4):
            for _ in range(config.window_beats):
                assert b.pending() == list(range(row, 5))
                await b.beat(row + 1)
            b.rows[row] = ([row + 1] + [0] * (config.act_lanes - 1)) * config.window_beats
            if row < 4:
                await b.beat(None)  # a pause, in which the window is there already
            await b.read(row)
        assert b.pending() == []

    run(config, bench)


def test_rows_and_counts_of_more_than_eight_bits():
    config = BASE.replace(act_depth=1024, act_port_bits=128)

    async def bench(b, rng):
        await b.load(0, random_windows(config, rng, 600))
        await b.load(600, random_windows(config, rng, 424))
        await b.task(1000, 24, 1)
        assert b.pending() == list(range(1000, 1024))
        for row in range(1000, 1024):
            await b.beat(row)
            b.rows[row] = 0
            b.rows[row, :2] = row % 256 - (row % 256 >> 7 << 8), row // 256
        for row in (*range(0, 1000, 37), *range(1000, 1024)):
            await b.read(row)

    run(config, bench)


def test_the_window_shows_the_last_read():
    async def bench(b, rng):
        await b.load(0, random_windows(BASE, rng, 8))
        await b.read(3)
        drive(b.ctx, b.dut.read_row, 5)
        for _ in range(3):
            await b.ctx.tick()
            b.shows(3)
        old = b.rows.copy()
        await b.load(3, random_windows(BASE, rng, 2))
        new, b.rows = b.rows, old
        b.shows(3)
        b.rows = new
        await b.read(3)

    run(BASE, bench)


def test_a_task_is_taken_only_when_idle():
    async def bench(b, rng):
        port = b.dut.task
        await b.task(0, 1, BASE.window_beats)
        fields(b.ctx, port.payload, row=1, count=1, beats=BASE.window_beats)
        drive(b.ctx, port.valid, 1)
        for i in range(BASE.window_beats):
            assert not peek(b.ctx, port.ready)
            await b.beat(i)
        assert peek(b.ctx, port.ready)
        assert not peek(b.ctx, b.dut.acts.ready)
        await b.ctx.tick()
        drive(b.ctx, port.valid, 0)
        assert b.pending() == [1]

    run(BASE, bench)


def test_activations_are_discarded_only_when_told_to():
    async def bench(b, rng):
        await b.load(0, random_windows(BASE, rng, 8))
        drive(b.ctx, [b.dut.acts.valid, b.dut.acts.payload], [1, 0])
        for discard in (0, 1, 1):
            drive(b.ctx, b.dut.discard, discard)
            assert peek(b.ctx, b.dut.acts.ready) == discard
            assert not peek(b.ctx, b.dut.loading)
            assert not peek(b.ctx, b.dut.starved)
            await b.ctx.tick()
        for row in range(BASE.act_depth):
            await b.read(row)

    run(BASE, bench)


@pytest.mark.parametrize("config", [BASE, BASE.replace(act_depth=2), SMALLEST], ids=ids)
def test_window_lane(config):
    dut, rng = WindowLane(config), np.random.default_rng(13)

    async def bench(ctx):
        model, shown = {}, None
        for _ in range(60):
            row, read, data = (int(rng.integers(n)) for n in (
                config.act_depth, config.act_depth, 1 << min(62, config.act_port_bits)))
            write_en, read_en = rng.integers(2), rng.integers(2)
            drive(ctx, [dut.write_en, dut.write_row, dut.write_data, dut.read_en, dut.read_row],
                  [write_en, row, data, read_en, read])
            if read_en:
                shown = model.get(read) if (read != row or not write_en) else None
            await ctx.tick()
            if write_en:
                model[row] = data
            if shown is not None:
                assert peek(ctx, dut.read_data) == shown

    simulate(dut, bench)
