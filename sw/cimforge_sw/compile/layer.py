"""One layer: choose mode and tiling by predicted cycles, place the weights, emit the commands."""

from dataclasses import replace

import numpy as np

from cimforge.spec.commands import Compute
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.mode import Mode
from cimforge.spec.pattern import NmPattern
from cimforge.spec.program import LayerProgram, check_layer_name
from cimforge.spec.timing import timeline
from cimforge_sw.compile.bound import contenders
from cimforge_sw.compile.estimate import loop_cycles
from cimforge_sw.compile.loop import Loop
from cimforge_sw.compile.patterns import check_pattern, check_weight, wanted_patterns
from cimforge_sw.compile.place import Placement, place
from cimforge_sw.compile.tiling import Tiling

__all__ = ["compile_layer", "retarget_layer"]


def compile_layer(config: DcimConfig, name: str, weight: np.ndarray, pattern: NmPattern,
                  tokens: int, group: int | None = None, mode: NmPattern | str | None = None,
                  kept: int | None = None) -> LayerProgram:
    """Compile ``y[T, O] = x[T, K] @ W.T``; how it runs is described at :class:`Loop`.

    Parameters
    ----------
    config : DcimConfig
        The hardware.
    name : str
        Of the layer, for messages.
    weight : ndarray of integers, shape (O, K)
        Within ``weight_bits``.
    pattern : NmPattern
        What the weights claim to keep to; checked.
    tokens : int
        T.
    group : int, optional
        G; without it, the one with fewest predicted cycles. Of equals the one with fewer passes,
        then the larger G.
    mode : NmPattern or str, optional
        N:M to run, such as ``"4:8"``, in as many passes as that takes, or ``"fastest"``;
        :func:`wanted_patterns` says what is taken without it.
    kept : int, optional
        Weights that the pruner kept, for the slot use; without it, the nonzero ones.

    Returns
    -------
    LayerProgram

    Raises
    ------
    DataError, ConfigError
        If name, weights, pattern or tokens are unusable, the layer does not fit the buffers, or the
        configuration has no such ``group`` or ``mode``.
    """
    check_layer_name(name)
    weight = np.asarray(weight)
    check_weight(config, name, weight, tokens)
    check_pattern(name, weight, pattern)
    weight = weight.astype(np.int8, copy=False)
    patterns = wanted_patterns(config, name, weight, pattern, group, mode)
    placement = _fastest(weight, tokens, _tilings(config, name, weight, patterns, group))
    used = int(np.count_nonzero(weight)) if kept is None else kept
    return _program(name, str(pattern), placement, tokens, used / placement.tiling.cells)


def _tilings(config: DcimConfig, name: str, weight: np.ndarray, patterns: dict[NmPattern, int],
             group: int | None) -> list[Tiling]:
    """Return every tiling to choose from."""
    outputs, inputs = weight.shape
    tilings = [Tiling(config, Mode(choice.n, choice.m, g), outputs, inputs, passes)
               for choice, passes in patterns.items() for g in config.groups
               if Mode(choice.n, choice.m, g) in config.modes and group in (None, g)]
    fitting = [tiling for tiling in tilings if tiling.fits]
    if not fitting:
        windows, rows = min(tiling.windows for tiling in tilings), tilings[0].usable_rows
        limit = f"act_depth = {rows}" if rows == config.act_depth else (
            f"act_depth = {config.act_depth}, of which a command counts {rows}")
        raise DataError(f"{name}: {inputs} inputs take {windows} windows per token, but "
                        f"the activation buffer holds {limit}")
    return fitting


def _fastest(weight: np.ndarray, tokens: int, tilings: list[Tiling]) -> Placement:
    """Place the tiling that takes fewest cycles.

    One step per tile is the least a tiling can take, and with ``line`` exact; only those that
    this bound does not rule out are placed.
    """
    if tilings[0].config.select == "line":
        bounds = contenders(tilings, tokens)
    else:
        bounds = {tiling: loop_cycles(Loop(tiling, tokens, np.ones(tiling.tiles, dtype=np.int64)))
                  for tiling in tilings}
    placed: dict[tuple[int, ...], Placement] = {}  # by cycles, fewer passes, the larger G
    order = [((bound, tiling.passes, -tiling.mode.group), tiling)
             for tiling, bound in bounds.items()]
    for bound, tiling in sorted(order, key=lambda item: item[0]):
        if placed and bound >= min(placed):
            break
        placement, cycles = place(tiling, weight), bound[0]
        if len(tilings) > 1 and (placement.steps != 1).any():
            loop = Loop(tiling, tokens, placement.steps)
            cycles = timeline(tiling.config, list(loop.commands())).end
        placed.setdefault((cycles, *bound[1:]), placement)
    return placed[min(placed)]


def _program(name: str, pattern: str, placement: Placement, tokens: int,
             slot_use: float) -> LayerProgram:
    tiling = placement.tiling
    loop = Loop(tiling, tokens, placement.steps)
    return LayerProgram(
        name=name, outputs=tiling.outputs, inputs=tiling.inputs, tokens=tokens,
        pattern=pattern, mode=tiling.mode, commands=list(loop.commands()),
        weights=np.tile(placement.stream, (loop.loads // tiling.tiles, 1)),
        windows=loop.windows(), results=loop.results(), slot_use=slot_use, passes=tiling.passes)


def retarget_layer(config: DcimConfig, layer: LayerProgram, tokens: int) -> LayerProgram:
    """Recompile for another number of tokens, in the same mode and with the same placement.

    Parameters
    ----------
    config : DcimConfig
        The one it was compiled for.
    layer : LayerProgram
        A compiled layer; it is not changed.
    tokens : int
        The new T.

    Returns
    -------
    LayerProgram

    Raises
    ------
    DataError
        If ``tokens`` is not an integer of at least 1, or the layer was not compiled for
        ``config``.
    """
    check_weight(config, layer.name, np.zeros((1, layer.inputs), dtype=np.int8), tokens)
    tiling = Tiling(config, layer.mode, layer.outputs, layer.inputs, layer.passes)
    steps = np.array([c.steps for c in layer.commands if isinstance(c, Compute)][:tiling.tiles],
                     dtype=np.int64)
    beats = tiling.tiles * config.weight_beats + int(steps.sum()) * config.select_beats
    width = -(-config.weight_beat_bits // 8)
    if layer.mode not in config.modes or layer.weights.shape[1:] != (width,) or (
            len(layer.weights) % beats):
        raise DataError(f"{layer.name}: compiled for another configuration")
    placement = Placement(tiling, layer.weights[:beats], steps)
    made = _program(layer.name, layer.pattern, placement, tokens, layer.slot_use)
    return replace(made, weights=layer.weights) if len(made.weights) == len(layer.weights) else made
