"""AXI4-Stream ports of the wrapper: order, protocol, packets, and what a flush leaves of them."""

import random

import pytest
from hw_support import BASE, simulate

from cimforge_hw.soc.block import payload_bits, tdata_bytes
from cimforge_hw.soc.input_port import ActPort
from cimforge_hw.soc.result_port import ResultPort

BITS = payload_bits(BASE, "acts")
KEEP = (1 << tdata_bytes(BASE, "acts")) - 1


async def step(ctx, dut, rng, beats, stall):
    """Drive an input port until all beats are taken; return what the tile got, and the flags."""
    got, flags, offered = [], [], False
    queue, idle, left = list(beats), 0, 20 * len(beats) + 50
    while idle < 6:
        left -= 1
        assert left, "beats never end"
        if not offered and queue and rng.random() >= stall:
            offered = True
            for name, value in zip(("tdata", "tkeep", "tlast"), queue[0], strict=True):
                ctx.set(getattr(dut, name), value)
        ctx.set(dut.tvalid, offered)
        ctx.set(dut.beats.ready, rng.random() >= stall)
        if ctx.get(dut.beats.valid) and ctx.get(dut.beats.ready):
            got.append(ctx.get(dut.beats.payload))
        flags += [name for name in ("short", "long", "partial") if ctx.get(getattr(dut, name))]
        taken = offered and ctx.get(dut.tready)
        await ctx.tick()
        if taken:
            offered = False
            queue.pop(0)
        idle = 0 if queue or ctx.get(dut.beats.valid) else idle + 1
    return got, flags


def packet(rng, count, keep=KEEP):
    """Return beats of a packet: data, TKEEP, TLAST."""
    return [(rng.getrandbits(BITS), keep, i == count - 1) for i in range(count)]


def check_packets_in_order(stall):
    """Beats arrive once, in order, whatever waits; the counts agree."""
    rng, dut = random.Random(f"{stall}"), ActPort(BASE)
    beats = [beat for _ in range(20) for beat in packet(rng, rng.randint(1, 6))]

    async def bench(ctx):
        got, flags = await step(ctx, dut, rng, beats, stall)
        assert got == [data for data, _, _ in beats]
        assert not flags
        assert (ctx.get(dut.accepted), ctx.get(dut.dropped)) == (len(beats), 0)
        assert not ctx.get(dut.inside)

    simulate(dut, bench)


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_packets_in_order(stall):
    check_packets_in_order(stall)


def test_a_beat_per_cycle():
    dut = ActPort(BASE)

    async def bench(ctx):
        ctx.set(dut.tvalid, 1)
        ctx.set(dut.tkeep, KEEP)
        ctx.set(dut.beats.ready, 1)
        await ctx.tick().repeat(2)
        for i in range(20):
            ctx.set(dut.tdata, i)
            assert ctx.get(dut.tready)
            await ctx.tick()
            assert (ctx.get(dut.beats.valid), ctx.get(dut.beats.payload)) == (1, i)

    simulate(dut, bench)


def test_ready_is_a_register():
    """It does not follow the tile, nor valid, within a cycle."""
    dut = ActPort(BASE)

    async def bench(ctx):
        ctx.set(dut.tkeep, KEEP)
        await ctx.tick().repeat(2)
        for valid in (0, 1, 1, 1, 0):
            before = ctx.get(dut.tready)
            for ready in (0, 1, 0):
                ctx.set(dut.beats.ready, ready)
                ctx.set(dut.tvalid, valid)
                assert ctx.get(dut.tready) == before
            await ctx.tick()

    simulate(dut, bench)


def test_lengths_and_holes():
    """What does not fit the announced length, or has holes, is reported and not passed on."""
    dut, rng, length = ActPort(BASE), random.Random(2), 4
    null = (0, 0, True)
    cases = [
        (packet(rng, 4), 4, []),
        ([*packet(rng, 4)[:3], (7, KEEP, False), null], 4, []),
        (packet(rng, 3), 3, ["short"]),
        ([null], 0, ["short"]),
        (packet(rng, 7), 4, ["long"]),
        (packet(rng, 5), 4, ["long"]),
        ([(5, 1, False), *packet(rng, 4)], 4, ["partial"]),
        ([*packet(rng, 4)[:3], (5, 1, True)], 3, ["short", "partial"]),
        (packet(rng, 4), 4, []),
    ]

    async def bench(ctx):
        ctx.set(dut.length, length)
        accepted = passed = 0
        for beats, count, flags in cases:
            got, found = await step(ctx, dut, rng, beats, 0.3)
            whole = [data for data, keep, _ in beats if keep == KEEP]
            assert (got, sorted(found)) == (whole[:count], sorted(flags)), beats
            accepted, passed = accepted + len(beats), passed + len(got)
            assert ctx.get(dut.accepted) == accepted
            assert ctx.get(dut.dropped) == accepted - passed
        ctx.set(dut.clear, 1)
        await ctx.tick()
        assert (ctx.get(dut.accepted), ctx.get(dut.dropped)) == (0, 0)

    simulate(dut, bench)


def test_a_flush_takes_the_rest_of_the_packet_and_no_more():
    dut, rng = ActPort(BASE), random.Random(3)

    async def bench(ctx):
        for begun in (0, 1, 2, 3):
            beats = packet(rng, 5)
            ctx.set(dut.flush, 0)
            ctx.set(dut.beats.ready, 0)
            await ctx.tick().repeat(2)
            taken = 0
            ctx.set(dut.flush, begun == 0)
            await ctx.tick().repeat(2)
            for cycle in range(30):
                ctx.set(dut.flush, begun == 0 or taken >= min(begun, 2) or cycle > 8)
                ctx.set(dut.tvalid, taken < len(beats))
                for name, value in zip(("tdata", "tkeep", "tlast"), beats[min(taken, 4)],
                                       strict=True):
                    ctx.set(getattr(dut, name), value)
                taken += ctx.get(dut.tvalid) and ctx.get(dut.tready)
                await ctx.tick()
            assert taken == (5 if begun else 0), "a packet that has begun ends; another waits"
            assert not ctx.get(dut.tready)
            assert not ctx.get(dut.inside)
            assert not ctx.get(dut.beats.valid)
            ctx.set(dut.tvalid, 0)

    simulate(dut, bench)


def test_forgetting_ends_a_packet_that_will_not_go_on():
    dut, rng = ActPort(BASE), random.Random(4)

    async def bench(ctx):
        await ctx.tick()
        ctx.set(dut.tvalid, 1)
        for name, value in zip(("tdata", "tkeep", "tlast"), packet(rng, 2)[0], strict=True):
            ctx.set(getattr(dut, name), value)
        await ctx.tick()
        ctx.set(dut.tvalid, 0)
        ctx.set(dut.flush, 1)
        await ctx.tick().repeat(5)
        assert ctx.get(dut.inside)
        assert ctx.get(dut.tready)
        ctx.set(dut.forget, 1)
        await ctx.tick()
        ctx.set(dut.forget, 0)
        assert not ctx.get(dut.inside)
        assert not ctx.get(dut.tready)

    simulate(dut, bench)


LANES = BASE.out_port * BASE.acc_bits


class Sink:
    """Takes beats of a result port; checks that what waits stays."""

    def __init__(self, dut, rng, stall):
        self.dut, self.rng, self.stall = dut, rng, stall
        self.beats, self.held = [], None

    def edge(self, ctx):
        """Look at this cycle."""
        ctx.set(self.dut.tready, self.rng.random() >= self.stall)
        if not ctx.get(self.dut.tvalid):
            assert self.held is None, "valid was dropped"
            return
        beat = tuple(ctx.get(getattr(self.dut, name)) for name in ("tdata", "tkeep", "tlast"))
        assert self.held in (None, beat), "a waiting beat changed"
        self.held = None if ctx.get(self.dut.tready) else beat
        if self.held is None:
            self.beats.append(beat)


async def send(ctx, dut, sink, words, cycles):
    """Offer result words for some cycles; return how many were taken."""
    taken = 0
    for _ in range(cycles):
        ctx.set(dut.results.valid, taken < len(words))
        ctx.set(dut.results.payload.as_value(), words[min(taken, len(words) - 1)])
        sink.edge(ctx)
        taken += ctx.get(dut.results.valid) and ctx.get(dut.results.ready)
        await ctx.tick()
    ctx.set(dut.results.valid, 0)
    return taken


@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_results_in_order(stall):
    rng, dut = random.Random(5), ResultPort(BASE)
    words = [rng.getrandbits(LANES + 1) for _ in range(40)] + [1 << LANES]
    keep = (1 << tdata_bytes(BASE, "results")) - 1

    async def bench(ctx):
        sink = Sink(dut, rng, stall)
        assert await send(ctx, dut, sink, words, 45 if stall == 0 else 300) == len(words)
        mask = (1 << LANES) - 1
        assert sink.beats == [(word & mask, keep, word >> LANES) for word in words]
        assert ctx.get(dut.sent) == len(words)
        assert ctx.get(dut.idle)
        assert not ctx.get(dut.open)

    simulate(dut, bench)


@pytest.mark.parametrize("stall", [0.0, 0.6])
@pytest.mark.parametrize("how", ["flush", "close"])
def test_a_cut_packet_is_ended(how, stall):
    """After any number of beats: nothing that waits is dropped, a null beat ends what is open."""
    rng, dut = random.Random(6), ResultPort(BASE)

    async def bench(ctx):
        for cut in range(12):
            sink = Sink(dut, rng, stall)
            words = [rng.getrandbits(LANES) | (i % 3 == 2) << LANES for i in range(9)]
            taken = await send(ctx, dut, sink, words, cut)
            ctx.set(getattr(dut, how), 1)
            for _ in range(40):
                sink.edge(ctx)
                await ctx.tick()
            assert ctx.get(dut.idle)
            assert not ctx.get(dut.open)
            data = [beat for beat in sink.beats if beat[1]]
            assert len(data) <= taken
            assert how == "flush" or len(data) == taken
            assert not sink.beats or sink.beats[-1][2], "the packet is open"
            nulls = [beat for beat in sink.beats if not beat[1]]
            assert len(nulls) == (len(data) % 3 != 0), "a null beat where one is needed"
            ctx.set(getattr(dut, how), 0)
            await ctx.tick()

    simulate(dut, bench)
