"""AXI4-Lite and the registers behind it, channel by channel, on Amaranth's simulator."""

import random

import pytest
from amaranth import Elaboratable, Module
from hw_support import BASE, simulate

from cimforge.spec.registers import (
    STREAMS,
    Access,
    Response,
    TileKind,
    digest_words,
    register_map,
)
from cimforge_hw.soc.axi_lite import AxiLite
from cimforge_hw.soc.registers import Registers

MAP = {register.name: register for register in register_map(TileKind.DIGITAL)}
WRITE = ("write_en", "write_word", "write_data", "write_mask", "read_word")
ANSWER = ("write_response", "read_data", "read_response")


class Bus(Elaboratable):
    """Slave and registers, connected."""

    def __init__(self):
        self.bus, self.registers = AxiLite(BASE), Registers(BASE)

    def elaborate(self, platform):
        m = Module()
        m.submodules.bus, m.submodules.registers = self.bus, self.registers
        m.d.comb += [getattr(self.registers, n).eq(getattr(self.bus, n)) for n in WRITE]
        m.d.comb += [getattr(self.bus, n).eq(getattr(self.registers, n)) for n in ANSWER]
        return m


class Master:
    """Drives the five channels, each waiting when its dice say so; checks their rules."""

    def __init__(self, ctx, dut, rng, stall):
        self.ctx, self.dut, self.bus = ctx, dut, dut.bus
        self.rng, self.stall = rng, stall
        self.held = {"b": None, "r": None}

    async def tick(self):
        """Let a cycle pass, and see that waiting responses stay as they are."""
        ctx, bus = self.ctx, self.bus
        for name, parts in (("b", ("bresp",)), ("r", ("rresp", "rdata"))):
            valid, ready = (ctx.get(getattr(bus, f"{name}{s}")) for s in ("valid", "ready"))
            now = tuple(ctx.get(getattr(bus, part)) for part in parts)
            if self.held[name] is not None:
                assert valid, f"{name}valid was dropped"
                assert now == self.held[name], f"{name}: a waiting response changed"
            self.held[name] = now if valid and not ready else None
        await ctx.tick()

    def go(self):
        """Return whether a channel moves in this cycle."""
        return self.rng.random() >= self.stall

    async def access(self, channels, response, parts):
        """Send on channels, then take the response; returns its parts."""
        ctx, bus, left = self.ctx, self.bus, dict(channels)
        offered, got = set(), None
        for _ in range(200):
            for name, values in left.items():
                if name not in offered and self.go():
                    offered.add(name)
                    for part, value in values.items():
                        ctx.set(getattr(bus, part), value)
                ctx.set(getattr(bus, f"{name}valid"), name in offered)
            ctx.set(getattr(bus, f"{response}ready"), self.go())
            moved = [n for n in left if n in offered and ctx.get(getattr(bus, f"{n}ready"))]
            if ctx.get(getattr(bus, f"{response}valid")):
                assert not left, "answered before it was asked"
                if ctx.get(getattr(bus, f"{response}ready")):
                    got = tuple(ctx.get(getattr(bus, part)) for part in parts)
            await self.tick()
            for name in moved:
                ctx.set(getattr(bus, f"{name}valid"), 0)
                del left[name]
            if got is not None:
                ctx.set(getattr(bus, f"{response}ready"), 0)
                return got
        raise AssertionError("no response")

    async def read(self, address):
        """Return response and data."""
        return await self.access({"ar": {"araddr": address}}, "r", ("rresp", "rdata"))

    async def write(self, address, data, strobe=15):
        """Return the response."""
        return (await self.access({"aw": {"awaddr": address},
                                   "w": {"wdata": data, "wstrb": strobe}}, "b", ("bresp",)))[0]


def run_bus(check, stall=0.0, seed=1):
    """Run a coroutine of a master on a fresh bus."""
    dut = Bus()

    async def bench(ctx):
        ctx.set(dut.registers.start_ok, 1)
        ctx.set(dut.registers.clear_ok, 1)
        await ctx.tick().repeat(2)
        await check(Master(ctx, dut, random.Random(seed), stall))

    simulate(dut, bench)


def check_random_accesses(stall):
    """A thousand accesses, answered as a dictionary would."""
    async def check(master):
        kept = {r.address: 0 for r in MAP.values() if r.access is Access.RW}
        masks = {r.address: r.mask for r in MAP.values()}
        rng = random.Random(9)
        for _ in range(500):
            address = rng.choice([*range(0, 0x100, 4), 0xFFC])
            register = next((r for r in MAP.values() if r.address == address), None)
            missing = Response.DECERR if register is None else None
            if rng.random() < 0.5:
                data, strobe = rng.getrandbits(32), rng.randrange(16)
                wanted = missing or (Response.OKAY if register.writable else Response.SLVERR)
                if register is MAP["CONTROL"]:
                    data = 0
                assert await master.write(address | rng.randrange(4), data, strobe) == wanted
                if address in kept:
                    bits = sum(0xFF << 8 * i for i in range(4) if strobe >> i & 1)
                    kept[address] = (kept[address] & ~bits | data & bits) & masks[address]
            else:
                response, data = await master.read(address | rng.randrange(4))
                assert response == (missing or Response.OKAY)
                assert address not in kept or data == kept[address]

    run_bus(check, stall)


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_random_accesses(stall):
    check_random_accesses(stall)


def test_a_response_waits_while_the_next_address_comes():
    async def check(master):
        ctx, bus = master.ctx, master.bus

        async def until(signal):
            for _ in range(10):
                if ctx.get(signal):
                    return
                await master.tick()
            raise AssertionError("waited too long")

        for name in ("ID", "VERSION"):
            ctx.set(bus.araddr, MAP[name].address)
            ctx.set(bus.arvalid, 1)
            await until(bus.arready)
            await master.tick()
        ctx.set(bus.arvalid, 0)
        for _ in range(4):
            await master.tick()
        ctx.set(bus.rready, 1)
        for value in (0x43494D46, 1 << 16):
            await until(bus.rvalid)
            assert ctx.get(bus.rdata) == value
            await master.tick()

    run_bus(check)


def test_constants_and_status():
    async def check(master):
        ctx, regs = master.ctx, master.dut.registers
        low, high = digest_words(BASE)
        for name, value in (("ID", 0x43494D46), ("VERSION", 1 << 16), ("TILE", 1),
                            ("DIGEST_LO", low), ("DIGEST_HI", high), ("CONTROL", 0)):
            assert await master.read(MAP[name].address) == (0, value)
        rng = random.Random(3)
        inputs = {"STATUS": ("status", 7), "ERROR_CODE": ("error_code", 4),
                  "ERROR_POSITION": ("error_position", 32),
                  "ILLEGAL_POSITION": ("illegal_position", 32)}
        for stream in (*STREAMS, "results"):
            inputs[f"{stream.upper()}_BEATS"] = (f"beats_{stream}", 32)
        for stream in STREAMS:
            inputs[f"{stream.upper()}_DROPPED"] = (f"dropped_{stream}", 32)
        wanted = {}
        for register, (name, bits) in inputs.items():
            wanted[register] = rng.getrandbits(bits)
            ctx.set(getattr(regs, name), wanted[register])
        for register, value in wanted.items():
            assert await master.read(MAP[register].address) == (0, value), register

    run_bus(check)


def test_a_snapshot_holds_both_halves_of_all_counters():
    async def check(master):
        ctx, regs = master.ctx, master.dut.registers
        rng, value = random.Random(4), {}
        for name in ("cycles", "macs", "stall"):
            value[name] = rng.getrandbits(len(getattr(regs, f"counter_{name}")))
            ctx.set(getattr(regs, f"counter_{name}"), value[name])
        assert await master.write(MAP["CONTROL"].address,
                                  MAP["CONTROL"].field("SNAPSHOT").mask) == 0
        for name in value:
            ctx.set(getattr(regs, f"counter_{name}"), 0)
        for name, counted in value.items():
            low, high = [await master.read(MAP[f"{name.upper()}_{half}"].address)
                         for half in ("LO", "HI")]
            assert low == (0, counted & 0xFFFFFFFF)
            assert high == (0, counted >> 32)

    run_bus(check)


def check_interrupts():
    """Events stay until they are cleared, one bit at a time; enabled ones raise irq."""
    async def check(master):
        ctx, regs = master.ctx, master.dut.registers
        status, enable = MAP["INTERRUPT_STATUS"].address, MAP["INTERRUPT_ENABLE"].address
        await master.write(enable, 0b101)
        for event, irq in ((0b010, 0), (0b100, 1)):
            ctx.set(regs.events, event)
            await ctx.tick()
            ctx.set(regs.events, 0)
            await ctx.tick().repeat(2)
            assert ctx.get(regs.irq) == irq
        assert await master.read(status) == (0, 0b110)
        await master.write(status, 0b100, strobe=0b1110)
        assert await master.read(status) == (0, 0b110), "a strobe that is not set clears nothing"
        await master.write(status, 0b100)
        assert await master.read(status) == (0, 0b010)
        assert not ctx.get(regs.irq)
        tick = master.tick

        async def happens():
            ctx.set(regs.events, 0b010 * ctx.get(master.bus.write_en))
            await tick()
        master.tick = happens
        await master.write(status, 0b010)
        master.tick = tick
        ctx.set(regs.events, 0)
        assert await master.read(status) == (0, 0b010), "what happens as it is cleared stays"
        ctx.set(regs.stream_events, 0b1000)
        await ctx.tick()
        ctx.set(regs.stream_events, 0)
        assert await master.read(MAP["STREAM_ERROR"].address) == (0, 0b1000)
        assert ctx.get(regs.stream_error)
        ctx.set(regs.forget, 1)
        await ctx.tick()
        ctx.set(regs.forget, 0)
        assert await master.read(status) == (0, 0)
        assert await master.read(MAP["STREAM_ERROR"].address) == (0, 0)
        assert await master.read(enable) == (0, 0b101)

    run_bus(check)


def test_interrupts():
    check_interrupts()


def test_control_acts_for_one_cycle_or_refuses():
    async def check(master):
        ctx, regs, control = master.ctx, master.dut.registers, MAP["CONTROL"]
        seen = []

        async def write(value, strobe=15):
            seen.clear()
            tick = master.tick

            async def watch():
                seen.extend(n for n in ("start", "clear", "soft_reset")
                            if ctx.get(getattr(regs, n)))
                await tick()
            master.tick = watch
            response = await master.write(control.address, value, strobe)
            master.tick = tick
            return response, list(seen)

        start, clear, reset = (control.field(n).mask for n in ("START", "CLEAR", "SOFT_RESET"))
        assert await write(start) == (0, ["start"])
        assert await write(start, 0b1110) == (0, [])
        assert await write(clear) == (0, ["clear"])
        assert await write(start | clear) == (Response.SLVERR, [])
        assert await write(start | clear | reset) == (0, ["soft_reset"])
        ctx.set(regs.start_ok, 0)
        assert await write(start) == (Response.SLVERR, [])
        ctx.set(regs.clear_ok, 0)
        assert await write(clear) == (Response.SLVERR, [])
        assert await write(reset) == (0, ["soft_reset"])

    run_bus(check)
