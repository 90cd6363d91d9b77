"""The driver over a transport that returns at once: a bus that is a dictionary."""

import asyncio

import numpy as np
import pytest
from hw_support import BASE

from cimforge.spec.commands import ErrorCode
from cimforge.spec.errors import CimforgeError, DataError, ToolError
from cimforge.spec.registers import TileKind, digest_words, register_map, tdata_bytes
from cimforge_verif.driver import BusError, ProgramError, StreamError, TileDriver, complete

MAP = {register.name: register for register in register_map(TileKind.DIGITAL)}
STREAMS = {name: np.zeros((2, size), np.uint8) for name, size in tdata_bytes(BASE).items()
           if name != "results"}


class Memory:
    """Registers that say what they are told to; every program ends at once."""

    def __init__(self, **values):
        low, high = digest_words(BASE)
        start = {"ID": 0x43494D46, "VERSION": 1 << 16, "TILE": 1, "DIGEST_LO": low,
                 "DIGEST_HI": high, "STATUS": 1, "INTERRUPT_STATUS": 1}
        self.values = {MAP[name].address: value for name, value in {**start, **values}.items()}
        self.written, self.happens = [], True

    async def read32(self, address):
        if address not in {register.address for register in MAP.values()}:
            raise BusError("reading", address, 3)
        return self.values.get(address, 0)

    async def write32(self, address, value):
        self.written.append((address, value))

    def send(self, stream, beats):
        address = MAP[f"{stream.upper()}_BEATS"].address
        self.values[address] = self.values.get(address, 0) + len(beats)

    def received(self):
        return [np.ones((1, 4), np.uint8)]

    async def interrupt(self, cycles):
        return self.happens


def opened(bus):
    """Return a driver that has looked at the tile."""
    driver = TileDriver(bus, BASE)
    complete(driver.open())
    bus.written.clear()
    return driver


def test_a_program_runs_without_an_event_loop():
    bus = Memory(MACS_LO=5, MACS_HI=1)
    driver = TileDriver(bus, BASE)
    complete(driver.open())
    outcome = complete(driver.run(STREAMS, 10))
    assert outcome.counters["macs"] == 5 + (1 << 32)
    assert len(outcome.packets) == 1
    assert (MAP["WEIGHTS_LENGTH"].address, 2) in bus.written
    assert (MAP["CONTROL"].address, 1) in bus.written
    complete(driver.clear())
    complete(driver.soft_reset())


@pytest.mark.parametrize(("name", "value", "message"), [
    ("ID", 0, "no tile here: ID is 0x00000000, not 0x43494d46"),
    ("VERSION", 2 << 16, r"has version 2\.0 of the registers, this driver needs 1\.0"),
    ("TILE", 2, "the tile is analog, not digital"),
    ("DIGEST_LO", 0, f"built for configuration {BASE.digest[:8]}00000000, not {BASE.digest}")])
def test_what_is_not_the_tile_is_one_error_before_anything_is_written(name, value, message):
    bus = Memory(**{name: value})
    with pytest.raises(DataError, match=message):
        complete(TileDriver(bus, BASE).open())
    assert not bus.written


def test_what_the_tile_reports_is_raised():
    driver = opened(Memory(INTERRUPT_STATUS=3, ERROR_CODE=5, ERROR_POSITION=7))
    with pytest.raises(ProgramError, match="the tile reports NO_WEIGHTS for command 7"):
        complete(driver.run(STREAMS, 10))
    driver = opened(Memory(INTERRUPT_STATUS=4, STREAM_ERROR=2))
    with pytest.raises(StreamError, match="COMMANDS_LONG; beats accepted: 2 commands"):
        complete(driver.run(STREAMS, 10))
    driver = opened(Memory(STATUS=2))
    with pytest.raises(ToolError, match="the tile is not ready: BUSY"):
        complete(driver.run(STREAMS, 10))
    driver = opened(Memory(STATUS=4))
    with pytest.raises(ToolError, match="still CLEARING after 3 looks at it: CLEARING"):
        complete(driver.clear(polls=3))


@pytest.mark.parametrize(("array", "message"), [
    (None, "weights must be an array, not None"),
    ([[1]], r"weights must be an array, not \[\[1\]\]"),
    (np.zeros((2, 1), np.uint8), r"weights must be uint8 of shape \(beats, \d+\), not uint8"),
    (np.zeros(4, np.uint8), r"not uint8 of shape \(4,\)"),
    (np.zeros((2, tdata_bytes(BASE)["weights"]), np.int64), "not int64 of shape")])
def test_an_array_that_does_not_fit_its_stream_is_one_error_before_anything_is_written(
        array, message):
    bus = Memory()
    with pytest.raises(DataError, match=message):
        complete(opened(bus).run({**STREAMS, "weights": array}, 10))
    assert not bus.written


@pytest.mark.parametrize(("registers", "message"), [
    ({"INTERRUPT_STATUS": 2, "ERROR_CODE": 15, "ERROR_POSITION": 3},
     "stopped at command 3 with error code 15, which this driver does not know"),
    ({"INTERRUPT_STATUS": 2}, "stopped at command 0 with error code 0, which"),
    ({"INTERRUPT_STATUS": 0}, "an interrupt was raised, and no reason for it is given")])
def test_a_tile_that_contradicts_itself_is_one_error(registers, message):
    with pytest.raises(ToolError, match=message):
        complete(opened(Memory(**registers)).run(STREAMS, 10))


def test_a_transport_that_waits_needs_an_event_loop():
    class Waits(Memory):
        async def interrupt(self, cycles):
            await asyncio.sleep(0)

    driver = opened(Waits())
    with pytest.raises(RuntimeError, match="the transport waits for something"):
        complete(driver.run(STREAMS, 10))


def test_every_error_of_a_driver_is_the_callers_to_handle():
    """Exit code 2 at a command line, one message."""
    for error in (BusError("reading", 4, 3), ProgramError(ErrorCode.MODE, 1),
                  StreamError(("ACTS_LONG",), {"acts": 3})):
        assert isinstance(error, CimforgeError)
        assert "\n" not in str(error)


def test_what_a_caller_gets_wrong_is_one_error():
    with pytest.raises(DataError, match="not been looked at yet: call open"):
        complete(TileDriver(Memory(), BASE).run(STREAMS, 10))
    for cycles in (0, -1, 2.5, None):
        with pytest.raises(DataError, match="cycles must be an integer of at least 1, not"):
            complete(opened(Memory()).run(STREAMS, cycles))
    with pytest.raises(DataError, match="streams must be arrays by name, not None"):
        complete(opened(Memory()).run(None, 10))


def test_a_clear_waits_as_long_as_beats_go_in():
    bus, looks = Memory(STATUS=4), []
    driver, real = opened(bus), bus.read32

    async def slowly(address):
        if address == MAP["STATUS"].address:
            looks.append(address)
            bus.values[MAP["COMMANDS_BEATS"].address] = len(looks)
            bus.values[address] = 4 if len(looks) < 10 else 1
        return await real(address)

    bus.read32 = slowly
    complete(driver.clear(polls=3))
    assert len(looks) == 10


def test_what_never_ends_and_what_ends_too_early():
    bus = Memory()
    bus.happens = False
    with pytest.raises(ToolError, match="not done after 10 cycles: READY; beats"):
        complete(opened(bus).run(STREAMS, 10))
    bus = Memory()
    bus.send = lambda stream, beats: None
    with pytest.raises(ToolError, match="0 of 2 beats of commands were accepted"):
        complete(opened(bus).run(STREAMS, 10))


def test_a_refused_access_names_address_and_response():
    with pytest.raises(BusError, match="reading 0x200 was answered with DECERR"):
        complete(Memory().read32(0x200))
    assert str(BusError("writing", 4, 1)) == "writing 0x004 was answered with response 1"
