"""The loader: activations of the drives' rows, from the activation memory to the word lines."""

from amaranth import Cat, Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from cimforge.spec.analog.config import WORD_BITS, AnalogConfig
from cimforge_hw.analog.block import AnalogBlock, ConversionLayout, LoadSignature, index
from cimforge_hw.analog.walk import SideLayout, Walk
from cimforge_hw.common.adder_tree import adder_tree
from cimforge_hw.common.place import place

__all__ = ["COUNT_BITS", "LoadLayout", "Loader"]

#: Commands are numbered modulo 256: no more than 130 are between dispatch and retirement.
COUNT_BITS = 8


class LoadLayout(data.StructLayout):
    """A Drive as dispatched to the loader; ``number`` counts the commands before it."""

    def __init__(self, config: AnalogConfig):
        super().__init__({
            "array": index(config.arrays), "settings": ConversionLayout(config),
            "side": SideLayout(config), "depends": 16, "number": COUNT_BITS, "position": 32})


class Loader(AnalogBlock):
    """Takes drives in order, one ahead; ``port`` rows per cycle.

    A drive is popped when the loader is idle or at its last beat, the array has started its drive
    before, and the command it depends on has retired; beats follow from the next cycle on without
    gaps.

    Parameters
    ----------
    config : AnalogConfig

    Members
    -------
    task : ``In(stream.Signature(LoadLayout(config)))``
        Drives.
    retired : ``In(8)``
        Commands that have retired, modulo 256.
    free : ``In(arrays)``
        Arrays that can take a drive.
    address : ``Out(depth).array(port)``, ``acts`` : ``In(8).array(port)``
        To and from the activation memory, in the same cycle.
    load : ``Out(LoadSignature(config))``
        To all arrays.
    begin, en : ``Out(arrays)``
        Which array ``load`` is for.
    position : ``Out(32)``
        Of the drive whose beat it is.
    beat : ``Out(1)``
        There is one.
    """

    def __init__(self, config: AnalogConfig):
        super().__init__(config, {
            "task": In(stream.Signature(LoadLayout(config))),
            "retired": In(COUNT_BITS),
            "free": In(config.arrays),
            "address": Out(index(config.act_depth)).array(config.port),
            "acts": In(WORD_BITS).array(config.port),
            "load": Out(LoadSignature(config)),
            "begin": Out(config.arrays),
            "en": Out(config.arrays),
            "position": Out(32),
            "beat": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        queue, waiting = Signal(LoadLayout(self._config)), Signal()
        task = Signal(LoadLayout(self._config))
        walk = place(m, "walk", Walk, self._config, platform)
        pop = self._pop(m, queue, waiting, walk)
        with m.If(self.beat & walk.last):
            m.d.sync += self.beat.eq(0)
        with m.If(pop):
            m.d.sync += [task.eq(queue), self.beat.eq(1), waiting.eq(0)]
        with m.If(self.task.valid & self.task.ready):
            m.d.sync += [queue.eq(self.task.payload), waiting.eq(1)]
        load = self.load
        m.d.comb += [
            self.task.ready.eq(~waiting | pop),
            self.begin.eq(pop << queue.array),
            self.en.eq(self.beat << task.array),
            self.position.eq(task.position),
            walk.side.eq(task.side),
            walk.step.eq(self.beat),
            load.begin.eq(pop),
            load.settings.eq(queue.settings),
            load.en.eq(self.beat),
            load.last.eq(walk.last),
            load.grain.eq(walk.grain),
            load.part.eq(walk.part),
            load.sum.eq(adder_tree([act.as_signed() for act in self.acts])),
            *(a.eq(b) for a, b in zip(self.address, walk.address, strict=True)),
            *(bits.eq(Cat(act[t] for act in self.acts)) for t, bits in enumerate(load.bits)),
        ]
        return m

    def _pop(self, m: Module, queue, waiting, walk) -> Signal:
        pop, before, met = Signal(), Signal(COUNT_BITS), Signal()
        m.d.comb += [
            before.eq(queue.number - self.retired),  # commands before it that have not retired
            met.eq((queue.depends == 0) | (before < queue.depends)),
            pop.eq(waiting & (~self.beat | walk.last) & met
                   & ((self.free >> queue.array) & 1)),
        ]
        return pop
