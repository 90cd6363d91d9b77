"""The macro against golden, its latency, throughput, release, tags and stalls."""

import numpy as np
import pytest
from hw_macro_bench import MacroBench, random_vectors, tile_for
from hw_support import BASE, PAIR, SMALLEST, WIDEST, ids, peek, simulate, stall_pattern

from cimforge_hw.dcim.macro import Macro

CONFIGS = [
    SMALLEST, BASE, BASE.replace(act_slice=2), BASE.replace(act_slice=1, rows=1),
    BASE.replace(cols=4, index_share=2, act_slice=4), BASE.replace(max_m=1, sub_macros=4),
    BASE.replace(fixed_n=2, rows=4), BASE.replace(act_bits=4, act_slice=4, weight_bits=4),
    PAIR, PAIR.replace(act_slice=4), PAIR.replace(sub_macros=4, max_m=8, rows=1, cols=1),
    PAIR.replace(sub_macros=1, max_m=2), *WIDEST,
]
TIMED = [BASE, BASE.replace(act_slice=4), PAIR.replace(act_slice=4)]


def run(config, bench):
    dut, rng = Macro(config), np.random.default_rng(8)

    async def testbench(ctx):
        await bench(MacroBench(ctx, dut), rng)

    simulate(dut, testbench)


def most_steps(config):
    """Return the steps that a test of a configuration takes."""
    return min(2, config.max_steps)


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_matches_golden_in_every_mode(config):
    async def bench(b, rng):
        await b.load(0, tile_for(config, rng, most_steps(config)))
        vectors = [v for mode in config.modes
                   for v in random_vectors(config, rng, 2, mode, most_steps(config))]
        vectors = [vectors[i] for i in rng.permutation(len(vectors))]
        await b.run(vectors)
        b.check(vectors)

    run(config, bench)


@pytest.mark.parametrize(("config", "gap", "wait"), [
    (BASE, 0.5, 0), (BASE, 0, 0.5), *((config, 0.4, 0.6) for config in CONFIGS)])
def test_stalls_and_gaps_change_nothing(config, gap, wait):
    async def bench(b, rng):
        await b.load(0, tile_for(config, rng, most_steps(config)))
        vectors = random_vectors(config, rng, 8, steps=most_steps(config))
        await b.run(vectors, stall_pattern(gap, 1, "vectors"), stall_pattern(wait, 1, "merged"))
        b.check(vectors)

    run(config, bench)


@pytest.mark.parametrize("config", TIMED, ids=ids)
@pytest.mark.parametrize("steps", [1, 2])
def test_latency_and_throughput(config, steps):
    steps = min(steps, config.max_steps)

    async def bench(b, rng):
        await b.load(0, tile_for(config, rng, steps))
        vectors, busy = random_vectors(config, rng, 4, steps=steps), config.slices * steps
        start = b.cycle
        await b.run(vectors)
        b.check(vectors)
        assert b.taken == [start + busy * (i + 1) - 1 for i in range(4)]
        assert b.computing == list(range(start, start + 4 * busy))
        first = start + config.slices - 1 + config.macro_latency
        assert [s.cycle for s in b.sums] == [first + config.slices * i for i in range(4 * steps)]

    run(config, bench)


@pytest.mark.parametrize("config", TIMED, ids=ids)
def test_released_is_one_pulse_at_the_last_read_of_the_bank(config):
    async def bench(b, rng):
        steps = most_steps(config)
        await b.load(0, tile_for(config, rng, steps))
        b.tiles[1] = b.tiles[0]  # selects for the mere pulse
        vectors = [v for bank in (0, 1) for release in (0, 1) for v in
                   random_vectors(config, rng, 1, steps=steps, bank=bank, release=release)]
        banks = []
        for vector in vectors:
            while not await b.tick(vector):
                assert not peek(b.ctx, b.dut.released)
            banks.append((peek(b.ctx, b.dut.released), peek(b.ctx, b.dut.released_bank)))
        await b.tick()
        assert banks == [(0, 0), (1, 0), (0, 1), (1, 1)]
        assert b.released == [b.taken[1] + 1, b.taken[3] + 1]

    run(config, bench)


@pytest.mark.parametrize("config", TIMED, ids=ids)
def test_a_bank_may_be_written_from_the_cycle_after_its_release(config):
    async def bench(b, rng):
        steps = most_steps(config)
        tile, other = tile_for(config, rng, steps), tile_for(config, rng, steps)
        await b.load(0, tile)
        vectors = random_vectors(config, rng, 3, steps=steps) + random_vectors(
            config, rng, 1, steps=steps, release=1)
        await b.run(vectors[:3])
        while not await b.tick(vectors[3]):
            pass
        assert peek(b.ctx, b.dut.released)
        await b.tick()
        for row in range(config.rows):
            b.write(0, other, row)
            await b.tick()
        await b.run([])
        b.check(vectors)  # all with the old weights

    run(config, bench)


@pytest.mark.parametrize("config", TIMED, ids=ids)
def test_loading_one_bank_leaves_the_other_alone(config):
    async def bench(b, rng):
        steps = most_steps(config)
        tiles = [tile_for(config, rng, steps) for _ in range(2)]
        await b.load(0, tiles[0])
        vectors = random_vectors(config, rng, 3, steps=steps)
        for i, vector in enumerate(vectors):
            b.write(1, tiles[1], i % config.rows)
            while not await b.tick(vector):
                pass
        b.write(1, tiles[1], 0, en=0)
        b.tiles[1] = tiles[1]
        later = random_vectors(config, rng, 2, steps=steps, bank=1)
        await b.run(later)
        b.check(vectors + later)

    run(config, bench)


@pytest.mark.parametrize("config", TIMED, ids=ids)
def test_a_stall_freezes_the_whole_pipeline(config):
    async def bench(b, rng):
        steps = most_steps(config)
        await b.load(0, tile_for(config, rng, steps))
        vectors = random_vectors(config, rng, 8, steps=steps, release=1)
        left = iter(vectors)
        vector = next(left)
        while not peek(b.ctx, b.dut.merged.valid):
            if await b.tick(vector, ready=0):
                vector = next(left)
        events = len(b.taken), len(b.computing), len(b.released)
        for _ in range(4):
            await b.tick(vector, ready=0)
        assert events == (len(b.taken), len(b.computing), len(b.released))
        await b.run([vector, *left])
        b.check(vectors)
        assert len(b.released) == len(vectors)
        assert len(b.computing) == len(vectors) * config.slices * steps

    run(config, bench)


def test_idle_until_a_vector_comes_and_after_its_sums_are_taken():
    async def bench(b, rng):
        await b.load(0, tile_for(BASE, rng))
        assert peek(b.ctx, b.dut.idle)
        await b.tick(random_vectors(BASE, rng, 1)[0])
        for _ in range(BASE.macro_latency + 3):
            b.present(None)
            assert not peek(b.ctx, b.dut.idle)
            await b.tick(ready=0)
        await b.tick(ready=1)
        assert peek(b.ctx, b.dut.idle)

    run(BASE, bench)
