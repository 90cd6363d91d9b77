"""What the process that starts :mod:`.layer_bench` and the bench inside the simulator exchange."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from cimforge.spec.bits import bits_of, bytes_of, signed_of
from cimforge.spec.config import DcimConfig

__all__ = [
    "COUNTERS", "JOB_VARIABLE", "LayerJob", "LayerResult", "counter_errors", "pack_results",
    "unpack_results",
]

#: Environment variable with the path of the job's JSON file.
JOB_VARIABLE = "CIMFORGE_LAYER_JOB"
#: Ports ``counters__<name>`` of the tile.
COUNTERS = ("cycles", "compute", "macs", "idle_slots", "load_weights", "load_acts", "stall")
_BLOCK = 4096  # results converted at once: bounds the memory that single bits take


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerResult:
    """What the RTL did with one vector set; every result beat was compared on the way.

    Attributes
    ----------
    name : str
    results : ndarray of int64, shape (beats, out_port)
    last : ndarray of uint8, shape (beats,)
        The ``last`` flag of every beat.
    counters : dict of str to int
        The tile's counters, see :data:`COUNTERS`.
    simulated : int
        Clock cycles stepped, from reset until idle.
    seconds : float
        Wall-clock time they took.
    """

    name: str
    results: np.ndarray
    last: np.ndarray
    counters: dict[str, int]
    simulated: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LayerJob:
    """Which layers to run on a tile, and how.

    Attributes
    ----------
    parameters : dict
        Of the configuration.
    names : list of str
        Layers; the vector set of layer i is in folder ``<i>``, its results in ``<i>.npz``.
    limits : list of int
        Cycles after which a layer counts as hung.
    folder : str
        Where all files of the job are.
    stalls : dict of str to float
        Probability that a stream waits in a cycle; missing ones never do.
    seed : int
        Of the stalls.
    watch : int
        Cycles to look for surplus results after the last one.
    counters : bool
        Compare the tile's counters as well.
    """

    parameters: dict[str, int | str]
    names: list[str]
    limits: list[int]
    folder: str
    stalls: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    watch: int = 64
    counters: bool = True

    @cached_property
    def config(self) -> DcimConfig:
        """The configuration of the tile."""
        return DcimConfig(**self.parameters)  # type: ignore[arg-type]

    def vectors_folder(self, index: int) -> Path:
        """Folder of a layer's vectors."""
        return Path(self.folder) / str(index)

    def results_path(self, index: int) -> Path:
        """Path of a layer's results."""
        return Path(self.folder) / f"{index}.npz"

    @property
    def progress_path(self) -> Path:
        """Path of the progress file: JSON ``[layer index, beats done]``."""
        return Path(self.folder) / "progress.json"

    def save(self) -> Path:
        """Write ``job.json`` and return its path."""
        path = Path(self.folder) / "job.json"
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: str | Path) -> "LayerJob":
        """Read what :meth:`save` wrote."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))

    def save_result(self, index: int, result: LayerResult) -> None:
        """Write a layer's results."""
        np.savez(self.results_path(index), results=result.results, last=result.last,
                 counters=[result.counters[name] for name in COUNTERS],
                 simulated=result.simulated, seconds=result.seconds)

    def load_result(self, index: int) -> LayerResult:
        """Read what :meth:`save_result` wrote."""
        with np.load(self.results_path(index), allow_pickle=False) as arrays:
            return LayerResult(
                name=self.names[index], results=arrays["results"], last=arrays["last"],
                counters=dict(zip(COUNTERS, arrays["counters"].tolist(), strict=True)),
                simulated=int(arrays["simulated"]), seconds=float(arrays["seconds"]))


def pack_results(results: np.ndarray, acc_bits: int,
                 last: np.ndarray | Sequence[int] | None = None) -> list[int]:
    """Return every beat as an integer; lane 0 in the low bits, ``last`` above all lanes.

    Parameters
    ----------
    results : ndarray of int64, shape (beats, out_port)
        Lanes of every beat.
    acc_bits : int
        Bits per lane.
    last : sequence of 0 or 1, optional
        Flag of every beat; without it the result data alone.
    """
    words: list[int] = []
    for start in range(0, len(results), _BLOCK):
        bits = bits_of(results[start:start + _BLOCK], acc_bits)
        words += [int.from_bytes(row.tobytes(), "little")
                  for row in bytes_of(bits.reshape(len(bits), -1))]
    if last is None:
        return words
    top = results.shape[1] * acc_bits
    return [word | int(flag) << top for word, flag in zip(words, last, strict=True)]


def unpack_results(words: list[int], out_port: int, acc_bits: int) -> np.ndarray:
    """Inverse of :func:`pack_results` without ``last``: int64, shape (beats, out_port)."""
    results = np.zeros((len(words), out_port), dtype=np.int64)
    size = -(-out_port * acc_bits // 8)
    for start in range(0, len(words), _BLOCK):
        block = words[start:start + _BLOCK]
        data = np.frombuffer(b"".join(word.to_bytes(size, "little") for word in block), np.uint8)
        bits = np.unpackbits(data.reshape(-1, size), axis=-1, bitorder="little",
                             count=out_port * acc_bits)
        results[start:start + _BLOCK] = signed_of(bits.reshape(-1, out_port, acc_bits))
    return results


def counter_errors(counted: dict[str, int], expected: dict[str, int], stalled: bool) -> list[str]:
    """Return one line per counter that is wrong.

    With stalls, ``cycles`` may exceed the prediction by at most ``stall``.

    Parameters
    ----------
    counted, expected : dict of str to int
        Counters of the tile and of the golden model; those in ``expected`` are compared.
    stalled : bool
        Whether any stream was made to wait.
    """
    errors = [f"counter {name}: expected {value}, got {counted[name]}"
              for name, value in expected.items() if name != "cycles" and counted[name] != value]
    if "cycles" in expected:
        low = expected["cycles"]
        high = low + (counted["stall"] if stalled else 0)
        if not low <= counted["cycles"] <= high:
            wanted = str(low) if low == high else f"{low}..{high}"
            errors.append(f"counter cycles: expected {wanted}, got {counted['cycles']}")
    return errors
