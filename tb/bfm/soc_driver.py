"""A checked driver of a tile on a bus in a cocotb bench, and random accesses beside it."""

import json
import os
import random

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.config import DcimConfig
from cimforge.spec.registers import STREAMS, Response
from cimforge_verif.driver import BusError, Outcome, TileDriver
from cimforge_verif.sim.axi import CocotbTransport
from tb.bfm import stall_pattern
from tb.bfm.axi import Channel, watch
from tb.bfm.soc import Case, compare, model

__all__ = ["CONFIG", "LIMIT", "SEED", "STALLS", "Accesses", "Checked", "begin", "check_channels",
           "refused"]

_PARAMETERS = json.loads(os.environ["CIMFORGE_CONFIG"])
CONFIG = (AnalogConfig if "arrays" in _PARAMETERS else DcimConfig)(**_PARAMETERS)
SEED = cocotb.RANDOM_SEED
#: Cycles in which every program ends, however it is stalled.
LIMIT = 40_000 if "arrays" in _PARAMETERS else 8_000


class Checked(TileDriver):
    """A driver whose programs come from a model, which is kept in step with the tile."""

    def __init__(self, transport: CocotbTransport):
        super().__init__(transport, CONFIG)
        self.model, self.rng = model(CONFIG), np.random.default_rng(SEED)
        self.channels = watch(transport.dut)

    def case(self) -> Case:
        """Return the next program."""
        return self.model.legal(self.rng)

    async def check(self) -> tuple[Case, Outcome]:
        """Run a program and compare its results."""
        case = self.case()
        outcome = await self.run(case.streams, LIMIT)
        compare(outcome.packets, case)
        return case, outcome

    async def clear(self, polls: int = 1000) -> None:
        await super().clear(polls)
        self.model.clear()

    async def soft_reset(self, polls: int = 1000) -> None:
        await super().soft_reset(polls)
        self.model.reset()


async def begin(dut, stall: float = 0.0) -> Checked:
    """Reset the design; return an opened driver."""
    Clock(dut.clk, 10, unit="ns").start()
    transport = CocotbTransport(dut)
    transport.stall(lambda name: stall_pattern(stall, SEED, name) if stall else None)
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    driver = Checked(transport)
    await ClockCycles(dut.clk, 2)
    await driver.open()
    return driver


async def refused(access, response: Response) -> None:
    """See that an access is answered with an error."""
    with pytest.raises(BusError) as caught:
        await access
    assert caught.value.response is response


class Accesses:
    """Random accesses whose answers are known, beside what the driver does, until told to stop."""

    def __init__(self, driver: TileDriver, rng: random.Random):
        self.driver, self.rng, self.scratch, self.go_on = driver, rng, 0, True

    async def run(self) -> None:
        driver, bus, rng = self.driver, self.driver.transport, self.rng
        constants = {driver.map[name].address: await driver.read(name) for name in (
            "ID", "VERSION", "TILE", "DIGEST_LO", "DIGEST_HI", "CONTROL", "INTERRUPT_ENABLE")}
        await driver.write("SCRATCH", 0)
        while self.go_on:
            choice = rng.random()
            if choice < 0.35:
                await self.write_some_bytes()
            elif choice < 0.7:
                assert await driver.read("SCRATCH") == self.scratch
            elif choice < 0.9:
                place = rng.choice(list(constants))
                assert await bus.read32(place) == constants[place]
            elif choice < 0.95:
                await refused(bus.read32(0x200 + 4 * rng.randrange(64)), Response.DECERR)
            else:
                await refused(bus.write32(driver.map["STATUS"].address, rng.getrandbits(32)),
                              Response.SLVERR)

    async def write_some_bytes(self) -> None:
        first = self.rng.randrange(4)
        data = self.rng.randbytes(self.rng.randint(1, 4 - first))
        await self.driver.transport.write_bytes(self.driver.map["SCRATCH"].address + first, data)
        mask = (1 << 8 * len(data)) - 1 << 8 * first
        self.scratch = self.scratch & ~mask | int.from_bytes(data, "little") << 8 * first


#: Probability of a wait, of all channels or by name (the others: 0.05), program after program.
STALLS = (0.1, 0.3, 0.5, {"results": 0.8}, {"weights": 0.8}, {"b": 0.8, "r": 0.8}, {"acts": 0.8},
          {"aw": 0.8, "commands": 0.8}, {"w": 0.8, "ar": 0.8})


def check_channels(channels: dict[str, Channel], accesses: int, packets: dict[str, int],
                   beats: dict[str, int]) -> None:
    """See on the wires that all of it happened once, and that every channel had to wait."""
    count = {name: channel.transfers for name, channel in channels.items()}
    assert count["aw"] == count["w"] == count["b"], count
    assert count["ar"] == count["r"], count
    assert count["aw"] + count["ar"] == accesses, f"{count}, not {accesses} accesses"
    for name, channel in channels.items():
        if name in packets:
            assert channel.packets == packets[name], f"{name}: {channel}"
            assert channel.transfers - channel.nulls == beats[name], f"{name}: {channel}"
        if name in STREAMS:
            assert channel.gaps, f"the master of {name} never waited: {channel}"
        assert channel.waits, f"{name} never had to wait: {channel}"
