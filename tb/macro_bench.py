"""cocotb bench of ``macro``; started by ``test_blocks.py``."""

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge

from cimforge.spec.layout import pack_selects
from cimforge_verif.golden import macro
from cimforge_verif.random_tile import RandomTile, random_signed, random_tile
from tb.bfm import (
    Bench,
    FieldStream,
    Scoreboard,
    StreamDriver,
    StreamMonitor,
    StreamSink,
    block_config,
    drive_array,
    ints_of,
    join,
    low_bits,
    mode_bits,
    stall_pattern,
)

CONFIG = block_config()
P, R, C = CONFIG.sub_macros, CONFIG.rows, CONFIG.cols
LANES, PAIR = P * C, CONFIG.select == "pair"
BLOCKS = CONFIG.window_inputs // CONFIG.max_m
FIELDS = [*(f"window__{i}" for i in range(BLOCKS)), "mode", "bank", "steps", "release", "tag"]
ACC = (CONFIG.acc_depth - 1).bit_length()
MAX_STEPS = min(3, CONFIG.max_steps)


class Weights:
    """Keeps the banks full: writes new rows from the cycle after ``released`` on."""

    def __init__(self, dut, rng):
        self.dut, self.rng = dut, rng
        self.tiles: list[RandomTile | None] = [None] * CONFIG.weight_banks
        self.words: list[list[int]] = [[]] * CONFIG.weight_banks  # selects by step
        self.queue: list[tuple[int, int, RandomTile]] = []
        self.releases = 0

    def refill(self, bank: int) -> None:
        """Queue the rows of a random tile."""
        mode = CONFIG.modes[self.rng.integers(len(CONFIG.modes))]
        tile = random_tile(CONFIG, mode, self.rng, MAX_STEPS)
        self.tiles[bank] = None
        self.queue += [(bank, row, tile) for row in range(R)]

    def edge(self) -> None:
        """Write a row per cycle; a released bank is overwritten at once."""
        if int(self.dut.released.value):
            self.releases += 1
            self.refill(int(self.dut.released_bank.value))
        for p in range(P):
            getattr(self.dut, f"write__{p}__en").value = int(bool(self.queue))
        if self.queue:
            self._write(*self.queue.pop(0))

    def _write(self, bank: int, row: int, tile: RandomTile) -> None:
        share, bits = CONFIG.index_share, CONFIG.weight_bits
        for p in range(P):
            units = [join(tile.weight[p, row, u * share:(u + 1) * share].tolist(), bits)
                     | int(tile.index[p, row, u]) << share * bits for u in range(CONFIG.units)]
            drive_array(self.dut, f"write__{p}__data", np.array(units, dtype=object))
            getattr(self.dut, f"write__{p}__bank").value = bank
            getattr(self.dut, f"write__{p}__row").value = row
        if row == R - 1:
            self.tiles[bank] = tile
            if PAIR:
                packed = list(ints_of(pack_selects(CONFIG, *tile.selects)))
                self.words[bank] = [
                    join(packed[s * CONFIG.select_beats:(s + 1) * CONFIG.select_beats],
                         CONFIG.weight_beat_bits) & (1 << CONFIG.select_bits) - 1
                    for s in range(MAX_STEPS)]

    def reset(self) -> None:
        """Finish what was being written."""
        for p in range(P):
            getattr(self.dut, f"write__{p}__en").value = 0
        self.queue = []
        for bank in range(CONFIG.weight_banks):
            self.refill(bank)


class MacroBench:
    """The model is fed with what is seen on ``vectors``."""

    def __init__(self, dut, stall: float):
        self.dut, self.rng = dut, np.random.default_rng(cocotb.RANDOM_SEED)
        self.vectors = FieldStream(dut, "vectors", FIELDS)
        merged = FieldStream(dut, "merged", [
            *(f"lane__{i}" for i in range(LANES)), "group_log2", "tag"])
        self.weights = Weights(dut, self.rng)
        self.scoreboard = Scoreboard("step")
        seed = cocotb.RANDOM_SEED
        self.driver = StreamDriver(self.vectors, stall_pattern(stall, seed, "vectors"))
        self.fresh, self.slices, self.computing = True, 0, 0
        self.bench = Bench(dut, [self.vectors, merged], [
            self, self.driver, StreamMonitor(merged, lambda beat: self.scoreboard.observe(beat)),
            StreamSink(merged, stall_pattern(stall, seed, "merged")), self.weights])

    def edge(self) -> None:
        """Expect the steps of a vector when it shows up; the first leaves before it is taken."""
        self.computing += int(self.dut.computing.value)
        if self.vectors.valid and self.fresh:
            self._expect(self.vectors.read())
        self.fresh = not self.vectors.valid or self.vectors.moves

    @property
    def in_vector(self) -> bool:
        """Whether a vector is on the port with some, but not all, of its slices taken."""
        return self.vectors.valid and self.computing % CONFIG.slices != 0

    def reset(self) -> None:
        """Forget the vector on the port and all expectations."""
        self.fresh, self.scoreboard = True, Scoreboard("step")

    def _expect(self, beat) -> None:
        bank, mode = beat["bank"], next(m for m in CONFIG.modes if mode_bits(m) == beat["mode"])
        tile, a = self.weights.tiles[bank], CONFIG.act_bits
        packed = join((beat[f"window__{i}"] for i in range(BLOCKS)), CONFIG.max_m * a)
        window = np.array([packed >> a * i & (1 << a) - 1 for i in range(CONFIG.window_inputs)])
        window -= np.where(window >> a - 1, 1 << a, 0)
        for step in range(beat["steps"]):
            selects = [s[step] for s in tile.selects] if PAIR else ()
            lanes = macro(CONFIG, window, mode, tile.weight, tile.index, *selects)
            final = step == beat["steps"] - 1
            keep = (1 << ACC) - 1 | 4 << ACC  # row and requantize
            keep |= (1 << ACC if step == 0 else 0) | (10 << ACC if final else 0)
            self.scoreboard.expect({
                **{f"lane__{i}": low_bits(v, CONFIG.macro_bits) for i, v in enumerate(lanes)},
                "group_log2": mode.group.bit_length() - 1, "tag": beat["tag"] & keep})
        self.slices += CONFIG.slices * beat["steps"]

    async def start(self) -> None:
        """Reset and fill the banks."""
        cocotb.start_soon(self._selects())
        await self.bench.reset()
        await self.bench.run(lambda: not self.weights.queue, 200)
        await self.bench.idle(2)

    async def _selects(self) -> None:
        """Answer ``step`` with its selects in the same cycle, as the step memory does."""
        while PAIR:
            await FallingEdge(self.dut.clk)
            words = self.weights.words[int(self.dut.vectors__bank.value)]
            if words:
                self.dut.selects.value = words[min(int(self.dut.step.value), MAX_STEPS - 1)]

    def vector(self, bank: int, release: bool = False) -> dict[str, int]:
        """Return a random vector in a random mode."""
        rng, m, a = self.rng, CONFIG.max_m, CONFIG.act_bits
        window = random_signed(rng, CONFIG.window_inputs, a).reshape(BLOCKS, m)
        return {**{f"window__{i}": join(block, a) for i, block in enumerate(window.tolist())},
                "mode": mode_bits(CONFIG.modes[rng.integers(len(CONFIG.modes))]), "bank": bank,
                "steps": int(rng.integers(1, MAX_STEPS + 1)), "release": int(release),
                "tag": int(rng.integers(1 << ACC + 4))}

    async def finish(self) -> None:
        """Wait for all results, then keep watching."""
        await self.bench.run(lambda: self.driver.done and int(self.dut.idle.value), 5000)
        await self.bench.idle(20)
        self.scoreboard.close()
        assert self.computing == self.slices


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.4])
async def random_vectors(dut, stall):
    """Modes, banks and steps change between vectors; released banks are overwritten at once."""
    bench = MacroBench(dut, stall)
    await bench.start()
    rounds = 14
    for i in range(rounds):
        bank = i % CONFIG.weight_banks
        await bench.bench.run(lambda b=bank: bench.weights.tiles[b] is not None, 500)
        await bench.bench.idle(1)  # the last row is stored
        count = int(bench.rng.integers(1, 9))
        bench.driver.send([bench.vector(bank, j == count - 1) for j in range(count)])
        releases = bench.weights.releases
        await bench.bench.run(lambda: bench.driver.done, 3000)
        if CONFIG.weight_banks == 1:
            await bench.bench.run(lambda r=releases: bench.weights.releases > r, 500)
    await bench.finish()
    assert bench.weights.releases == rounds


@cocotb.test()
async def throughput(dut):
    """``slices * steps`` cycles per vector, and the last sums after the documented latency."""
    bench = MacroBench(dut, 0.0)
    await bench.start()
    vectors = [bench.vector(0) for _ in range(40)]
    begin = bench.bench.cycle
    bench.driver.send(vectors)
    await bench.bench.run(lambda: bench.driver.done and not bench.scoreboard._expected, 2000)
    slices = CONFIG.slices * sum(vector["steps"] for vector in vectors)
    assert bench.bench.cycle - begin == 1 + slices + CONFIG.macro_latency
    await bench.finish()


@cocotb.test()
async def reset_in_flight(dut):
    """Vectors in the pipeline are gone; the next ones start over with their first slice."""
    bench = MacroBench(dut, 0.3)
    await bench.start()
    bench.driver.send([bench.vector(0) for _ in range(9)])
    await bench.bench.idle(7)
    await bench.bench.run(lambda: bench.in_vector, 100)
    assert bench.in_vector
    await bench.bench.reset()
    bench.slices = bench.computing = 0
    await bench.bench.run(lambda: not bench.weights.queue, 200)
    await bench.bench.idle(2)
    bench.driver.send([bench.vector(0) for _ in range(9)])
    await bench.finish()
