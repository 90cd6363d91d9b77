"""What every block of the analog tile has: a configuration, and layouts that several share."""

from amaranth import Module, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from cimforge.spec.analog.commands import FIELDS
from cimforge.spec.analog.config import WORD_BITS, AnalogConfig
from cimforge_hw.common.bit_slices import WORD

__all__ = [
    "ROWS", "AnalogBlock", "CommandLayout", "ConversionLayout", "LoadSignature",
    "ProgramSignature", "follow", "index", "line_words", "part_of", "sums_bits",
]

#: Cells, or word lines, that share a word.
ROWS = WORD // WORD_BITS


class AnalogBlock(wiring.Component):
    """A component that is built from an :class:`AnalogConfig` alone."""

    def __init__(self, config: AnalogConfig, members: dict):
        self._config = config
        super().__init__(members)

    @property
    def config(self) -> AnalogConfig:
        """Parameters this instance was built from."""
        return self._config


def part_of(signature: wiring.Signature, *names: str) -> wiring.Signature:
    """Return the signature of a block that needs some of a bus only."""
    return wiring.Signature({name: signature.members[name] for name in names})


def follow(m: Module, target, source) -> None:
    """Drive every member of an interface by the one of the same name of another.

    Unlike ``wiring.connect`` it minds no directions: several blocks may listen to one bus.
    """
    for path, _, value in target.signature.flatten(target):
        other = source
        for step in path:
            other = getattr(other, step) if isinstance(step, str) else other[step]
        m.d.comb += Value.cast(value).eq(other)


def index(count: int) -> range:
    """Return the shape of an index of ``count`` things; Verilog has no signals of no bits."""
    return range(max(2, count))


def line_words(config: AnalogConfig) -> int:
    """Return how many words the word lines take: eight rows in each, and each row eight times.

    Eight-bit cells lie in a column's words in the same way, and no port exceeds a word.
    """
    return config.array // ROWS


class CommandLayout(data.StructLayout):
    """A command word; fields that commands use under other names: :mod:`.commands` of the spec."""

    def __init__(self):
        super().__init__(dict(FIELDS))


def sums_bits(config: AnalogConfig) -> int:
    """Return the width of one column's sums, plane 0 lowest.

    They travel as plain bits: Amaranth would name every element of hundreds of layouts.
    """
    return config.sum_bits * config.planes


class ConversionLayout(data.StructLayout):
    """What an array must know of a drive besides its activations."""

    def __init__(self, config: AnalogConfig):
        super().__init__({"bits": 5, "shift": 4, "offset": 12, "round": 1, "row_group_log2": 4,
                          "col_mask": config.grains})


class LoadSignature(wiring.Signature):
    """Activation bus: ``begin`` announces a drive, ``en`` brings ``port`` of its rows.

    Row grains ascend. ``bits[t]`` are bits t of the rows' activations, lowest row first, ``sum`` is
    their sum.
    """

    def __init__(self, config: AnalogConfig):
        super().__init__({
            "begin": Out(1),
            "settings": Out(ConversionLayout(config)),
            "en": Out(1),
            "last": Out(1),  # beat of the drive
            "grain": Out(index(config.grains)),
            "part": Out(index(config.grain_beats)),  # of the grain
            "bits": Out(config.port).array(WORD_BITS),
            "sum": Out(signed(WORD_BITS + config.port.bit_length())),
        })


class ProgramSignature(wiring.Signature):
    """Programming bus.

    ``erase`` forgets all tags and cells, ``mark`` sets a grain square's tag, ``en`` writes ``port``
    cells of a row.
    """

    def __init__(self, config: AnalogConfig):
        super().__init__({
            "erase": Out(1),
            "mark": Out(1),
            "tag": Out(WORD_BITS),
            "row": Out(index(config.grains)),
            "col": Out(index(config.grains)),
            "en": Out(1),
            "line": Out(range(config.array)),
            "chunk": Out(index(config.array // config.port)),  # of ``port`` columns
            "cells": Out(WORD_BITS).array(config.port),  # offset binary
        })
