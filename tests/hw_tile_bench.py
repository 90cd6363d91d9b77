"""Whole programs through a tile on Amaranth's simulator, compared with the replay."""

from dataclasses import dataclass, field

import numpy as np
from amaranth import Value
from hw_support import clock_domain, drive, peek, simulate, stall_pattern

from cimforge.spec.commands import Opcode, encode
from cimforge.spec.timing import cycles
from cimforge_hw.dcim.counters import COUNTERS
from cimforge_hw.dcim.tile import DcimTile
from cimforge_verif.compare import assert_equal
from cimforge_verif.sim.stall_model import Handshake, StallModel
from cimforge_verif.tile import Tile

INPUTS = ("commands", "weights", "acts")


@dataclass
class Program:
    """Commands (or words of them) and what they load."""

    commands: list | np.ndarray
    weights: np.ndarray | None = None
    acts: np.ndarray | None = None

    def streams(self):
        """Return every input stream as integers."""
        words = self.commands if isinstance(self.commands, np.ndarray) else encode(self.commands)
        return {name: [] if beats is None else [int.from_bytes(b.tobytes(), "little")
                                                for b in beats]
                for name, beats in zip(INPUTS, (words, self.weights, self.acts), strict=True)}


@dataclass
class Outcome:
    """What came out of one program."""

    beats: list = field(default_factory=list)
    last: list = field(default_factory=list)


class TileBench:
    """Drives every stream of a tile; ``stalls`` gives a probability per stream.

    A tile of another kind has another model, other counters, and another port.
    """

    Model, counter_names, end = Tile, tuple(COUNTERS), Opcode.END

    def __init__(self, ctx, dut, reset, stalls=None, seed=0):
        self.ctx, self.dut, self.reset, self.config = ctx, dut, reset, dut.config
        self.model = self.Model(dut.config)
        self.stalled = {name: stall_pattern((stalls or {}).get(name, 0.0), seed, name)
                        for name in (*INPUTS, "results")}
        self.queues = {name: [] for name in INPUTS}
        self.offered = dict.fromkeys(INPUTS, False)
        self.held, self.outcome, self.stall = None, Outcome(), StallModel()

    @property
    def lanes(self):
        """Results per beat."""
        return self.config.out_port

    async def tick(self):
        """Spend a cycle on all streams; what is offered stays until it is taken."""
        ctx = self.ctx
        for name in INPUTS:
            port, queue = getattr(self.dut, name), self.queues[name]
            stall = next(self.stalled[name])
            if not self.offered[name] and queue and not stall:
                self.offered[name] = True
                drive(ctx, port.payload, queue[0])
            ctx.set(port.valid, self.offered[name])
        results = self.dut.results
        ctx.set(results.ready, not next(self.stalled["results"]))
        taken = [name for name in INPUTS if self.offered[name]
                 and ctx.get(getattr(self.dut, name).ready)]
        self._watch(ctx.get(results.valid), ctx.get(results.ready))
        self._stall()
        await ctx.tick()
        for name in taken:
            self.queues[name].pop(0)
            self.offered[name] = False

    def _stall(self):
        """Count this cycle if a stream makes the tile wait."""
        ctx, dut = self.ctx, self.dut
        self.stall.step(
            *(Handshake(bool(ctx.get(port.valid)), bool(ctx.get(port.ready)))
              for port in (dut.commands, dut.weights, dut.acts, dut.results)),
            is_end=ctx.get(dut.commands.payload.opcode) == self.end,
            error=ctx.get(dut.error) != 0, clear=bool(ctx.get(dut.clear)))

    def _watch(self, valid, ready):
        if not valid:
            assert self.held is None, "a result disappeared before it was taken"
            return
        payload = self.dut.results.payload
        now = ctx_get(self.ctx, payload)
        assert self.held in (None, now), "a result changed before it was taken"
        self.held = None if ready else now
        if ready:
            self.outcome.beats.append([self.ctx.get(payload.lane[i])
                                       for i in range(self.lanes)])
            self.outcome.last.append(self.ctx.get(payload.last))

    def send(self, program):
        """Queue a program behind what is still to be sent."""
        for name, beats in program.streams().items():
            self.queues[name] += beats

    async def finish(self, limit=4000, watch=5):
        """Run until everything is sent and the tile is idle, and watch what still comes."""
        idle = 0
        for _ in range(limit):
            busy = any(self.queues.values()) or peek(self.ctx, self.dut.busy)
            idle = 0 if busy else idle + 1
            if idle > watch:
                outcome, self.outcome = self.outcome, Outcome()
                return outcome
            await self.tick()
        raise AssertionError("the tile does not finish")

    async def run(self, program):
        """Run one program and compare results and error with the replay."""
        self.send(program)
        outcome = await self.finish()
        self.compare(program, outcome)
        return outcome

    def compare(self, program, outcome):
        expected = self.model.run(program.commands, program.weights, program.acts)
        actual = np.array(outcome.beats, dtype=np.int64).reshape(-1, self.lanes)
        assert_equal("results", actual, expected, ("beat", "lane"))
        assert outcome.last == self.model.last
        assert self.error() == (self.model.error, self.model.position if self.model.error else 0)

    def error(self):
        """Return error code and position."""
        return peek(self.ctx, self.dut.error), peek(self.ctx, self.dut.error_position)

    def counters(self):
        """Return all counters by name."""
        return {name: peek(self.ctx, getattr(self.dut.counters, name))
                for name in self.counter_names}

    def check_counters(self, predicted=None):
        """Compare the counters with the replay's, and the cycles with the closed form."""
        counts = self.counters()
        wanted = self.model.counters.to_dict()
        assert {name: counts[name] for name in wanted} == wanted
        assert counts["stall"] == self.stall.count
        if predicted is not None:
            assert predicted <= counts["cycles"] <= predicted + counts["stall"]

    async def clear(self):
        """Clear the tile and the model."""
        drive(self.ctx, self.dut.clear, 1)
        await self.tick()
        drive(self.ctx, self.dut.clear, 0)
        self.model.clear()
        assert self.error() == (0, 0)
        assert not any(self.counters().values())

    async def restart(self):
        """Reset the tile, its streams and the model, whatever they are doing."""
        self.queues = {name: [] for name in INPUTS}
        self.offered = dict.fromkeys(INPUTS, False)
        self.held, self.outcome, self.model = None, Outcome(), self.Model(self.config)
        for name in INPUTS:
            drive(self.ctx, getattr(self.dut, name).valid, 0)
        drive(self.ctx, self.dut.results.ready, 0)
        self.stall.reset()
        drive(self.ctx, self.reset.rst, 1)
        await self.ctx.tick()
        drive(self.ctx, self.reset.rst, 0)


def ctx_get(ctx, payload):
    """Return a payload as one integer."""
    return ctx.get(Value.cast(payload))


def run_tile(config, bench, stalls=None, seed=0):
    """Simulate ``await bench(TileBench, rng)``."""
    dut, reset = DcimTile(config), clock_domain()

    async def testbench(ctx):
        await bench(TileBench(ctx, dut, reset, stalls, seed), np.random.default_rng(seed))

    simulate(dut, testbench, reset=reset)


async def run_and_check(b, program):
    """Run a program on a tile that counts from zero; compare everything there is."""
    outcome = await b.run(program)
    b.check_counters(cycles(b.config, program.commands))
    return outcome
