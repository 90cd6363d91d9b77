"""Random legal programs for the analog tile, most of which no scheduler would write."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from cimforge.spec.analog.address import destination, last_address, lines, source
from cimforge.spec.analog.commands import (
    AnalogCommand,
    Drive,
    End,
    Erase,
    Input,
    Output,
    Program,
    ReadSaturation,
    SetRequantize,
)
from cimforge.spec.analog.config import AnalogConfig
from cimforge_verif.analog.vectors import AnalogVectors

__all__ = ["random_program"]


class _Writer:
    """Writes commands; knows which words of the memories are written, and by which command."""

    def __init__(self, config: AnalogConfig, rng: np.random.Generator, pulses: int):
        self.config, self.rng, self.pulses = config, rng, pulses
        self.commands: list[AnalogCommand] = []
        self.streams: dict[str, list[np.ndarray]] = {"weights": [], "acts": []}
        self.writer = np.full(config.act_depth, -1)  # command that wrote an activation last
        self.summed = np.zeros(config.acc_depth, dtype=bool)

    def pick(self, low: int, high: int) -> int:
        """Return an integer of a range, both ends included."""
        return int(self.rng.integers(low, high, endpoint=True))

    def flip(self, probability: float = 0.5) -> bool:
        return bool(self.rng.random() < probability)

    def stream(self, name: str, beats: int) -> None:
        kind = self.pick(0, 9)
        values = self.rng.integers(-128, 128, (beats, self.config.port), dtype=np.int8)
        self.streams[name].append(np.full_like(values, (-128, 127, -1)[kind]) if kind < 3
                                  else values)

    def program(self) -> None:
        grains = self.config.grains
        self.commands.append(Program(
            array=self.pick(0, self.config.arrays - 1), row=self.pick(0, grains - 1),
            col=self.pick(0, grains - 1), tag=self.pick(1, 255) if self.flip(0.2) else 1))
        self.stream("weights", self.config.program_beats)

    def input(self, dst: int, count: int) -> None:
        self.writer[dst:dst + count * self.config.port] = len(self.commands)
        self.commands.append(Input(dst=dst, count=count))
        self.stream("acts", count)

    def some_input(self) -> None:
        most = self.config.act_depth // self.config.port
        count = self.pick(1, min(most, 12))
        self.input(self.pick(0, self.config.act_depth - count * self.config.port), count)

    def side(self, name: str) -> dict[str, Any]:
        """Return a side of a drive with distinct addresses from 0 on."""
        grains = self.config.grains
        block = 1 << self.pick(0, grains.bit_length() - 1)
        stride, size = self.pick(1, 3), block * self.config.grain
        if self.flip(0.3):  # blocks interleaved
            stride, jump = grains // block, 1
        else:
            jump = stride * size + self.pick(0, 3)
        return {f"{name}_stride": stride, f"{name}_jump": jump, f"{name}_block": block,
                f"{name}_rotation": self.pick(0, 31)}

    def mask(self) -> int:
        full = (1 << self.config.grains) - 1
        return full if self.flip(0.3) else self.pick(1, full)

    def drive(self) -> None:
        """Append a drive that fits the memories; tries until one does."""
        config = self.config
        while True:
            drive = Drive(array=self.pick(0, config.arrays - 1), row_mask=self.mask(),
                          col_mask=self.mask(), src=0, dst=0, bits=1, **self.side("src"),
                          **self.side("dst"))
            requantize, accumulate = self.flip(0.4), self.flip()
            sources, targets = source(drive), destination(drive)
            ends = last_address(config, sources), last_address(config, targets)
            room = [config.act_depth if requantize else config.acc_depth]
            room += [config.acc_depth] * accumulate
            if ends[0] < config.act_depth and ends[1] < min(room):
                break
        drive = replace(drive, src=self.pick(0, config.act_depth - 1 - ends[0]),
                        dst=self.pick(0, min(room) - 1 - ends[1]), requantize=requantize,
                        slot=self.pick(0, config.requantizers - 1))
        drive = self.settings(drive)
        written = lines(config, destination(drive))[1]
        drive = replace(drive, accumulate=accumulate and bool(self.summed[written].all()),
                        depends=self.depends(lines(config, source(drive))[1]))
        if requantize:
            self.writer[written] = len(self.commands)
        else:
            self.summed[written] = True
        self.commands.append(drive)

    def settings(self, drive: Drive) -> Drive:
        """Choose how to convert: exactly, or with everything that loses something."""
        config = self.config
        if self.flip(0.4):
            return replace(drive, bits=config.adc_bits)
        rows = drive.row_mask.bit_count() * config.grain
        least = max(1, -(-rows // self.pulses))  # rows of a pulse
        least = (least - 1).bit_length()
        return replace(
            drive, bits=self.pick(1, config.adc_bits), shift=self.pick(0, 15 if self.flip(0.1)
                                                                       else 3),
            offset=self.pick(0, 4095) if self.flip(0.1) else self.pick(0, 3), round=self.flip(),
            row_group=1 << self.pick(least, max(least, config.array.bit_length())))

    def depends(self, addresses: np.ndarray) -> int:
        last = int(self.writer[addresses].max())
        least = len(self.commands) - last
        return 0 if last < 0 else self.pick(1, least) if self.flip(0.2) else least

    def output(self) -> None:
        """Append an Output of sums that are there."""
        port = self.config.port
        starts = np.flatnonzero(np.convolve(self.summed, np.ones(port), "valid") == port)
        if len(starts):
            start = int(self.rng.choice(starts))
            most = 1
            while self.summed[start:start + (most + 1) * port].all() and (
                    start + (most + 1) * port <= self.config.acc_depth):
                most += 1
            self.commands.append(Output(src=start, count=self.pick(1, most), last=self.flip()))

    def set_requantize(self, slot: int) -> None:
        self.commands.append(SetRequantize(
            slot=slot, bias=self.pick(-1 << 31, (1 << 31) - 1) if self.flip(0.1)
            else self.pick(-500, 500), multiplier=self.pick(0, (1 << 16) - 1),
            shift=self.pick(14, 28) if self.flip(0.9) else self.pick(0, 47)))

    def step(self) -> None:
        array = self.pick(0, self.config.arrays - 1)
        steps = ((0.50, self.drive), (0.62, self.some_input), (0.74, self.program),
                 (0.88, self.output),
                 (0.93, lambda: self.set_requantize(self.pick(0, self.config.requantizers - 1))),
                 (0.98, lambda: self.commands.append(ReadSaturation(array=array,
                                                                    last=self.flip()))),
                 (1.0, lambda: self.commands.append(Erase(array=array))))
        choice = self.rng.random()
        next(step for limit, step in steps if choice < limit)()


def random_program(config: AnalogConfig, rng: np.random.Generator, length: int,
                   pulses: int = 8) -> AnalogVectors:
    """Return a random legal program of about ``length`` commands.

    Parameters
    ----------
    config : AnalogConfig
    rng : Generator
    length : int
        Besides what fills the activation memory and the requantizers, and End.
    pulses : int
        Most row groups of a drive, which then takes so many times as long.
    """
    writer = _Writer(config, rng, pulses)
    port, depth = config.port, config.act_depth
    writer.input(0, depth // port)
    if depth % port:
        writer.input(depth - port, 1)
    for slot in range(config.requantizers):
        writer.set_requantize(slot)
    for _ in range(2 * config.arrays):
        writer.program()
    for _ in range(length):
        writer.step()
    beats = {name: _joined(parts, port) for name, parts in writer.streams.items()}
    return AnalogVectors(config, [*writer.commands, End()], **beats,
                         name="random program")


def _joined(parts: Iterable[np.ndarray], port: int) -> np.ndarray:
    return np.concatenate([np.zeros((0, port), dtype=np.int8), *parts])
