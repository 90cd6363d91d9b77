"""Predicted cycles and slot use, exact and without placing a weight."""

from dataclasses import dataclass

import numpy as np

from cimforge.spec.commands import Command, End, LoadSelects, LoadWeights
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.mode import Mode
from cimforge.spec.program import LayerProgram
from cimforge.spec.timing import Schedule, timeline
from cimforge_sw.compile.loop import Loop
from cimforge_sw.compile.tiling import Tiling

__all__ = [
    "Estimate", "estimate", "layer_cycles", "loop_cycles", "resident_cycles", "slot_use_by_group",
]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Cycles of a compiled layer with streams that are always ready.

    Attributes
    ----------
    cycles : int
        Weights streamed: what the tile's counter will say.
    resident_cycles : int
        Every tile's weights in place; see :func:`resident_cycles`.
    compute : int
        Cycles in which the macro takes a slice; the same in both cases.
    """

    cycles: int
    resident_cycles: int
    compute: int

    @property
    def busy(self) -> float:
        """Share of the cycles in which the macro computes, weights streamed."""
        return self.compute / self.cycles

    @property
    def resident_busy(self) -> float:
        """The same with the weights in place."""
        return self.compute / self.resident_cycles


def _without_loads(commands: list[Command]) -> list[Command]:
    return [c for c in commands if not isinstance(c, (LoadWeights, LoadSelects))]


def resident_cycles(config: DcimConfig, layer: LayerProgram) -> int:
    """Return the cycles if the weights of every tile were in place when it is computed.

    Defined as the cycles of the layer's commands without its LoadWeights and LoadSelects:
    activations are still loaded, results still leave.
    """
    return timeline(config, _without_loads(layer.commands)).end


def estimate(config: DcimConfig, layer: LayerProgram) -> Estimate:
    """Return the cycles of a compiled layer, weights streamed and in place."""
    time = timeline(config, layer.commands)
    return Estimate(cycles=time.end, resident_cycles=resident_cycles(config, layer),
                    compute=time.compute)


def slot_use_by_group(config: DcimConfig, layer: LayerProgram) -> dict[int, float]:
    """Return the slot use that the layer would have with each G that can run it."""
    def cells(mode: Mode) -> int:
        return Tiling(config, mode, layer.outputs, layer.inputs, layer.passes).cells

    kept = layer.slot_use * cells(layer.mode)
    modes = [mode for mode in config.modes if (mode.n, mode.m) == (layer.mode.n, layer.mode.m)]
    return {mode.group: kept / cells(mode) for mode in modes}


class _Runner:
    """The recurrence of :mod:`cimforge.spec.timing`, with a way to skip what repeats.

    The recurrence only adds constants and takes maxima, so it does not depend on absolute time:
    from equal states, relative to now, equal commands lead to equal states. And nothing older than
    the last accepted command matters, because all comparisons are with later cycles.
    """

    def __init__(self, config: DcimConfig):
        self.schedule = Schedule(config)
        self._skip = {"config", "time", "rows"}  # rows: read by then, see loop_cycles

    def _state(self) -> dict[str, list[int]]:
        return {name: value if isinstance(value, list) else [value]
                for name, value in vars(self.schedule).items() if name not in self._skip}

    @property
    def now(self) -> int:
        return self.schedule.accept

    def key(self) -> tuple[int, ...]:
        """Return the state relative to now."""
        return tuple(max(value - self.now, 0) for values in self._state().values()
                     for value in values)

    def advance(self, cycles: int):
        """Let ``cycles`` pass in which the state repeats."""
        for name, values in self._state().items():
            moved = [value + cycles for value in values]
            single = not isinstance(getattr(self.schedule, name), list)
            setattr(self.schedule, name, moved[0] if single else moved)

    def run(self, commands: list[Command]):
        for command in commands:
            self.schedule.step(command)


def loop_cycles(loop: Loop) -> int:
    """Return the cycles of a loop whose tiles all take the same number of steps.

    Equal to :func:`cimforge.spec.timing.cycles` of its commands, in time that hardly depends on
    the number of outputs: once a block of outputs has left the schedule in a state it was in
    before, blocks repeat with that period. The last block is never skipped, since its loads
    differ; the first block of a chunk reads every window, so none is pending after it.
    """
    tiling = loop.tiling
    size, runner = tiling.tiles_per_block, _Runner(tiling.config)
    for chunk in range(len(loop.chunks)):
        seen: dict[tuple[int, ...], tuple[int, int]] = {}
        block = 0
        while block < tiling.blocks:
            first = chunk * tiling.tiles + block * size
            for i in range(first, first + size):
                runner.run(loop.at(i))
            block += 1
            key = (*runner.key(), (first + size) % tiling.config.weight_banks)
            before, then = seen.setdefault(key, (block, runner.now))
            if before < block:
                times = max(tiling.blocks - 1 - block, 0) // (block - before)
                runner.advance(times * (runner.now - then))
                block += times * (block - before)
                seen.clear()
    runner.run([End()])
    return runner.schedule.time.end


def layer_cycles(config: DcimConfig, outputs: int, inputs: int, n: int, tokens: int, group: int,
                 *, m: int | None = None, passes: int = 1, steps: int = 1) -> int:
    """Return the cycles of a layer from its shape alone, equal to those of its program.

    Parameters
    ----------
    config : DcimConfig
        The hardware.
    outputs, inputs, tokens : int
        O, K and T.
    n, m, group : int
        Mode; m is the configuration's ``max_m`` unless given.
    passes, steps : int
        Passes of the layer, and select steps of each of its tiles.

    Raises
    ------
    ConfigError
        If the configuration does not have the mode.
    DataError
        If the layer does not fit the activation buffer.
    """
    mode = Mode(n, config.max_m if m is None else m, group)
    if mode not in config.modes:
        raise ConfigError(f"mode must be one of the configuration's, not {mode}")
    if min(outputs, inputs, tokens) < 1:
        raise DataError(f"outputs, inputs and tokens must be at least 1, not "
                        f"{outputs}, {inputs} and {tokens}")
    tiling = Tiling(config, mode, outputs, inputs, passes)
    if not tiling.fits:
        raise DataError(f"{tiling.windows} windows per token, but the activation buffer holds "
                        f"{tiling.usable_rows}")
    return loop_cycles(Loop(tiling, tokens, np.full(tiling.tiles, steps, dtype=np.int64)))
