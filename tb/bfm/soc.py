"""Programs for a tile on a bus, of either kind, and what must come of them."""

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

__all__ = ["AnalogModel", "Case", "DigitalModel", "compare", "model"]


@dataclass
class Case:
    """A program; an illegal one has the results of the commands before the bad one.

    Attributes
    ----------
    streams : dict of str to ndarray of uint8, shape (beats, bytes)
    acc_bits : int
        Of a result.
    results : ndarray of int64, shape (beats, lanes)
    last : ndarray of uint8, shape (beats,)
    counters : dict of str to int
    code, position
        Of the error.
    """

    streams: dict[str, np.ndarray]
    acc_bits: int
    results: np.ndarray = field(default_factory=lambda: np.zeros((0, 1), dtype=np.int64))
    last: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))
    counters: dict[str, int] = field(default_factory=dict)
    code: int = 0
    position: int = 0

    def packets(self) -> list[np.ndarray]:
        """Return the result packets; the end of the program ends the last one."""
        if not len(self.results):
            return []
        beats = bytes_of(bits_of(self.results, self.acc_bits).reshape(len(self.results), -1))
        cuts = np.flatnonzero(self.last) + 1
        return [part for part in np.split(beats, cuts) if len(part)]


class DigitalModel:
    """Makes programs for a digital tile, each of which loads all it needs."""

    def __init__(self, config: DcimConfig):
        self.config = config

    def clear(self) -> None:
        """Nothing is kept."""

    reset = clear

    def legal(self, rng) -> Case:
        """Return a random layer, of as many tiles and tokens as fit."""
        config = self.config
        mode = config.modes[int(rng.integers(len(config.modes)))]
        tiles = int(rng.integers(1, 4))
        tokens = int(rng.integers(1, min(3, config.act_depth // tiles, config.acc_depth) + 1))
        layer = random_layer(config, mode, rng, tokens=tokens,
                             inputs=min(config.k_tile(mode) * (tiles - 1) + 1, config.max_k),
                             requantize=bool(rng.integers(2)))
        vectors = make_vectors(config, layer.program, random_inputs(config, layer.program, rng))
        return Case({"commands": vectors.words, "weights": vectors.weights, "acts": vectors.acts},
                    config.acc_bits, vectors.results, vectors.last, vectors.counters)

    def illegal(self, rng, kind: int) -> Case:
        """Return a layer with a bad command before its End."""
        case = self.legal(rng)
        words = case.streams["commands"][:-1]
        bad = encode([LoadWeights(bank=0)] * 2) if kind % 3 else np.zeros((1, 16), np.uint8)
        spare = np.zeros((self.config.weight_beats, case.streams["weights"].shape[1]), np.uint8)
        case.streams["weights"] = np.concatenate([case.streams["weights"], spare])
        return _spoilt(case, words, bad, encode([End()]), kind,
                       ErrorCode.BANK_FULL if kind % 3 else ErrorCode.OPCODE)


class AnalogModel:
    """Makes programs for an analog tile, whose cells stay from one to the next."""

    def __init__(self, config: AnalogConfig):
        self.config = config
        self.reset()

    def clear(self) -> None:
        """Do as the tile does."""
        self._tile.clear()

    def reset(self) -> None:
        """Forget the cells as well."""
        self._tile = AnalogTile(self.config)

    def legal(self, rng) -> Case:
        """Return random commands."""
        made = random_program(self.config, rng, int(rng.integers(10, 40)), pulses=2)
        before = self._tile.counters.to_dict()
        results = self._tile.run(made.words, made.weights, made.acts)
        counted = {name: value - before[name] for name, value in
                   self._tile.counters.to_dict().items()}
        return Case(made.streams_as_bytes(), self.config.acc_bits, results,
                    np.array(self._tile.last, dtype=np.uint8),
                    {"cycles": cycles(self.config, made.commands), **counted})

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
                case.acc_bits, case.results, case.last, code=code,
                position=len(words) + len(bad) - 1)


def model(config: DcimConfig | AnalogConfig) -> DigitalModel | AnalogModel:
    """Return what makes programs for a tile that was just reset."""
    return DigitalModel(config) if isinstance(config, DcimConfig) else AnalogModel(config)


def compare(packets: list[np.ndarray], case: Case) -> None:
    """Fail unless the packets are the expected beats, cut where ``last`` is set."""
    wanted = case.packets()
    assert len(packets) == len(wanted), f"{len(packets)} result packets, not {len(wanted)}"
    for i, (got, expected) in enumerate(zip(packets, wanted, strict=True)):
        assert np.array_equal(got, expected), f"result packet {i}: got {got}, expected {expected}"
