"""Programs for a tile on a bus, of either kind, and what must come of them."""

import json
import os
from dataclasses import dataclass, field

import numpy as np

from cimforge.spec.analog.commands import AnalogError, Input
from cimforge.spec.analog.commands import End as AnalogEnd
from cimforge.spec.analog.commands import encode as encode_analog
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.analog.timing import cycles
from cimforge.spec.bits import bits_of, bytes_of
from cimforge.spec.commands import End, ErrorCode, LoadWeights, encode
from cimforge.spec.config import DcimConfig
from cimforge_verif.analog.random_program import random_program
from cimforge_verif.analog.tile import AnalogTile
from cimforge_verif.stimulus import random_inputs, random_layer
from cimforge_verif.vectors import make_vectors

__all__ = ["CONFIG", "AnalogModel", "Case", "DigitalModel", "model"]


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
        if not len(self.results):
            return []
        beats = bytes_of(bits_of(self.results, CONFIG.acc_bits).reshape(len(self.results), -1))
        cuts = np.flatnonzero(self.last) + 1
        return [part for part in np.split(beats, cuts) if len(part)]


class DigitalModel:
    """Makes programs for a digital tile, each of which loads all it needs."""

    def clear(self) -> None:
        """Nothing is kept."""

    reset = clear

    def legal(self, rng) -> Case:
        """Return a random layer, of as many tiles and tokens as fit."""
        mode = CONFIG.modes[int(rng.integers(len(CONFIG.modes)))]
        tiles = int(rng.integers(1, 4))
        tokens = int(rng.integers(1, min(3, CONFIG.act_depth // tiles, CONFIG.acc_depth) + 1))
        layer = random_layer(CONFIG, mode, rng, tokens=tokens,
                             inputs=min(CONFIG.k_tile(mode) * (tiles - 1) + 1, CONFIG.max_k),
                             requantize=bool(rng.integers(2)))
        vectors = make_vectors(CONFIG, layer.program, random_inputs(CONFIG, layer.program, rng))
        return Case({"commands": vectors.words, "weights": vectors.weights, "acts": vectors.acts},
                    vectors.results, vectors.last, vectors.counters)

    def illegal(self, rng, kind: int) -> Case:
        """Return a layer with a bad command before its End."""
        case = self.legal(rng)
        words = case.streams["commands"][:-1]
        bad = encode([LoadWeights(bank=0)] * 2) if kind % 3 else np.zeros((1, 16), np.uint8)
        spare = np.zeros((CONFIG.weight_beats, case.streams["weights"].shape[1]), np.uint8)
        case.streams["weights"] = np.concatenate([case.streams["weights"], spare])
        return _spoilt(case, words, bad, encode([End()]), kind,
                       ErrorCode.BANK_FULL if kind % 3 else ErrorCode.OPCODE)


class AnalogModel:
    """Makes programs for an analog tile, whose cells stay from one to the next."""

    def __init__(self) -> None:
        self.reset()

    def clear(self) -> None:
        """Do as the tile does."""
        self._tile.clear()

    def reset(self) -> None:
        """Forget the cells as well."""
        self._tile = AnalogTile(CONFIG)

    def legal(self, rng) -> Case:
        """Return random commands."""
        made = random_program(CONFIG, rng, int(rng.integers(10, 40)), pulses=2)
        before = self._tile.counters.to_dict()
        results = self._tile.run(made.words, made.weights, made.acts)
        counted = {name: value - before[name] for name, value in
                   self._tile.counters.to_dict().items()}
        return Case(made.streams_as_bytes(), results, np.array(self._tile.last, dtype=np.uint8),
                    {"cycles": cycles(CONFIG, made.commands), **counted})

    def illegal(self, rng, kind: int) -> Case:
        """Return random commands with a bad one before their End."""
        case = self.legal(rng)
        words = case.streams["commands"][:-1]
        bad = encode_analog([Input(dst=0, count=0)]) if kind % 3 else np.zeros((1, 32), np.uint8)
        return _spoilt(case, words, bad, encode_analog([AnalogEnd()]), kind,
                       AnalogError.COUNT if kind % 3 else AnalogError.OPCODE)


def _spoilt(case: Case, words, bad, end, kind: int, code: int) -> Case:
    """Return a case with bad commands, and some good ones after them that must not run."""
    rest = np.concatenate([words[:kind], end])
    acts = np.concatenate([case.streams["acts"], case.streams["acts"][:kind]])
    return Case({**case.streams, "commands": np.concatenate([words, bad, rest]), "acts": acts},
                code=code, position=len(words) + len(bad) - 1)


def model() -> DigitalModel | AnalogModel:
    """Return what makes programs for this test's tile, just reset."""
    return DigitalModel() if isinstance(CONFIG, DcimConfig) else AnalogModel()
