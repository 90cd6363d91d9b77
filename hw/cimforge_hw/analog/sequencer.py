"""The sequencer: takes commands, checks them in program order, dispatches them."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.commands import AnalogOpcode
from cimforge.spec.analog.config import WORD_BITS, AnalogConfig
from cimforge_hw.analog.block import AnalogBlock, CommandLayout, ProgramSignature
from cimforge_hw.analog.check import Check
from cimforge_hw.analog.loader import COUNT_BITS, LoadLayout
from cimforge_hw.analog.programmer import Programmer
from cimforge_hw.analog.retire import Kind, RetireLayout
from cimforge_hw.analog.write_back import RequantizeWriteLayout
from cimforge_hw.common.place import place

__all__ = ["Sequencer"]

_KINDS = {
    AnalogOpcode.DRIVE: Kind.DRIVE, AnalogOpcode.INPUT: Kind.INPUT,
    AnalogOpcode.OUTPUT: Kind.OUTPUT, AnalogOpcode.READ_SATURATION: Kind.READ_SATURATION,
}


class Sequencer(AnalogBlock):
    """Dispatches at most one command per cycle, in order; an illegal one stops the program.

    Drives, Input, Output and ReadSaturation are queued for retirement, as many as ``in_flight``;
    all others wait until nothing is left and are carried out here. After an error, commands and
    their data are accepted and forgotten until ``clear``.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    commands : ``In(stream.Signature(CommandLayout()))``
        The program.
    weights : ``In(stream.Signature(port * 8))``
        Weights of Program.
    clear : ``In(1)``
        Forget the error; acted on while ``idle``.
    drives : ``Out(stream.Signature(LoadLayout(config)))``
        To the loader.
    push : ``Out(1)``, ``task`` : ``Out(RetireLayout(config))``
        To retirement.
    retire : ``In(1)``
        A queued command retires.
    sending : ``In(1)``
        A beat of results has not left.
    retired : ``Out(8)``
        Commands that have retired, modulo 256.
    program : ``Out(ProgramSignature(config))``, ``program_array`` : ``Out(arrays)``
        To the arrays, and which of them, a cycle after the beat.
    set_requantize : ``Out(RequantizeWriteLayout())``
        To write back.
    idle, discard, cleared : ``Out(1)``
        Everything dispatched has retired; an error is pending; ``clear`` takes effect.
    running, starved : ``Out(1)``
        From the first command to End, both cycles included; a stream makes it wait.
    error : ``Out(4)``, ``error_position`` : ``Out(32)``
        First error and the position of its command.
    """

    def __init__(self, config: AnalogConfig):
        super().__init__(config, {
            "commands": In(stream.Signature(CommandLayout())),
            "weights": In(stream.Signature(config.port * WORD_BITS)),
            "clear": In(1),
            "drives": Out(stream.Signature(LoadLayout(config))),
            "push": Out(1),
            "task": Out(RetireLayout(config)),
            "retire": In(1),
            "sending": In(1),
            "retired": Out(COUNT_BITS),
            "program": Out(ProgramSignature(config)),
            "program_array": Out(config.arrays),
            "set_requantize": Out(RequantizeWriteLayout()),
            "idle": Out(1),
            "discard": Out(1),
            "cleared": Out(1),
            "running": Out(1),
            "starved": Out(1),
            "error": Out(4),
            "error_position": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        command, valid = Signal(CommandLayout()), Signal()
        position = Signal(32)  # of the command in the register
        failed, finished = Signal(), Signal()  # it is illegal; it leaves the register
        m.d.comb += [
            self.commands.ready.eq((~valid | finished) & ~self.cleared),
            self.discard.eq(self.error != 0),
            self.cleared.eq(self.clear & self.idle & ~valid),
        ]
        with m.If(finished):
            m.d.sync += [valid.eq(0), position.eq(position + 1)]
        with m.If(self.commands.valid & self.commands.ready):
            m.d.sync += [command.eq(self.commands.payload), valid.eq(1)]
        check = place(m, "check", Check, self._config, platform)
        m.d.comb += [
            check.command.eq(command),
            failed.eq(valid & ~self.discard & (check.error != 0)),
        ]
        with m.If(failed):
            m.d.sync += [self.error.eq(check.error), self.error_position.eq(position)]
        with m.If(self.cleared):
            m.d.sync += [self.error.eq(0), self.error_position.eq(0), position.eq(0)]
        self._dispatch(m, platform, command, position, valid & ~self.discard & ~failed,
                       (failed, finished))
        self._run(m, command, valid, finished)
        return m

    def _dispatch(self, m: Module, platform, command, position, go, leaves):
        """Let the command go as soon as it may; number what was dispatched."""
        failed, finished = leaves
        number = Signal(COUNT_BITS)
        flying = Signal(COUNT_BITS)
        is_op = {op: go & (command.opcode == op) for op in AnalogOpcode}
        room, quiet = flying < self._config.in_flight, self.idle & ~self.sending
        programmer = self._program(m, platform, command, is_op, quiet)
        alone = (is_op[AnalogOpcode.ERASE] | is_op[AnalogOpcode.SET_REQUANTIZE]
                 | is_op[AnalogOpcode.END]) & quiet
        moves = (is_op[AnalogOpcode.INPUT] | is_op[AnalogOpcode.OUTPUT]
                 | is_op[AnalogOpcode.READ_SATURATION]) & room
        dispatched, alone_done = Signal(), Signal()
        m.d.comb += [
            flying.eq(number - self.retired),
            self.idle.eq(flying == 0),
            self.drives.valid.eq(is_op[AnalogOpcode.DRIVE] & room),
            self.push.eq((self.drives.valid & self.drives.ready) | moves),
            alone_done.eq(alone | programmer.done),
            dispatched.eq(self.push | alone_done),
            finished.eq(failed | self.discard | dispatched),
        ]
        m.d.sync += [
            number.eq(number + dispatched),
            self.retired.eq(self.retired + (alone_done | self.retire)),
        ]
        self._drive(m, command, position, number)
        self._task(m, command)
        write = self.set_requantize
        m.d.comb += [
            write.en.eq(is_op[AnalogOpcode.SET_REQUANTIZE] & quiet),
            write.slot.eq(command.slot),
            write.parameters.bias.eq(command.row_mask.as_signed()),
            write.parameters.multiplier.eq(command.src),
            write.parameters.shift.eq(command.src_stride),
        ]

    def _program(self, m: Module, platform, command, is_op, quiet):
        """Connect what writes cells and tags."""
        programmer = place(m, "programmer", Programmer, self._config, platform)
        program = programmer.program
        m.d.comb += [
            programmer.start.eq(is_op[AnalogOpcode.PROGRAM] & quiet),
            programmer.row.eq(command.src),
            programmer.col.eq(command.dst),
            programmer.tag.eq(command.depends),
            programmer.weights.valid.eq(self.weights.valid),
            programmer.weights.payload.eq(self.weights.payload),
            self.weights.ready.eq(programmer.weights.ready | self.discard),
        ]
        # A cycle later is early enough, and keeps the weights' port off the cells of all arrays.
        m.d.sync += [
            self.program_array.eq(1 << command.array),
            *(getattr(self.program, name).eq(getattr(program, name))
              for name in ("mark", "tag", "row", "col", "en", "line", "chunk")),
            *(a.eq(b) for a, b in zip(self.program.cells, program.cells, strict=True)),
            self.program.erase.eq(is_op[AnalogOpcode.ERASE] & quiet),
        ]
        self._hungry = programmer.weights.ready & ~self.weights.valid
        return programmer

    def _drive(self, m: Module, command, position, number):
        """Tell the loader what it needs."""
        load = self.drives.payload
        settings = ("bits", "shift", "offset", "round", "row_group_log2", "col_mask")
        m.d.comb += [
            load.array.eq(command.array),
            *(load.settings[name].eq(command[name]) for name in settings),
            load.depends.eq(command.depends),
            load.number.eq(number),
            load.position.eq(position),
            *self._side(load.side, command, "src", command.row_mask),
        ]

    def _side(self, side, command, name: str, mask):
        return [side.mask.eq(mask), side.base.eq(command[name]),
                *(side[field].eq(command[f"{name}_{field}"])
                  for field in ("stride", "jump", "rotation", "block_log2"))]

    def _task(self, m: Module, command):
        """Tell retirement what it needs; Output has its start and count the other way round."""
        task, backwards = self.task, command.opcode == AnalogOpcode.OUTPUT
        m.d.comb += self._side(task.side, command, "dst", command.col_mask)
        m.d.comb += [
            task.array.eq(command.array),
            task.count.eq(Mux(backwards, command.dst, command.src)),
            *(task[name].eq(command[name])
              for name in ("accumulate", "requantize", "slot", "last")),
        ]
        with m.If(backwards):
            m.d.comb += task.side.base.eq(command.src)
        with m.Switch(command.opcode):
            for opcode, kind in _KINDS.items():
                with m.Case(opcode):
                    m.d.comb += task.kind.eq(kind)

    def _run(self, m: Module, command, valid, finished):
        started = Signal()
        accepted = self.commands.valid & self.commands.ready
        ended = valid & finished & (command.opcode == AnalogOpcode.END)
        m.d.comb += [
            self.running.eq((started | accepted) & ~self.discard),
            # Also in the cycle in which the register empties: the next one is lost already.
            self.starved.eq(self._hungry | (started & self.commands.ready & ~self.commands.valid
                                            & ~ended)),
        ]
        with m.If(accepted):
            m.d.sync += started.eq(1)
        with m.If((ended & ~accepted) | self.discard | self.cleared):
            m.d.sync += started.eq(0)
