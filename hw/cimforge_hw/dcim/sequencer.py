"""The sequencer: takes commands, checks them in program order, hands them to the engines."""

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.commands import Opcode
from cimforge.spec.config import DcimConfig
from cimforge_hw.common.place import place
from cimforge_hw.dcim.activation_buffer import LoadActsLayout
from cimforge_hw.dcim.check import Check, CommandLayout
from cimforge_hw.dcim.drain import RequantizeWriteLayout
from cimforge_hw.dcim.issue import ComputeLayout
from cimforge_hw.dcim.weight_loader import LoadWeightsLayout

__all__ = ["Sequencer"]


class Sequencer(wiring.Component):
    """Dispatches at most one command per cycle, in order; an illegal one stops the program.

    After an error nothing more is dispatched: commands are accepted and forgotten, and
    ``discard`` tells the loaders to do the same with their data, until ``clear``. What was
    dispatched before finishes.

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    commands : ``In(stream.Signature(CommandLayout()))``
        The program.
    clear : ``In(1)``
        Forget the error and the banks; acted on while ``drained``.
    load_weights, load_acts, compute : ``Out(stream.Signature(...))``
        To the engines.
    set_requantize : ``Out(RequantizeWriteLayout())``
        To the drain.
    compute_idle : ``In(1)``
        No Compute is queued and all its windows have been read.
    drained : ``In(1)``
        Engines, pipeline and output are empty.
    discard, cleared : ``Out(1)``
        An error is pending; ``clear`` takes effect.
    running : ``Out(1)``
        From the first command to End, both cycles included.
    starved : ``Out(1)``
        Running, and no command to work on.
    error : ``Out(4)``, ``error_position`` : ``Out(32)``
        First error and the position of its command.
    """

    def __init__(self, config: DcimConfig):
        self._config = config
        super().__init__({
            "commands": In(stream.Signature(CommandLayout())),
            "clear": In(1),
            "load_weights": Out(stream.Signature(LoadWeightsLayout(config))),
            "load_acts": Out(stream.Signature(LoadActsLayout(config))),
            "compute": Out(stream.Signature(ComputeLayout(config))),
            "set_requantize": Out(RequantizeWriteLayout()),
            "compute_idle": In(1),
            "drained": In(1),
            "discard": Out(1),
            "cleared": Out(1),
            "running": Out(1),
            "starved": Out(1),
            "error": Out(4),
            "error_position": Out(32),
        })

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        command, valid = Signal(CommandLayout()), Signal()
        position = Signal(32)  # of the command in the register
        failed, finished = Signal(), Signal()  # this command is illegal; it leaves the register
        m.d.comb += [
            self.commands.ready.eq((~valid | finished) & ~self.cleared),
            self.discard.eq(self.error != 0),
            self.cleared.eq(self.clear & self.drained & ~valid),
        ]
        with m.If(finished):
            m.d.sync += [valid.eq(0), position.eq(position + 1)]
        with m.If(self.commands.valid & self.commands.ready):
            m.d.sync += [command.eq(self.commands.payload), valid.eq(1)]
        self._check(m, platform, command, valid, failed, finished)
        self._dispatch(m, command, valid & ~self.discard & ~failed, failed, finished)
        with m.If(failed):
            m.d.sync += self.error_position.eq(position)
        with m.If(self.cleared):
            m.d.sync += [self.error.eq(0), self.error_position.eq(0), position.eq(0)]
        self._run(m, command, valid, finished)
        return m

    def _check(self, m: Module, platform, command, valid, failed, finished):
        """Judge the command by what the program has loaded before it."""
        cfg = self._config
        check = place(m, "check", Check, cfg, platform)
        loaded = Signal(2)
        steps = [Signal(12, name=f"steps_{bank}") for bank in range(2)]
        m.d.comb += [
            check.command.eq(self.commands.payload),
            check.take.eq(self.commands.valid & self.commands.ready),
            check.loaded.eq(loaded),
            check.steps.eq(Cat(*steps).word_select(command.bank, 12)),
            failed.eq(valid & ~self.discard & (check.error != 0)),
        ]
        with m.If(failed):
            m.d.sync += self.error.eq(check.error)
        with m.If(finished & ~failed & ~self.discard):
            for bank in range(cfg.weight_banks):
                with m.If(command.bank == bank):
                    with m.If(command.opcode == Opcode.LOAD_WEIGHTS):
                        m.d.sync += loaded[bank].eq(1)
                    with m.If(command.opcode == Opcode.LOAD_SELECTS):
                        m.d.sync += steps[bank].eq(command.steps)
                    with m.If((command.opcode == Opcode.COMPUTE) & command.release):
                        m.d.sync += loaded[bank].eq(0)  # its select steps stay
        with m.If(self.cleared):
            m.d.sync += [loaded.eq(0), *(count.eq(0) for count in steps)]

    def _dispatch(self, m: Module, command, go, failed, finished):
        """Offer the command to its engine; it leaves when the engine takes it."""
        is_op = {op: go & (command.opcode == op) for op in Opcode}
        load = is_op[Opcode.LOAD_WEIGHTS] | is_op[Opcode.LOAD_SELECTS]
        drained_op = is_op[Opcode.SET_REQUANTIZE] | is_op[Opcode.END]
        m.d.comb += [
            self.load_weights.valid.eq(load),
            self.load_weights.payload.bank.eq(command.bank),
            self.load_weights.payload.selects.eq(command.opcode == Opcode.LOAD_SELECTS),
            self.load_weights.payload.steps.eq(command.steps),
            self.load_acts.valid.eq(is_op[Opcode.LOAD_ACTS] & self.compute_idle),
            self.load_acts.payload.row.eq(command.row),
            self.load_acts.payload.count.eq(command.count),
            self.load_acts.payload.beats.eq(command.stride),
            self.compute.valid.eq(is_op[Opcode.COMPUTE]),
            self.set_requantize.en.eq(is_op[Opcode.SET_REQUANTIZE] & self.drained),
            self.set_requantize.output.eq(command.row),
            self.set_requantize.parameters.bias.eq(command.bias),
            self.set_requantize.parameters.multiplier.eq(command.count),
            self.set_requantize.parameters.shift.eq(command.steps),
            finished.eq(
                failed | self.discard | (drained_op & self.drained)
                | (self.load_weights.valid & self.load_weights.ready)
                | (self.load_acts.valid & self.load_acts.ready)
                | (self.compute.valid & self.compute.ready)),
        ]
        task = self.compute.payload
        for name in ("bank", "first", "last", "requantize", "release", "steps", "row", "stride",
                     "count", "acc"):
            m.d.comb += task[name].eq(command[name])
        for name in ("n", "m_log2", "group_log2"):
            m.d.comb += task.mode[name].eq(command[name])

    def _run(self, m: Module, command, valid, finished):
        started = Signal()
        accepted = self.commands.valid & self.commands.ready
        ended = valid & finished & (command.opcode == Opcode.END)
        m.d.comb += [
            self.running.eq((started | accepted) & ~self.discard),
            # Also in the cycle in which the register empties: the next one is lost already.
            self.starved.eq(started & self.commands.ready & ~self.commands.valid & ~ended),
        ]
        with m.If(accepted):
            m.d.sync += started.eq(1)
        with m.If((ended & ~accepted) | self.discard | self.cleared):
            m.d.sync += started.eq(0)
