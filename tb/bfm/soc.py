"""Programs for a tile on a bus, of either kind, and what must come of them."""

import json
import os
from dataclasses import dataclass, field

import numpy as np

from cimforge.spec.analog.commands import (
    AnalogError,
    End as AnalogEnd,
    Input,
    ReadSaturation,
    encode as encode_analog,
)
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.bits import bits_of, bytes_of
from cimforge.spec.commands import End, ErrorCode, LoadWeights, encode
from cimforge.spec.config import DcimConfig
from cimforge_verif.analog.random_program import random_program
from cimforge_verif.stimulus import random_inputs, random_layer
from cimforge_verif.vectors import make_vectors

__all__ = ["CONFIG", "Case", "illegal_case", "legal_case"]


def _config() -> DcimConfig | AnalogConfig:
    parameters = json.loads(os.environ["CIMFORGE_CONFIG"])
    return (AnalogConfig if "arrays" in parameters else DcimConfig)(**parameters)


CONFIG = _config()


@dataclass
class Case:
    """A program; an illegal one has no results.

    Attributes
    ----------
    streams : dict of str to ndarray of uint8, shape (beats, bytes)
    results : ndarray of int64, shape (beats, lanes)
    last : ndarray of uint8, shape (beats,)
    counters : dict of str to int
    code, position
        Of the error.
    """

    streams: dict[str, np.ndarray]
    results: np.ndarray = field(default_factory=lambda: np.zeros((0, 1), dtype=np.int64))
    last: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))
    counters: dict[str, int] = field(default_factory=dict)
    code: int = 0
    position: int = 0

    def packets(self) -> list[np.ndarray]:
        """Return the result packets; the end of the program ends the last one."""
        bits = bits_of(self.results, CONFIG.acc_bits).reshape(len(self.results), -1)
        beats = bytes_of(bits) if len(bits) else np.zeros((0, 1), np.uint8)
        cuts = np.flatnonzero(self.last) + 1
        return [part for part in np.split(beats, cuts) if len(part)]


def _digital(rng) -> Case:
    mode = CONFIG.modes[int(rng.integers(len(CONFIG.modes)))]
    layer = random_layer(CONFIG, mode, rng, tokens=int(rng.integers(1, 4)),
                         inputs=CONFIG.k_tile(mode) * int(rng.integers(1, 3)) + 1,
                         requantize=bool(rng.integers(2)))
    vectors = make_vectors(CONFIG, layer.program, random_inputs(CONFIG, layer.program, rng))
    return Case({"commands": vectors.words, "weights": vectors.weights, "acts": vectors.acts},
                vectors.results, vectors.last, vectors.counters)


def _analog(rng) -> Case:
    vectors = random_program(CONFIG, rng, int(rng.integers(10, 40)), pulses=2)
    expected = vectors.expected()
    return Case(vectors.streams_as_bytes(), expected.results, expected.last, expected.counters)


def legal_case(rng) -> Case:
    """Return a random program of this test's tile."""
    return _digital(rng) if isinstance(CONFIG, DcimConfig) else _analog(rng)


def illegal_case(rng, kind: int) -> Case:
    """Return a program with an illegal command in the middle, whose data are sent all the same."""
    case = legal_case(rng)
    words = case.streams["commands"][:-1]
    digital = isinstance(CONFIG, DcimConfig)
    if kind % 3 == 0:
        bad, code = np.zeros((1, words.shape[1]), np.uint8), 1
    elif digital:
        bad, code = encode([LoadWeights(bank=0)] * 2), ErrorCode.BANK_FULL
    else:
        bad, code = encode_analog([Input(dst=0, count=0)]), AnalogError.COUNT
    position = len(words) + len(bad) - 1
    end = encode([End()]) if digital else encode_analog([ReadSaturation(array=0), AnalogEnd()])
    rest = np.concatenate([words[:kind], end]) if kind % 2 else end
    extra = {name: np.concatenate([beats, np.zeros((CONFIG.weight_beats if digital else 1,
                                                    beats.shape[1]), np.uint8)])
             for name, beats in case.streams.items() if name != "commands"}
    return Case({"commands": np.concatenate([words, bad, rest]), **extra}, code=code,
                position=position)
