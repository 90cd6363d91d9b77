"""Retirement: commands leave in program order, one beat per cycle, and change the memories."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, enum, memory, stream
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import WORD_BITS, AnalogConfig
from cimforge_hw.analog.block import AnalogBlock, index
from cimforge_hw.analog.memories import SumMemory
from cimforge_hw.analog.walk import SideLayout, Walk
from cimforge_hw.analog.write_back import StageLayout
from cimforge_hw.common.place import place

__all__ = ["Kind", "ResultLayout", "Retire", "RetireLayout"]


class Kind(enum.Enum, shape=2):
    """What retires."""

    DRIVE = 0
    INPUT = 1
    OUTPUT = 2
    READ_SATURATION = 3


class RetireLayout(data.StructLayout):
    """A command as dispatched; ``side.base`` and ``count`` of Input and Output are its beats."""

    def __init__(self, config: AnalogConfig):
        super().__init__({
            "kind": Kind, "array": index(config.arrays), "side": SideLayout(config), "count": 16,
            "accumulate": 1, "requantize": 1, "slot": 5, "last": 1})


class ResultLayout(data.StructLayout):
    """A beat of results."""

    def __init__(self, config: AnalogConfig):
        super().__init__({
            "lane": data.ArrayLayout(signed(config.acc_bits), config.port), "last": 1})


class Retire(AnalogBlock):
    """Queues what was dispatched and retires it in order.

    A beat of a drive reads its columns' sums, adds what the accumulation memory holds if told to,
    and writes there, or passes the sums on to be requantized. A beat of results leaves in the next
    cycle; while the result stream is not ready, retirement waits behind it.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    push : ``In(1)``, ``task`` : ``In(RetireLayout(config))``
        Queue a command; there are never more than ``in_flight``.
    ready : ``In(arrays)``
        Arrays with a converted drive.
    array : ``Out``, ``chunk`` : ``Out``
        Array and columns to read.
    sums, saturations : ``In(...).array(port)``
        What it holds of them.
    drive_beat, last : ``Out(1)``
        A beat of a drive retires; a command does.
    beat : ``Out(1)``
        A beat of any command retires.
    acts : ``In(stream.Signature(port * 8))``
        Activations for Input.
    stage : ``Out(StageLayout(config))``
        To the activation memory.
    results : ``Out(stream.Signature(ResultLayout(config)))``
        Results.
    starved : ``Out(1)``
        An Input waits for activations.
    """

    def __init__(self, config: AnalogConfig):
        lanes = config.port
        super().__init__(config, {
            "push": In(1),
            "task": In(RetireLayout(config)),
            "ready": In(config.arrays),
            "array": Out(index(config.arrays)),
            "chunk": Out(index(config.array // config.port)),
            "sums": In(signed(config.acc_bits)).array(lanes),
            "saturations": In(config.acc_bits).array(lanes),
            "drive_beat": Out(1),
            "last": Out(1),
            "beat": Out(1),
            "acts": In(stream.Signature(lanes * WORD_BITS)),
            "stage": Out(StageLayout(config)),
            "results": Out(stream.Signature(ResultLayout(config))),
            "starved": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        head, waiting = self._queue(m)
        walk = place(m, "walk", Walk, cfg, platform)
        is_kind = {kind: waiting & (head.kind == kind) for kind in Kind}
        done = Signal(16)  # beats of a command that is no drive
        beats = Mux(is_kind[Kind.READ_SATURATION], cfg.array // cfg.port, head.count)
        sends = is_kind[Kind.OUTPUT] | is_kind[Kind.READ_SATURATION]
        final = Signal()
        m.d.comb += [
            self.array.eq(head.array),
            self.chunk.eq(Mux(is_kind[Kind.DRIVE], walk.chunk, done)),
            self.drive_beat.eq(is_kind[Kind.DRIVE] & ((self.ready >> head.array) & 1)),
            self.acts.ready.eq(is_kind[Kind.INPUT]),
            self.starved.eq(self.acts.ready & ~self.acts.valid),
            final.eq(Mux(is_kind[Kind.DRIVE], walk.last, done == beats - 1)),
            self.beat.eq(self.drive_beat | (self.acts.ready & self.acts.valid)
                         | (sends & (~self.results.valid | self.results.ready))),
            self.last.eq(self.beat & final),
            walk.side.eq(head.side),
            walk.step.eq(self.drive_beat),
        ]
        with m.If(self.beat & ~is_kind[Kind.DRIVE]):
            m.d.sync += done.eq(Mux(final, 0, done + 1))
        addresses = [Signal(16, name=f"address_{i}") for i in range(cfg.port)]
        for i, address in enumerate(addresses):
            linear = head.side.base + done * cfg.port + i
            m.d.comb += address.eq(Mux(is_kind[Kind.DRIVE], walk.address[i], linear))
        values, sums = self._sums(m, platform, head, addresses)
        self._write(m, head, addresses, values, is_kind[Kind.INPUT])
        self._send(m, head, sends & self.beat, final, sums)
        return m

    def _queue(self, m: Module):
        """Return the oldest command, and whether there is one."""
        size = 1 << (self._config.in_flight - 1).bit_length()
        table = memory.Memory(shape=RetireLayout(self._config), depth=size, init=[])
        m.submodules.queue = table
        write, read = table.write_port(), table.read_port(domain="comb")
        first, level = Signal(range(size)), Signal(range(size + 1))
        m.d.comb += [
            write.addr.eq(first + level),
            write.data.eq(self.task),
            write.en.eq(self.push),
            read.addr.eq(first),
        ]
        m.d.sync += [first.eq(first + self.last), level.eq(level + self.push - self.last)]
        return read.data, level != 0

    def _sums(self, m: Module, platform, head, addresses):
        """Return the new sums of a drive's beat, and the stored ones."""
        table = place(m, "sums_memory", SumMemory, self._config, platform)
        values = []
        m.d.comb += table.write.eq(self.drive_beat & ~head.requantize)
        for i, (fresh, stored) in enumerate(zip(self.sums, table.read, strict=True)):
            value = Signal(signed(self._config.acc_bits), name=f"value_{i}")
            m.d.comb += [
                table.read_address[i].eq(addresses[i]),
                table.address[i].eq(addresses[i]),
                value.eq(fresh + Mux(head.accumulate, stored.as_signed(), 0)),
                table.data[i].eq(value),
            ]
            values.append(value)
        return values, table.read

    def _write(self, m: Module, head, addresses, values, is_input):
        """Pass on what goes to the activation memory: requantized sums, or the stream."""
        stage = self.stage
        m.d.comb += [
            stage.valid.eq(self.beat & Mux(is_input, 1, self.drive_beat & head.requantize)),
            stage.requantize.eq(~is_input),
            stage.slot.eq(head.slot),
        ]
        for i, (address, value) in enumerate(zip(addresses, values, strict=True)):
            act = self.acts.payload.word_select(i, WORD_BITS).as_signed()
            m.d.comb += [
                stage.address[i].eq(address),
                stage.value[i].eq(Mux(is_input, act, value)),
            ]

    def _send(self, m: Module, head, beat, final, sums):
        """Hold a beat of results until it leaves."""
        out = self.results
        with m.If(out.ready):
            m.d.sync += out.valid.eq(0)
        with m.If(beat):
            m.d.sync += [out.valid.eq(1), out.payload.last.eq(head.last & final)]
            m.d.sync += [lane.eq(Mux(head.kind == Kind.OUTPUT, stored, count)) for
                         lane, stored, count in zip(
                             (out.payload.lane[i] for i in range(self._config.port)), sums,
                             self.saturations, strict=True)]
