"""cocotb bench of a tile on a bus, with cocotbext-axi's masters; started by ``test_soc.py``."""

import json
import os
import random
from pathlib import Path

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiStreamFrame

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError, ToolError
from cimforge.spec.registers import STREAMS, Access, Response, digest_words
from cimforge_verif.driver import ProgramError, StreamError, TileDriver
from cimforge_verif.sim.jobs import counter_errors
from tb.bfm import stall_pattern
from tb.bfm.soc import Case, compare
from tb.bfm.soc_driver import (
    CONFIG,
    LIMIT,
    SEED,
    STALLS,
    Accesses,
    Checked,
    begin,
    check_channels,
    refused,
)
from tb.bfm.soc_scenario import scenario

TEST = cocotb.test(timeout_time=10, timeout_unit="ms")  # a million cycles
#: Programs of the digital tile are short: resets at more moments.
QUICK = isinstance(CONFIG, DcimConfig)
#: What the long test has to reach: register accesses and packets; and half as many beats.
TRANSACTIONS = int(os.environ.get("CIMFORGE_TRANSACTIONS", "10000"))


@TEST
@cocotb.parametrize(stall=[0.0, 0.4])
async def registers(dut, stall):
    """Every address, every access, byte strobes."""
    driver = await begin(dut, stall)
    bus, by_address = driver.transport, {r.address: r for r in driver.map.values()}
    before = {}
    for address in (*range(0, 0x140, 4), 0x800, 0xFFC):
        if address in by_address:
            before[address] = await bus.read32(address)
        else:
            await refused(bus.read32(address), Response.DECERR)
            await refused(bus.write32(address, 0), Response.DECERR)
    assert [before[driver.map[f"DIGEST_{half}"].address] for half in ("LO", "HI")] == list(
        digest_words(CONFIG))
    for register in driver.map.values():
        if not register.writable:
            await refused(bus.write32(register.address, 0xFFFFFFFF), Response.SLVERR)
            assert await bus.read32(register.address) == before[register.address]
    for register in driver.map.values():
        if register.access is Access.RW:
            await bus.write32(register.address, 0xA5C3F00F)
            assert await bus.read32(register.address) == 0xA5C3F00F & register.mask
            await bus.write_bytes(register.address + 1, b"\x12")
            await bus.write_bytes(register.address + 2, b"\x34\x56")
            assert await bus.read32(register.address) == 0x5634120F & register.mask
            await bus.write32(register.address, 0)
    await refused(driver.act("START", "CLEAR"), Response.SLVERR)
    assert (await driver.fields("STATUS"))["READY"]


@TEST
async def other_tiles(dut):
    """A driver for anything else says so before anything runs."""
    driver = await begin(dut)
    for name, message in (("ID", "no tile here"), ("VERSION", "version 9.0 of the registers"),
                          ("TILE", "the tile is of kind 9, not"),
                          ("DIGEST_HI", "was built for configuration")):
        other = TileDriver(_Lies(driver.transport, driver.map[name].address), CONFIG)
        with pytest.raises(DataError, match=message):
            await other.open()


class _Lies:
    """A transport whose register at one address says something else."""

    def __init__(self, transport, address: int):
        self._transport, self._address = transport, address

    async def read32(self, address: int) -> int:
        value = await self._transport.read32(address)
        return value if address != self._address else 9 << 16 if address == 4 else 9

    async def write32(self, address: int, value: int) -> None:
        raise AssertionError("written before it was known what is there")


@TEST
async def predicted_cycles(dut):
    """With streams that never wait, the wrapper costs the tile nothing."""
    driver = await begin(dut)
    for _ in range(3):
        case, outcome = await driver.check()
        assert outcome.counters == {**case.counters, "stall": 0}
        await driver.clear()


@TEST
async def interrupts(dut):
    """High while what is enabled has happened and was not cleared, and at no other time."""
    driver = await begin(dut)
    done = driver.map["INTERRUPT_STATUS"].field("DONE").mask
    for enabled in (0, done):
        await driver.write("INTERRUPT_ENABLE", enabled)
        case = driver.case()
        await driver.start(case.streams)
        assert await driver.transport.interrupt(2000) == bool(enabled)
        assert await driver.read("INTERRUPT_STATUS") == done
        compare(driver.transport.received(), case)
        for enable in (0, done, 0, done):
            await driver.write("INTERRUPT_ENABLE", enable)
            await ClockCycles(dut.clk, 3)
            assert dut.irq.value == bool(enable)
        await driver.write("INTERRUPT_STATUS", done)
        await ClockCycles(dut.clk, 3)
        assert dut.irq.value == 0, "the interrupt stays"
    await _not_done_before_the_last_beat(driver, done)


async def _not_done_before_the_last_beat(driver: Checked, done: int) -> None:
    """Hold the last results back where the wrapper keeps them, so that the tile itself is idle."""
    case = driver.case()
    while len(case.results) < 2:
        await driver.start(case.streams)
        assert await driver.transport.interrupt(LIMIT)
        await driver.write("INTERRUPT_STATUS", done)
        compare(driver.transport.received(), case)
        case = driver.case()
    results = driver.channels["results"]
    until = results.transfers - results.nulls + len(case.results) - 2
    driver.transport.sink.pause = until == 0
    running = cocotb.start_soon(driver.start(case.streams))
    while results.transfers - results.nulls < until:
        await ClockCycles(driver.transport.dut.clk, 1)
    driver.transport.sink.pause = True
    await running
    assert not await driver.transport.interrupt(2000), "done, and results have not left"
    assert (await driver.fields("STATUS"))["BUSY"]
    assert results.transfers - results.nulls < until + 2
    driver.transport.sink.pause = False
    outcome = await driver.finish(case.streams, LIMIT)
    compare(outcome.packets, case)


@TEST
async def one_program_per_start(dut):
    """Two programs wait in the streams; each runs when it is let in, and not before."""
    driver = await begin(dut)
    cases = [driver.case(), driver.case()]
    for case in cases:
        for name in STREAMS:
            if len(case.streams[name]):
                driver.transport.send(name, case.streams[name])
    for case in cases:
        await ClockCycles(dut.clk, 2000)
        assert driver.transport.sink.empty(), "a program ran that was not let in"
        assert (await driver.fields("STATUS"))["READY"]
        await driver.act("START")
        assert await driver.transport.interrupt(LIMIT)
        await driver.write("INTERRUPT_STATUS", 7)
        compare(driver.transport.received(), case)
    assert not await driver.read("ERROR_CODE")


@TEST
async def random_transactions(dut):
    """Programs one after the other and registers at the same time, every channel stalling."""
    driver = await begin(dut, 0.3)
    beside = Accesses(driver, random.Random(SEED))
    running = cocotb.start_soon(beside.run())
    names, programs = (*STREAMS, "results"), 0
    since, beats, packets = (dict.fromkeys(names, 0) for _ in range(3))
    wanted: dict[str, int] = {}
    while (driver.transport.accesses + sum(packets.values()) < TRANSACTIONS
           or sum(beats.values()) < TRANSACTIONS // 2):
        stall = STALLS[programs % len(STALLS)]
        driver.transport.stall(lambda name, s=stall, n=programs: stall_pattern(
            s.get(name, 0.05) if isinstance(s, dict) else s, SEED + n, name))
        case, outcome = await driver.check()
        came = {**{name: len(case.streams[name]) for name in STREAMS},
                "results": len(case.results)}
        since = {name: since[name] + came[name] for name in names}
        beats = {name: beats[name] + came[name] for name in names}
        packets = {name: packets[name] + (
            len(outcome.packets) if name == "results" else came[name] > 0) for name in names}
        wanted = {name: wanted.get(name, 0) + value for name, value in case.counters.items()
                  if name != "stall"}
        wrong = counter_errors(outcome.counters, wanted, stalled=True)
        assert not wrong, wrong
        programs += 1
        if programs % 8 == 0:
            counted = await driver.beats()
            assert counted == since, f"beats: {counted}, not {since}"
            assert not any([await driver.read(f"{name.upper()}_DROPPED") for name in STREAMS])
            await driver.clear()
            since, wanted = dict.fromkeys(names, 0), {}
    beside.go_on = False
    await running
    transactions, transfers = driver.transport.accesses + sum(packets.values()), sum(beats.values())
    assert transactions >= TRANSACTIONS
    assert transfers >= TRANSACTIONS // 2
    check_channels(driver.channels, driver.transport.accesses, packets, beats)
    dut._log.info("%d transactions: %d register accesses and %d packets, of %d beats; %d programs",
                  transactions, driver.transport.accesses, sum(packets.values()), transfers,
                  programs)


@TEST
@cocotb.parametrize(stall=[0.0, 0.3])
async def illegal_programs(dut, stall):
    """They end in the error register, and the next program is none the worse for it."""
    driver = await begin(dut, stall)
    for round_ in range(6):
        case = driver.model.illegal(driver.rng, round_)
        with pytest.raises(ProgramError) as caught:
            await driver.run(case.streams, LIMIT)
        assert (caught.value.code, caught.value.position) == (case.code, case.position)
        await refused(driver.act("START"), Response.SLVERR)
        await driver.clear()
        if round_ % 2:  # results of commands before the illegal one; or the next start drops them
            compare(driver.transport.received(), case)
        assert not await driver.read("ERROR_CODE")
        assert not any((await driver.beats()).values())
        await driver.check()
        await driver.clear()


def malformed(case: Case, stream: str, kind: str) -> AxiStreamFrame:
    """Return the packet of a stream, spoilt."""
    beats = case.streams[stream]
    size = beats.shape[1]
    if kind == "SHORT":
        return AxiStreamFrame(beats[:-1].tobytes())
    if kind == "LONG":
        return AxiStreamFrame(np.concatenate([beats, beats[:1], beats[:1]]).tobytes())
    keep = [1] * (len(beats) * size)
    keep[0] = 0  # a hole in the first beat
    return AxiStreamFrame(beats.tobytes(), tkeep=keep)


@TEST
@cocotb.parametrize(stall=[0.0, 0.3])
async def malformed_packets(dut, stall):
    """Reported with the stream's name; counted; surplus never reaches the tile."""
    driver = await begin(dut, stall)
    for stream in STREAMS:
        for kind in ("SHORT", "LONG", "PARTIAL"):
            case = driver.case()
            while kind == "SHORT" and len(case.streams[stream]) < 2:  # something has to be sent
                case = driver.case()
            if kind == "PARTIAL" and case.streams[stream].shape[1] == 1:
                continue  # a byte is there or not
            bad = malformed(case, stream, kind)
            send = driver.transport.send
            driver.transport.send = lambda name, beats, s=stream, b=bad, send=send: (
                driver.transport.sources[name].send_nowait(b) if name == s else send(name, beats))
            with pytest.raises(StreamError) as caught:
                await driver.run(case.streams, LIMIT)
            driver.transport.send = send
            assert f"{stream.upper()}_{kind}" in caught.value.flags
            if kind == "LONG":  # the surplus is dropped, so the program itself is whole
                while (await driver.fields("STATUS"))["BUSY"]:
                    pass
                await driver.transport.sources[stream].wait()
                await ClockCycles(dut.clk, 40)
                compare(driver.transport.received(), case)
                assert await driver.read(f"{stream.upper()}_DROPPED") == 2
                assert await driver.read(f"{stream.upper()}_BEATS") == len(case.streams[stream]) + 2
            elif stream != "commands" or kind == "SHORT":  # waits for what did not come
                assert (await driver.fields("STATUS"))["BUSY"]
            await driver.soft_reset()
            assert not await driver.read("STREAM_ERROR")
            await driver.check()
            await driver.clear()


@TEST
@cocotb.parametrize(stall=[0.0, 0.3])
async def soft_reset_in_flight(dut, stall):
    """At any moment: what has begun ends legally, the next program is whole."""
    driver = await begin(dut, stall)
    cut = 0
    for point in range(0, 260, 19 if QUICK else 52):
        case = driver.case()
        await driver.start(case.streams)
        await ClockCycles(dut.clk, point)
        cut += (await driver.fields("STATUS"))["BUSY"]
        await driver.soft_reset()  # the masters go on: packets that have begun end
        assert not driver.transport.sink.active, "a packet was not ended"
        assert not any((await driver.beats()).values())
        await driver.check()
        await driver.clear()
    assert cut


@TEST
async def soft_reset_without_the_rest(dut):
    """A packet that never ends holds the reset; a second one ends it."""
    driver = await begin(dut)
    case = driver.case()
    await driver.start(case.streams)
    driver.transport.sources["weights"].pause = True
    await ClockCycles(dut.clk, 30)
    await driver.act("SOFT_RESET")
    with pytest.raises(ToolError, match="still RESETTING"):
        await driver._until_not("RESETTING", 20)
    driver.transport.sources["weights"].assert_reset()  # the sender gives up
    driver.transport.sources["weights"].clear()
    driver.transport.sources["weights"].pause = False
    await driver.soft_reset()
    await driver.check()


@TEST
@cocotb.parametrize(stall=[0.0, 0.5])
async def hard_reset_in_flight(dut, stall):
    """Everything starts anew, the masters as well; accesses and packets may be under way."""
    driver = await begin(dut, stall)
    for point in range(1, 400, 25 if QUICK else 65):
        case, stream = driver.case(), driver.channels[STREAMS[point % 3]]
        while len(case.streams[stream.name]) < 2:
            case = driver.case()
        running = cocotb.start_soon(driver.start(case.streams))
        if point % 2:
            await ClockCycles(dut.clk, point)
        while not (point % 2 or stream.inside):
            await ClockCycles(dut.clk, 1)
        running.cancel()
        dut.rst.value = 1
        await ClockCycles(dut.clk, 3)
        for end in (*driver.transport.sources.values(), driver.transport.sink):
            end.clear()
        dut.rst.value = 0
        driver.model.reset()
        await ClockCycles(dut.clk, 2)
        await driver.open()
        await driver.check()


@TEST
async def every_transport(dut):
    """What ``test_soc.py`` repeats without cocotb: written down for it."""
    driver = await begin(dut)
    told = await scenario(TileDriver(driver.transport, CONFIG), SEED)
    Path("told.json").write_text(json.dumps(told), encoding="utf-8")
