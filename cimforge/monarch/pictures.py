"""Pictures of ``make paper-monarch``: mappings of one attention layer, programs in time, sweeps."""

from pathlib import Path
from typing import Any

import numpy as np

from cimforge.monarch.study import ARRAY, PAPER_POINT
from cimforge.report.analog_plots import draw_gantt, draw_mapping, plot_sweep
from cimforge.spec.analog.commands import Drive
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.analog.timing import timeline
from cimforge_sw.analog.factors import Matrix
from cimforge_sw.analog.hybrid import hybrid
from cimforge_sw.analog.mappings import dense, linear, scatter, sparse
from cimforge_sw.analog.placement import Mapping
from cimforge_sw.analog.schedule import schedule

__all__ = ["GANTTS", "PICTURED", "pictures"]

#: The paper's example, n = 1024 and b = 32, as one attention layer.
_ATTENTION = (*(Matrix(name, 1024, 1024, 32, 32, shared="x") for name in "qkv"),
              Matrix("o", 1024, 1024, 32, 32))
_SMALL = Matrix("w", 256, 256, 16, 16)  # for pictures of programs: arrays of 64, 4 x 4 slots
_TOKENS = 4


def _pictured() -> dict[str, Mapping]:
    config = AnalogConfig(array=ARRAY, grain=32, adcs=PAPER_POINT[0], t_settle=PAPER_POINT[1])
    return {"linear": linear(_ATTENTION, ARRAY), "sparse": sparse(_ATTENTION, ARRAY),
            "dense": dense(_ATTENTION, ARRAY, together=False),
            "dense_shared": dense(_ATTENTION, ARRAY), "scatter": scatter(_ATTENTION, ARRAY),
            "hybrid": hybrid(_ATTENTION, config, 14, "energy")}


PICTURED = {
    "linear": "linear, matrices tiled", "sparse": "sparse, blocks on the natural diagonal",
    "dense": "dense, diagonals packed", "dense_shared": "dense, q, k and v side by side",
    "scatter": "scatter, blocks dealt out", "hybrid": "hybrid, least energy on 14 arrays, lossless"}
GANTTS = {"sparse": 1, "dense": 1, "scatter": 1, "scatter-pipelined": _TOKENS}


def _gantt(path: Path, mapping: Mapping, tokens: int) -> Path:
    """Draw the program of :data:`_SMALL` for some tokens."""
    config = AnalogConfig(arrays=mapping.arrays, array=64, grain=8, adcs=8, act_depth=4096,
                          acc_depth=4096)
    zeros = {(matrix.name, stage): np.zeros((16, 16, 16), dtype=np.int8)
             for matrix in mapping.matrices for stage in "RL"}
    program = schedule(mapping, ["w"], zeros, config, scales={"w": (0, 1, 0)}, tokens=tokens)

    def stage(position: int) -> str:
        command = program.run[position]
        if isinstance(command, Drive):
            return "R" if command.requantize else "L"
        return "vectors in and out"

    found = timeline(config, program.run)
    return draw_gantt(path, found, group=stage, title=(
        f"{mapping.name}: a 256 x 256 matrix with b = 16 on {mapping.arrays} arrays of 64, "
        f"{tokens} token{'s' * (tokens > 1)}, {found.end} cycles"))


def pictures(folder: Path, records: list[dict[str, Any]]) -> list[Path]:
    """Draw everything into a folder; the sweeps are made from the records."""
    made = [draw_mapping(folder / f"monarch-{name}.svg", mapping, title=PICTURED[name])
            for name, mapping in _pictured().items()]
    small = {"sparse": sparse([_SMALL], 64, 8), "dense": dense([_SMALL, *_others()], 64, 8),
             "scatter": scatter([_SMALL, *_others()], 64, 8)}
    for name, tokens in GANTTS.items():
        made.append(_gantt(folder / f"monarch-gantt-{name}.svg", small[name.split("-")[0]], tokens))
    for blocks in ("padded", "trimmed"):
        for normalization in ("per_array", "equal_adcs"):
            made.append(_sweep(folder / f"monarch-sweep-{blocks}-{normalization}.svg", records,
                               blocks, normalization))
    return made


def _others() -> list[Matrix]:
    """Return three more layers, resident beside the one that runs."""
    return [Matrix(f"w{n}", 256, 256, 16, 16) for n in range(3)]


def _sweep(path: Path, records: list[dict[str, Any]], blocks: str, normalization: str) -> Path:
    where = {"figure": "latency_vs_linear", "model": "BERT-large", "blocks": blocks,
             "normalization": normalization, "rule": "paper", "latency": "interval", "t_settle": 4}
    curves: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        if all(record.get(key) == value for key, value in where.items()):
            curves.setdefault(record["mapping"], []).append((record["adcs"], record["ours"]))
    what = {"per_array": "as many converters in every array",
            "equal_adcs": "at most linear's converters at once"}[normalization]
    return plot_sweep(path, {name: sorted(curves[name]) for name in sorted(curves)},
                      title=f"BERT-large, {blocks}, the paper's bits, {what}",
                      label="faster than linear, per token")
