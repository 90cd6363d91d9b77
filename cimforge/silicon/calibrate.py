"""Fits the closed forms of area, energy and delay to netlists; says how far off they are."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import nnls

from cimforge.silicon.designs import energies, macros
from cimforge.silicon.mixed import UNSEEN
from cimforge.spec.config import DcimConfig
from cimforge.synth.real import TOKENS
from cimforge_sw.cost.area import STORAGE, macro_area
from cimforge_sw.cost.delay import delay_counts, macro_period
from cimforge_sw.cost.energy import Events, energy_counts, flip_flops, macro_energy
from cimforge_sw.cost.features import BLOCKS, features, instances
from cimforge_sw.cost.technology import ACTIVITY, KINDS, Technology

__all__ = ["HELD_OUT", "calibrate", "error_records", "errors"]

Record = Mapping[str, Any]

#: Designs that calibration does not see: they say how good it is. No other design has their
#: columns, which are nine tenths of a macro.
HELD_OUT = ("fixed_2_4", "fixed_1_4", "max_m=4", "index_share=2", "act_slice=2", "rows=16", *UNSEEN)


def calibrate(records: Iterable[Record], full_adder: float, sram_bit: float, node_nm: float,
              name: str = "osu018") -> Technology:
    """Return what one of every term costs: nonnegative, of least relative error.

    Storage is fitted to the storage of the netlists, a full adder is a cell of the library, and
    the clock of a flip-flop is that of the netlists, so that they mean what they say; the rest is
    fitted to what remains.

    Parameters
    ----------
    records : iterable of dict
        Those of :func:`~cimforge.silicon.netlists.design_records`; designs of `HELD_OUT` only
        judge.
    full_adder : float
        Square micrometres of the library's cell.
    sram_bit : float
        Square micrometres of a bit of SRAM.
    node_nm : float
        Of the library.
    name : str
    """
    records = list(records)
    seen = [record for record in records if record["design"] not in HELD_OUT]
    wide = [r for r in seen if r["config"]["weight_bits"] == r["config"]["act_bits"] == 8]
    made = Technology(name, node_nm, _area(seen, full_adder), _energy(wide),
                      dict.fromkeys(ACTIVITY, 1.0), _delay(seen), sram_bit, {})
    made = replace(made, activity=_activity(seen, made))
    judged = [record for record in records if record["design"] in HELD_OUT]
    worst = {kind: max((abs(error) for error in errors(made, judged, kind).values()),
                       default=float("nan")) for kind in KINDS}
    return replace(made, uncertainty=worst)


def _area(records: list[Record], full_adder: float) -> dict[str, dict[str, float]]:
    seen = list(macros(records).values())
    configs = [_config(record) for record in seen]
    counts = [features(config) for config in configs]
    columns = np.array([instances(config)["Column"] for config in configs])
    storage = np.array([record["storage_area"] for record in seen]) / columns
    known = _fit([count["Column"] for count in counts], storage, STORAGE)
    known["full adder"] = full_adder
    terms: dict[str, dict[str, float]] = {}
    for block in BLOCKS:
        mine = [count[block] for count in counts]
        areas = np.array([_own_area(record, block) for record in seen])
        terms[block] = _rest(mine, areas, known if block == "Column" else {})
    return terms


def _own_area(record: Record, block: str) -> float:
    """Return the area of one block; 0 where the macro has none, as slicers."""
    return record["blocks"].get(block, {"own_area": 0.0})["own_area"]


def _energy(records: list[Record]) -> dict[str, float]:
    seen = list(energies(records).values())
    counts = [energy_counts(_config(record), _events(record)) for record in seen]
    clocks = np.array([record["clock_pj"] for record in seen])
    known = _fit(counts, clocks, ["flip-flop clocked"])
    return _rest(counts, np.array([record["energy_pj"] for record in seen]), known)


def _activity(records: list[Record], technology: Technology) -> dict[str, float]:
    """Return what narrow operands leave of the toggles: of activations alone, then of weights."""
    rows: list[tuple[list[bool], float]] = []
    for record in energies(records).values():
        config = _config(record)
        narrow = [config.act_bits == 4, config.weight_bits == 4]
        if any(narrow):
            clock = technology.energy["flip-flop clocked"] * flip_flops(config)
            ours = macro_energy(config, technology, _events(record)) - clock
            rows.append((narrow, np.log((record["energy_pj"] - clock) / ours)))
    if not rows:
        return dict.fromkeys(ACTIVITY, 1.0)
    matrix = np.array([narrow for narrow, _ in rows], dtype=float)
    found = np.linalg.lstsq(matrix, np.array([share for _, share in rows]), rcond=None)[0]
    return dict(zip(ACTIVITY, np.exp(found).tolist(), strict=True))


def _events(record: Record) -> Events:
    """Return the events of a cycle of a record of energy.

    Its layer fills all tiles; the first tile is written before counting begins.
    """
    config = _config(record)
    products = record["energy_pj"] / record["energy_per_mac_pj"]  # of the dense layer, per cycle
    n, m = map(int, record["mode"].split()[0].split(":"))
    cells = products * record["passes"] * n / m
    tiles = cells * record["cycles"] / (TOKENS * config.slots * config.cols)
    return Events(1, cells, products * (1 - record["sparsity"]),
                  (tiles - 1) * config.slots * config.units / record["cycles"])


def _delay(records: list[Record]) -> dict[str, float]:
    seen = macros(records).values()
    return _rest([delay_counts(_config(record)) for record in seen],
                 np.array([record["period_ns"] for record in seen]), {})


def _rest(counts: Sequence[Mapping[str, float]], wanted: np.ndarray,
          known: Mapping[str, float]) -> dict[str, float]:
    """Return the costs of all terms: the known ones, and of the others what fits best."""
    rest = wanted - [sum(count[term] * known[term] for term in known) for count in counts]
    found = _fit(counts, rest, [term for term in counts[0] if term not in known], wanted)
    return {term: {**known, **found}[term] for term in counts[0]}


def _fit(counts: Sequence[Mapping[str, float]], wanted: np.ndarray, names: Sequence[str],
         scale: np.ndarray | None = None) -> dict[str, float]:
    """Return nonnegative costs of terms, of least error relative to ``scale``."""
    scale = wanted if scale is None else scale
    kept = scale > 0
    matrix = np.array([[count[term] for term in names] for count in counts], dtype=float)
    found, _ = nnls(matrix[kept] / scale[kept, None], wanted[kept] / scale[kept])
    return dict(zip(names, found.tolist(), strict=True))


def errors(technology: Technology, records: Iterable[Record], kind: str = "area") -> dict[
        str, float]:
    """Return relative errors by design; of energies, the largest of a design's workloads.

    Parameters
    ----------
    technology : Technology
    records : iterable of dict
        As for `calibrate`.
    kind : str
        ``"area"``, ``"energy"`` or ``"delay"``.
    """
    if kind == "energy":
        found: dict[str, float] = {}
        for (design, _), record in energies(records).items():
            ours = macro_energy(_config(record), technology, _events(record))
            error = ours / record["energy_pj"] - 1
            found[design] = max(found.get(design, 0.0), error, key=abs)
        return found
    if kind == "area":
        return {design: macro_area(_config(record), technology).total / record["area"] - 1
                for design, record in macros(records).items()}
    return {design: macro_period(_config(record), technology) / record["period_ns"] - 1
            for design, record in macros(records).items()}


def error_records(technology: Technology, records: Iterable[Record]) -> Iterator[dict[str, Any]]:
    """Yield a ``cost_model_error`` per kind and design of `errors`."""
    records = list(records)
    for kind in KINDS:
        for design, error in errors(technology, records, kind).items():
            yield {"figure": "cost_model_error", "model": None, "design": design, "kind": kind,
                   "held_out": design in HELD_OUT, "paper": None, "ours": error,
                   "unit": "fraction", "assumptions": "closed form over netlist, less one"}


def _config(record: Record) -> DcimConfig:
    return DcimConfig(**record["config"])
