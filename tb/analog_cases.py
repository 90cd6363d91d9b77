"""Programs for the analog tile that a scheduler might write, and worse ones."""

from dataclasses import replace

import numpy as np

from cimforge.spec.analog.commands import (
    AnalogCommand,
    Drive,
    End,
    Input,
    Output,
    Program,
    ReadSaturation,
    SetRequantize,
)
from cimforge.spec.analog.config import AnalogConfig
from cimforge_verif.analog.vectors import AnalogVectors

__all__ = ["diagonals", "full_scale", "linear"]


def _vectors(config: AnalogConfig, commands: list[AnalogCommand], rng, name: str) -> AnalogVectors:
    """Return vectors with random data."""
    beats = (sum(config.program_beats for c in commands if isinstance(c, Program)),
             sum(c.count for c in commands if isinstance(c, Input)))
    weights, acts = (rng.integers(-128, 128, (n, config.port), dtype=np.int8) for n in beats)
    return AnalogVectors(config, commands, weights, acts, name)


def _programmed(config: AnalogConfig, tags: np.ndarray) -> list[AnalogCommand]:
    return [Program(array=array, row=row, col=col, tag=int(tags[array, row, col]))
            for array, row, col in np.argwhere(tags).tolist()]


def _whole(config: AnalogConfig, array: int, bits: int, **fields) -> Drive:
    full = (1 << config.grains) - 1
    return Drive(array=array, row_mask=full, col_mask=full, bits=bits, src_jump=config.grain,
                 dst_jump=config.grain, **fields)


def linear(config: AnalogConfig, rng, bits: int = 0, tokens: int = 3) -> AnalogVectors:
    """Return a layer of a dense tile per array, one token after the other, all arrays at once.

    The first array's sums start a token, the others' are added.
    """
    m, beats = config.array, config.array // config.port
    tags = np.ones((config.arrays, config.grains, config.grains), dtype=int)
    commands = _programmed(config, tags)
    inputs = min(config.arrays, config.act_depth // m)
    for _ in range(tokens):
        commands += [Input(dst=i * m, count=beats) for i in range(inputs)]
        commands += [_whole(config, array, bits or config.adc_bits, src=array % inputs * m, dst=0,
                            accumulate=array > 0, depends=inputs + array - array % inputs)
                     for array in range(config.arrays)]
        commands.append(Output(src=0, count=beats))
    reads = [ReadSaturation(array=array) for array in range(config.arrays)]
    return _vectors(config, [*commands, *reads, End()], rng, f"linear, {bits} bits")


def diagonals(config: AnalogConfig, rng, whole: bool = False) -> AnalogVectors:
    """Return two stages of blocks of a grain on all diagonals of an array, as in a dense mapping.

    Block row k meets diagonal i at column (k + i) mod n: drives take a row at a time, and the
    rotation of the result is undone at its address. The results are requantized and driven again.
    With ``whole`` the array is driven at once, which mixes blocks.
    """
    n, grain = config.grains, config.grain
    tags = np.zeros((config.arrays, n, n), dtype=int)
    tags[0] = 1 + (np.arange(n)[None] - np.arange(n)[:, None]) % n
    commands = _programmed(config, tags)
    commands += [SetRequantize(slot=0, bias=5, multiplier=3, shift=12),
                 Input(dst=0, count=config.array // config.port)]
    given = len(commands) - 1
    if whole:
        commands.append(_whole(config, 0, config.adc_bits, src=0, dst=0, depends=1))
    for row in range(n):
        # Even rows wait for the one before, which writes activations, and odd ones for as much.
        depends = len(commands) - given if row < 2 else 1 + row % 2
        commands.append(Drive(array=0, row_mask=1 << row, col_mask=(1 << n) - 1, src=0, dst=0,
                              bits=config.adc_bits, src_jump=grain, dst_jump=1, dst_stride=n,
                              dst_rotation=row, requantize=row % 2 > 0, accumulate=row > 0,
                              depends=depends))
    commands.append(Output(src=0, count=config.array // config.port))
    return _vectors(config, [*commands, End()], rng, "diagonals")


def full_scale(config: AnalogConfig, rng) -> list[AnalogVectors]:
    """Return the largest sums of both signs, and zeros."""
    made = []
    for weight, act in ((-128, -128), (127, -128), (-128, 127), (0, 0)):
        vectors = linear(config, rng, tokens=1)
        vectors.weights[:], vectors.acts[:] = weight, act
        made.append(replace(vectors, name=f"weights {weight}, activations {act}"))
    return made
