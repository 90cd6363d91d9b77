"""Layers on the analog tile in all five mappings: programs that the RTL must carry out."""

import numpy as np

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.analog.program import AnalogProgram
from cimforge_sw.analog.factors import Matrix
from cimforge_sw.analog.hybrid import hybrid
from cimforge_sw.analog.mappings import MAPPINGS
from cimforge_sw.analog.placement import Mapping
from cimforge_sw.analog.schedule import Precision, schedule
from cimforge_verif.analog import linear, monarch
from cimforge_verif.analog.vectors import AnalogVectors

__all__ = ["FIVE", "SCALE", "exact", "mapped", "scheduled", "small_integers", "vectors_of",
           "weights_of"]

FIVE = (*MAPPINGS, "hybrid")
#: Requantizer between the stages.
SCALE = (3, 9000, 19)


def mapped(name: str, matrices: list[Matrix], config: AnalogConfig) -> Mapping:
    """Return a mapping; a hybrid within the tile's arrays, with Monarch integers."""
    if name == "hybrid":
        return hybrid(matrices, config, config.arrays, linear=False)
    return MAPPINGS[name](matrices, config.array, config.grain)


def weights_of(matrix: Matrix, rng: np.random.Generator) -> dict[tuple[str, str], np.ndarray]:
    """Return random INT8 weights: of the dense matrix, and of both factors."""
    def draw(*shape: int) -> np.ndarray:
        return rng.integers(-127, 128, shape, dtype=np.int8)

    k, j, r = matrix.blocks_in, matrix.blocks_out, matrix.rank
    return {(matrix.name, "W"): draw(matrix.outputs, matrix.inputs),
            (matrix.name, "R"): draw(k, r * j, matrix.inputs // k),
            (matrix.name, "L"): draw(j, matrix.outputs // j, k * r)}


def small_integers(matrix: Matrix, rng: np.random.Generator
                   ) -> dict[tuple[str, str], np.ndarray]:
    """Return factors of -1, 0 and 1, and their product, which fits INT8 as it is."""
    k, j = matrix.blocks_in, matrix.blocks_out
    right = rng.integers(-1, 2, (k, j, matrix.inputs // k), dtype=np.int8)
    left = rng.integers(-1, 2, (j, matrix.outputs // j, k), dtype=np.int8)
    # y[l j] = sum over k of L[j, l, k] * (R[k, j, i] x[i k]): row l * J + j, column i * K + k.
    dense = np.einsum("jlk,kji->ljik", left.astype(int), right.astype(int))
    return {(matrix.name, "R"): right, (matrix.name, "L"): left,
            (matrix.name, "W"): dense.reshape(matrix.outputs, matrix.inputs).astype(np.int8)}


def scheduled(name: str, matrix: Matrix, weights: dict, config: AnalogConfig, tokens: int,
              bits: int = 0, scale: tuple[int, int, int] = SCALE, pipelined: bool = True
              ) -> AnalogProgram:
    """Return the program of one layer; ``bits`` 0: lossless."""
    return schedule(mapped(name, [matrix], config), [matrix.name], weights, config, tokens=tokens,
                    scales={matrix.name: scale}, precision=Precision(bits=bits),
                    pipelined=pipelined)


def exact(name: str, matrix: Matrix, weights: dict, x: np.ndarray,
          scale: tuple[int, int, int] = SCALE) -> np.ndarray:
    """Return what the layer's integer model says, [T, O]."""
    if name == "linear":
        return linear(x, weights[matrix.name, "W"])
    return monarch(x, weights[matrix.name, "R"], weights[matrix.name, "L"], scale,
                   rank=matrix.rank)[:, :matrix.outputs]


def vectors_of(program: AnalogProgram, x: np.ndarray) -> AnalogVectors:
    """Return the streams of a program with these inputs."""
    return AnalogVectors(program.config, program.commands, program.weights, program.acts(x),
                         f"{program.mapping} {program.names[0]}")
