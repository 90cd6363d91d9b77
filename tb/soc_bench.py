"""cocotb bench of a tile on a bus, with cocotbext-axi's masters; started by ``test_soc.py``."""

import random

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiStreamFrame

from cimforge.spec.errors import DataError, ToolError
from cimforge.spec.registers import STREAMS, Access, Response, digest_words
from cimforge_verif.driver import BusError, Outcome, ProgramError, StreamError, TileDriver
from cimforge_verif.sim.axi import CHANNELS, CocotbTransport
from tb.bfm import stall_pattern
from tb.bfm.axi import watch_outputs
from tb.bfm.soc import CONFIG, Case, model

SEED = cocotb.RANDOM_SEED
TEST = cocotb.test(timeout_time=5, timeout_unit="ms")  # half a million cycles
LIMIT = 40000
#: AXI transactions of the long test: register accesses and packets.
TRANSACTIONS = 10_000


class Checked(TileDriver):
    """A driver whose programs come from a model, which is kept in step with the tile."""

    def __init__(self, transport: CocotbTransport):
        super().__init__(transport, CONFIG)
        self.model, self.rng = model(), np.random.default_rng(SEED)

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
    watch_outputs(dut)
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 2)
    driver = Checked(transport)
    await driver.open()
    return driver


def compare(packets, case: Case) -> None:
    """Fail unless the packets are the expected beats, cut where ``last`` is set."""
    wanted = case.packets()
    assert len(packets) == len(wanted), f"{len(packets)} result packets, not {len(wanted)}"
    for i, (got, expected) in enumerate(zip(packets, wanted, strict=True)):
        assert np.array_equal(got, expected), f"result packet {i}: got {got}, expected {expected}"


async def refused(access, response: Response) -> None:
    """See that an access is answered with an error."""
    with pytest.raises(BusError) as caught:
        await access
    assert caught.value.response is response


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


async def _accesses(driver: TileDriver, rng: random.Random) -> None:
    """Random accesses whose answers are known, for ever, beside what the driver does."""
    bus, scratch, address = driver.transport, 0, driver.map["SCRATCH"].address
    constants = {driver.map[name].address: await driver.read(name) for name in (
        "ID", "VERSION", "TILE", "DIGEST_LO", "DIGEST_HI", "CONTROL", "INTERRUPT_ENABLE")}
    await driver.write("SCRATCH", 0)
    while True:
        choice = rng.random()
        if choice < 0.35:
            first = rng.randrange(4)
            data = rng.randbytes(rng.randint(1, 4 - first))
            await bus.write_bytes(address + first, data)
            mask = (1 << 8 * len(data)) - 1 << 8 * first
            scratch = scratch & ~mask | int.from_bytes(data, "little") << 8 * first
        elif choice < 0.7:
            assert await bus.read32(address) == scratch
        elif choice < 0.9:
            place = rng.choice(list(constants))
            assert await bus.read32(place) == constants[place]
        elif choice < 0.95:
            await refused(bus.read32(0x200 + 4 * rng.randrange(64)), Response.DECERR)
        else:
            await refused(bus.write32(driver.map["STATUS"].address, rng.getrandbits(32)),
                          Response.SLVERR)


@TEST
async def ten_thousand_transactions(dut):
    """Programs one after the other and registers at the same time, every channel stalling."""
    driver = await begin(dut, 0.3)
    accesses = cocotb.start_soon(_accesses(driver, random.Random(SEED)))
    sent, came = dict.fromkeys(STREAMS, 0), 0
    packets = programs = beats = 0
    while driver.transport.accesses + packets < TRANSACTIONS:
        stall = (0.1, 0.3, 0.6, {"results": 0.9}, {"weights": 0.9}, {"b": 0.9, "r": 0.9})[
            programs % 6]
        driver.transport.stall(lambda name, s=stall, n=programs: stall_pattern(
            s.get(name, 0.05) if isinstance(s, dict) else s, SEED + n, name))
        case, outcome = await driver.check()
        came += len(case.results)
        for name in STREAMS:
            sent[name] += len(case.streams[name])
        counted = await driver.beats()
        assert counted == {**sent, "results": came}, f"beats: {counted}, not {sent}, {came}"
        dropped = [await driver.read(f"{name.upper()}_DROPPED") for name in STREAMS]
        assert not any(dropped)
        packets += len(outcome.packets) + sum(len(s) > 0 for s in case.streams.values())
        programs += 1
        if programs % 8 == 0:
            beats += came + sum(sent.values())
            await driver.clear()
            sent, came = dict.fromkeys(STREAMS, 0), 0
    accesses.kill()
    dut._log.info("%d register accesses, %d packets of %d beats, %d programs, %d channels",
                  driver.transport.accesses, packets, beats + came + sum(sent.values()), programs,
                  len(CHANNELS))


@TEST
@cocotb.parametrize(stall=[0.0, 0.3])
async def illegal_programs(dut, stall):
    """They end in the error register, and the next program is none the worse for it."""
    driver = await begin(dut, stall)
    for round_ in range(12):
        case = driver.model.illegal(driver.rng, round_)
        with pytest.raises(ProgramError) as caught:
            await driver.run(case.streams, LIMIT)
        assert (caught.value.code, caught.value.position) == (case.code, case.position)
        await refused(driver.act("START"), Response.SLVERR)
        await driver.clear()
        driver.transport.received()  # of commands before the illegal one
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
        return AxiStreamFrame(np.concatenate([beats, beats[:2]]).tobytes())
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
    for point in range(0, 260, 13):
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
async def hard_reset_in_flight(dut):
    """Everything starts anew, the masters as well."""
    driver = await begin(dut, 0.2)
    for point in range(5, 200, 39):
        await driver.start(driver.case().streams)
        await ClockCycles(dut.clk, point)
        dut.rst.value = 1
        await ClockCycles(dut.clk, 3)
        for end in (*driver.transport.sources.values(), driver.transport.sink):
            end.clear()
        dut.rst.value = 0
        driver.model.reset()
        await ClockCycles(dut.clk, 2)
        await driver.open()
        await driver.check()
