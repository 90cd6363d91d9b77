"""The counters against a model that counts events one by one."""

import numpy as np
import pytest
from amaranth.hdl import Fragment
from hw_support import BASE, PAIR, SMALLEST, drive, ids, peek, simulate

from cimforge_hw.dcim.counters import COUNTERS, Counters

CONFIGS = [SMALLEST, BASE, BASE.replace(load_rows=1), PAIR]
EVENTS = ("running", "stalled", "computing", "loading_weights", "loading_acts")


class Bench:
    """Random events and what they must count to."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut, self.config = ctx, dut, dut.config
        self.counts, self.live = dict.fromkeys(COUNTERS, 0), [0, 0]
        self.stalled = 0  # counted a cycle later

    async def tick(self, **inputs):
        ctx, dut, cfg = self.ctx, self.dut, self.config
        for name in (*EVENTS, "vector", "bank", "weight_write", "weight_bank", "weight_first",
                     "clear", "steps", "nonzero"):
            drive(ctx, getattr(dut, name), inputs.get(name, 0))
        await ctx.tick()
        bank, on = inputs.get("bank", 0), {name: inputs.get(name, 0) for name in EVENTS}
        events = dict(cycles=on["running"], compute=on["computing"],
                      load_weights=on["loading_weights"], load_acts=on["loading_acts"],
                      stall=self.stalled)
        self.stalled = on["running"] & on["stalled"] & (1 - inputs.get("clear", 0))
        if inputs.get("vector"):
            events["macs"] = self.live[bank]
            events["idle_slots"] = inputs["steps"] * cfg.slots * cfg.cols - self.live[bank]
        for name, count in events.items():
            self.counts[name] += count
        if inputs.get("clear"):
            self.counts = dict.fromkeys(COUNTERS, 0)
        if inputs.get("weight_write"):
            kept = 0 if inputs.get("weight_first") else self.live[inputs["weight_bank"]]
            self.live[inputs["weight_bank"]] = kept + inputs["nonzero"].bit_count()
        self.check()

    def check(self):
        values = {name: peek(self.ctx, getattr(self.dut.values, name)) for name in COUNTERS}
        assert values == self.counts


async def fill(b, rng, bank, full=None):
    """Count the weights of one whole bank."""
    cfg = b.config
    for beat in range(cfg.weight_beats):
        width = cfg.load_rows * cfg.cols
        nonzero = int(rng.integers(1 << width)) if full is None else full * ((1 << width) - 1)
        await b.tick(weight_write=1, weight_bank=bank, weight_first=beat == 0, nonzero=nonzero)


def run(config, bench):
    dut = Counters(config)

    async def testbench(ctx):
        await bench(Bench(ctx, dut), np.random.default_rng(18))

    simulate(dut, testbench)


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_random_events(config):
    async def bench(b, rng):
        for bank in range(config.weight_banks):
            await fill(b, rng, bank)
        for _ in range(60):
            await b.tick(**{name: int(rng.integers(2)) for name in (*EVENTS, "vector")},
                         bank=int(rng.integers(config.weight_banks)), clear=rng.random() < 0.05,
                         steps=int(rng.integers(1, config.max_steps, endpoint=True)))

    run(config, bench)


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
@pytest.mark.parametrize("full", [0, 1])
def test_an_empty_and_a_full_bank(config, full):
    async def bench(b, rng):
        for _ in range(2):  # the second time must not add to the first
            await fill(b, rng, 0, full)
        assert b.live[0] == full * config.slots * config.cols
        for steps in (1, config.max_steps):
            await b.tick(vector=1, bank=0, steps=steps)

    run(config, bench)


#: docs/dcim.md ("Counters"): wide enough for hours at a gigahertz.
WIDTHS = {"cycles": 40, "compute": 40, "macs": 56, "idle_slots": 56, "load_weights": 40,
          "load_acts": 40, "stall": 40}


def test_every_counter_is_as_wide_as_documented():
    counters = Counters(BASE)
    Fragment.get(counters, None)  # Amaranth warns of components that nothing elaborates
    assert {name: len(getattr(counters.values, name)) for name in WIDTHS} == WIDTHS == COUNTERS


def test_a_narrow_counter_is_seen(monkeypatch):
    monkeypatch.setitem(COUNTERS, "macs", 24)
    with pytest.raises(AssertionError):
        test_every_counter_is_as_wide_as_documented()


def test_clear_keeps_what_the_banks_hold():
    async def bench(b, rng):
        await fill(b, rng, 1)
        await b.tick(vector=1, bank=1, steps=1, running=1)
        await b.tick(clear=1, running=1)
        assert not any(b.counts.values())
        await b.tick(vector=1, bank=1, steps=1)

    run(BASE, bench)
