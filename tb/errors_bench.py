"""cocotb bench of the tile under illegal commands; started by ``test_errors.py``."""

import cocotb
import numpy as np
import pytest

from cimforge.spec.commands import (
    Command,
    Compute,
    End,
    ErrorCode,
    LoadActs,
    LoadSelects,
    LoadWeights,
    SetRequantize,
    encode,
)
from cimforge_verif.sim.jobs import pack_results
from cimforge_verif.stimulus import RandomLayer, random_inputs, random_layer
from cimforge_verif.tile import Tile
from tb.bfm import (
    Bench,
    Scoreboard,
    Stream,
    StreamDriver,
    StreamMonitor,
    StreamSink,
    block_config,
    stall_pattern,
)

CONFIG = block_config()
MODE = CONFIG.modes[-1]
INPUTS = {"commands": 128, "weights": CONFIG.weight_beat_bits, "acts": CONFIG.act_port_bits}


def compute(**fields) -> Compute:
    """Return a Compute that is legal apart from ``fields`` and from empty banks."""
    legal = dict(bank=0, n=MODE.n, m=MODE.m, group=MODE.group, row=0, stride=1, count=1)
    return Compute(**{**legal, **fields})


def illegal() -> dict[str, tuple[ErrorCode, list[Command]]]:
    """Return, by name, an error and commands whose last one makes it, from empty banks."""
    load, lanes = LoadWeights(bank=0), CONFIG.sub_macros * CONFIG.cols
    cases: dict[str, tuple[ErrorCode, list[Command]]] = {
        "no such N": (ErrorCode.MODE, [load, compute(n=31)]),
        "no such M": (ErrorCode.MODE, [load, compute(m=128)]),
        "no such G": (ErrorCode.MODE, [load, compute(group=128)]),
        "no windows": (ErrorCode.COUNT, [load, compute(count=0)]),
        "no beats": (ErrorCode.COUNT, [LoadActs(row=0, count=1, beats=0)]),
        "too many beats": (ErrorCode.COUNT, [
            LoadActs(row=0, count=1, beats=CONFIG.window_beats + 1)]),
        "too many steps": (ErrorCode.COUNT, [load, compute(steps=CONFIG.max_steps + 1)]),
        "shift": (ErrorCode.COUNT, [SetRequantize(output=0, bias=0, multiplier=1, shift=48)]),
        "row": (ErrorCode.ADDRESS, [LoadActs(row=CONFIG.act_depth, count=1, beats=1)]),
        "stride": (ErrorCode.ADDRESS, [load, compute(count=2, stride=CONFIG.act_depth)]),
        "sums": (ErrorCode.ADDRESS, [load, compute(acc=CONFIG.acc_depth, last=False)]),
        "output": (ErrorCode.ADDRESS, [
            SetRequantize(output=lanes, bias=0, multiplier=1, shift=0)]),
        "empty bank": (ErrorCode.NO_WEIGHTS, [compute()]),
        "full bank": (ErrorCode.BANK_FULL, [load, load]),
    }
    if CONFIG.select == "pair":
        cases["selects under weights"] = (ErrorCode.BANK_FULL, [
            load, LoadSelects(bank=0, steps=1)])
        cases["steps without selects"] = (ErrorCode.NO_SELECTS, [
            LoadSelects(bank=0, steps=1), load, compute(steps=2)])
    else:
        cases["selects"] = (ErrorCode.OPCODE, [LoadSelects(bank=0, steps=1)])
    if CONFIG.weight_banks == 1:
        cases["bank"] = (ErrorCode.OPCODE, [LoadWeights(bank=1)])
    return cases


class ErrorBench:
    """Tile, its streams, and the golden tile that says what must come."""

    def __init__(self, dut, stall: float):
        self.dut, self.rng = dut, np.random.default_rng(cocotb.RANDOM_SEED)
        streams = {name: Stream(dut, name) for name in (*INPUTS, "results")}
        seed = cocotb.RANDOM_SEED
        patterns = {name: stall_pattern(stall, seed, name) for name in streams}
        self.drivers = {name: StreamDriver(streams[name], patterns[name]) for name in INPUTS}
        self.scoreboard = Scoreboard("result beat")
        monitor = StreamMonitor(streams["results"], lambda beat: self.scoreboard.observe(beat))
        sink = StreamSink(streams["results"], patterns["results"])
        self.bench = Bench(dut, streams.values(), [*self.drivers.values(), monitor, sink])

    def layer(self) -> tuple[RandomLayer, np.ndarray]:
        """Return a legal layer and its activation stream."""
        layer = random_layer(CONFIG, MODE, self.rng, tokens=2)
        return layer, layer.program.act_beats(CONFIG, random_inputs(CONFIG, layer.program,
                                                                    self.rng))

    async def run(self, tile: Tile, words: np.ndarray, layer: RandomLayer, acts: np.ndarray,
                  extra: int = 0) -> None:
        """Run a program and compare with ``tile``; ``extra`` zero beats follow on both inputs."""
        weights = layer.program.weights
        weights, acts = (np.concatenate([beats, np.zeros((extra, beats.shape[1]), np.uint8)])
                         for beats in (weights, acts))
        results = tile.run(words, weights, acts)
        for beat in pack_results(results, CONFIG.acc_bits, tile.last):
            self.scoreboard.expect(beat)
        for name, beats in zip(INPUTS, (words, weights, acts), strict=True):
            self.drivers[name].send(beats)
        await self.bench.run(lambda: all(d.done for d in self.drivers.values())
                             and not int(self.dut.busy.value), 20000)
        await self.bench.idle(40)
        self.scoreboard.close()
        assert int(self.dut.error.value) == tile.error
        if tile.error:
            assert int(self.dut.error_position.value) == tile.position
        for name, value in tile.counters.to_dict().items():
            counted = int(getattr(self.dut, f"counters__{name}").value)
            assert counted == value, f"counter {name}: got {counted}, expected {value}"

    async def clear(self) -> None:
        """Make the idle tile forget the error and the counts."""
        self.dut.clear.value = 1
        await self.bench.idle(3)
        self.dut.clear.value = 0
        await self.bench.idle(2)
        assert not int(self.dut.error.value)
        assert not int(self.dut.counters__cycles.value)


def with_error(layer: RandomLayer, bad: np.ndarray) -> np.ndarray:
    """Return a legal program without its End, the bad commands, and more that must not run."""
    commands = layer.program.commands
    return np.concatenate([encode(commands[:-1]), bad, encode([*commands, End()])])


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.3])
async def illegal_commands(dut, stall):
    """What was dispatched finishes, the error and its position stay, ``clear`` makes it new."""
    bench = ErrorBench(dut, stall)
    dut.clear.value = 0
    await bench.bench.reset()
    words = {"zero": (ErrorCode.OPCODE, np.zeros((1, 16), np.uint8)),
             "unknown": (ErrorCode.OPCODE, np.full((1, 16), 0xFF, np.uint8))}
    words |= {name: (code, encode(bad)) for name, (code, bad) in illegal().items()}
    extra = CONFIG.weight_beats * 3 + 2 * CONFIG.select_beats + CONFIG.window_beats * 4
    for name, (code, bad) in words.items():
        tile = Tile(CONFIG, name)
        layer, acts = bench.layer()
        await bench.run(tile, with_error(layer, bad), layer, acts, extra)
        assert tile.error == code, f"{name}: golden says {tile.error.name}"
        await bench.clear()
        tile.clear()
        layer, acts = bench.layer()
        await bench.run(tile, encode(layer.program.commands), layer, acts)
        await bench.clear()


@cocotb.test()
async def reset_in_flight(dut):
    """A program that reset interrupts, at many different points, leaves no trace."""
    bench = ErrorBench(dut, 0.1)
    dut.clear.value = 0
    for point in range(1, 60, 7):
        await bench.bench.reset()
        layer, acts = bench.layer()
        for name, beats in zip(INPUTS, (encode(layer.program.commands), layer.program.weights,
                                        acts), strict=True):
            bench.drivers[name].send(beats)
        bench.scoreboard.observe = lambda beat: None
        await bench.bench.idle(point)
        del bench.scoreboard.observe
        await bench.bench.reset()
        layer, acts = bench.layer()
        await bench.run(Tile(CONFIG), encode(layer.program.commands), layer, acts)


@cocotb.test()
async def time_out(dut):
    """A bench that waits for what never comes ends, and says what each stream did."""
    bench = ErrorBench(dut, 0.0)
    await bench.bench.reset()
    bench.drivers["commands"].send(encode([LoadWeights(bank=0)]))  # and no weights
    with pytest.raises(AssertionError, match="not done after 200 cycles; commands valid=0"):
        await bench.bench.run(lambda: not int(dut.busy.value) and bench.drivers["commands"].done,
                              200)
