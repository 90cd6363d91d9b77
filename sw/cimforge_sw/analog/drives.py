"""The drives that a mapping needs for one token, as columns of numbers: what costs are made of."""

from collections.abc import Mapping as Dict
from dataclasses import dataclass, field

import numpy as np

from cimforge.spec.analog.config import WORD_BITS, AnalogConfig, lossless_bits
from cimforge.spec.errors import ConfigError
from cimforge_sw.analog.factors import Matrix
from cimforge_sw.analog.grouping import STAGES, Table, driven_together, labels, table_of
from cimforge_sw.analog.layout import Layout
from cimforge_sw.analog.placement import Mapping, Placement
from cimforge_sw.analog.schedule import Precision

__all__ = ["KINDS", "LOSSLESS", "PAPER", "RULES", "Drives", "Rule", "drives", "steps_of"]

KINDS = ("linear", "sparse", "dense", "scatter")
Rule = Dict[str, Precision]
#: arXiv 2510.11192: 8, 5 and 3 bits. It has no scatter, whose columns meet as many cells as those
#: of sparse, and so get its bits.
PAPER: Rule = {"linear": Precision(8), "sparse": Precision(5), "dense": Precision(3),
               "scatter": Precision(5)}
LOSSLESS: Rule = dict.fromkeys(KINDS, Precision())
RULES = {"paper": PAPER, "lossless": LOSSLESS}


def steps_of(matrices: tuple[Matrix, ...]) -> list[list[int]]:
    """Return the matrices that run at once, by position: those of the same shared input."""
    steps: dict[object, list[int]] = {}
    for n, matrix in enumerate(matrices):
        steps.setdefault(matrix.shared or n, []).append(n)
    return list(steps.values())


@dataclass(frozen=True, eq=False)
class Drives:
    """One row per drive, in no order; int64 [D] where nothing else is said.

    Attributes
    ----------
    mapping : Mapping
    steps : list of list of int
        Matrices that run at once, by position.
    step, stage, array : ndarray
        Where a drive belongs: step, 0 (dense matrix or R) or 1 (L), array.
    kind : ndarray
        How its matrices are mapped, index of `KINDS`.
    rows, cols : ndarray
        Rows driven, columns converted.
    met : ndarray
        Most programmed cells that one of its columns meets.
    cells : ndarray
        Programmed cells on the driven rows, in converted columns or not.
    sums : ndarray
        Columns whose result adds to an earlier one.
    middle : ndarray
        Columns whose result is requantized for the second stage.
    active : ndarray of int8, shape (D, m)
        1 where a column is converted.
    """

    mapping: Mapping
    steps: list[list[int]]
    step: np.ndarray
    stage: np.ndarray
    array: np.ndarray
    kind: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    met: np.ndarray
    cells: np.ndarray
    sums: np.ndarray
    middle: np.ndarray
    active: np.ndarray
    _rounds: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    def pulses(self, rule: Rule) -> np.ndarray:
        """Return the word-line pulses of every drive, per bit."""
        return -(-self.rows // self._per_kind(rule, lambda precision: precision.row_group or 512))

    def together(self, rule: Rule) -> np.ndarray:
        """Return the most cells that add up in one conversion, of every drive."""
        return np.minimum(self.met, self._per_kind(
            rule, lambda precision: precision.row_group or 512))

    def bits(self, config: AnalogConfig, rule: Rule) -> np.ndarray:
        """Return the ADC bits of every drive.

        Raises
        ------
        ConfigError
            More than the converters have.
        """
        fixed = self._per_kind(rule, lambda precision: precision.bits)
        seen, at = np.unique(self.together(rule), return_inverse=True)
        enough = np.array([lossless_bits(int(rows), config.cell_bits) for rows in seen])
        bits = np.where(fixed > 0, fixed, enough[at])
        if len(bits) and bits.max() > config.adc_bits:
            raise ConfigError(f"{self.mapping.name}: columns need {bits.max()} ADC bits, but there "
                              f"are {config.adc_bits}: raise adc_bits, or lower row_group")
        return bits

    def rounds(self, adcs: int) -> np.ndarray:
        """Return the most columns that any of ``adcs`` converters serves, of every drive."""
        if adcs not in self._rounds:
            shares = self.active.reshape(len(self.active), -1, adcs)
            self._rounds[adcs] = shares.sum(axis=1, dtype=np.int16).max(axis=1).astype(np.int64)
        return self._rounds[adcs]

    def durations(self, config: AnalogConfig, rule: Rule, adcs: int = 0) -> np.ndarray:
        """Return the cycles that every drive occupies its array; ``docs/analog.md``, timing, 5."""
        bits = self.bits(config, rule)
        per_round = np.full(len(bits), config.t_conv) if config.t_conv else bits
        per_pulse = config.t_settle + self.rounds(adcs or config.adcs) * per_round
        return WORD_BITS * self.pulses(rule) * per_pulse

    def _per_kind(self, rule: Rule, value) -> np.ndarray:
        return np.array([value(rule[kind]) for kind in KINDS], dtype=np.int64)[self.kind]


def drives(mapping: Mapping) -> Drives:
    """Return the drives of one token through all matrices of a mapping.

    Those of `cimforge_sw.analog.schedule`, if matrices that share an input share the setting of the
    requantizer, too (`cimforge_sw.analog.integer.align`).
    """
    steps = steps_of(mapping.matrices)
    table = _table(mapping, steps)
    number = driven_together(table, mapping.array, table["step"])
    first = np.unique(number, return_index=True)[1]
    count = len(first)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(number, values, count).astype(np.int64)

    met = np.zeros(count, dtype=np.int64)
    np.maximum.at(met, number, table["block_rows"])
    rows, cells = _driven(mapping, table, number, count)
    active = np.zeros((count, mapping.array + 1), dtype=np.int8)
    np.add.at(active, (number, table["col"]), 1)
    np.add.at(active, (number, table["col"] + table["cols"]), -1)
    last = table["first_row"] + table["block_rows"] == table["factor_rows"]
    return Drives(
        mapping=mapping, steps=steps, step=table["step"][first], array=table["array"][first],
        stage=(table["stage"][first] == STAGES.index("L")).astype(np.int64),
        kind=table["kind"][first], rows=rows, cols=total(table["cols"]), met=met, cells=cells,
        sums=total(table["cols"] * (table["first_row"] > 0)),
        middle=total(table["cols"] * (last & (table["stage"] == STAGES.index("R")))),
        active=np.cumsum(active, axis=1, dtype=np.int8)[:, :-1])


def _table(mapping: Mapping, steps: list[list[int]]) -> Table:
    """Return what matters of every placement, besides what `table_of` does: ``step``, ``kind``."""
    matrices = mapping.matrices
    kinds = np.array([KINDS.index(mapping.kind(n)) for n in range(len(matrices))])
    step_of = {n: step for step, members in enumerate(steps) for n in members}
    members_of: dict[tuple, list[int]] = {}  # matrices of one layout
    for n, matrix in enumerate(matrices):
        members_of.setdefault((step_of[n], *matrix.structure), []).append(n)
    number = {matrix.name: n for n, matrix in enumerate(matrices)}
    places: list[list[Placement]] = [[] for _ in matrices]
    for place in mapping.placements:
        places[number[place.block.factor.matrix]].append(place)
    parts: list[Table] = []
    for (step, *_), members in members_of.items():
        part = table_of(Layout(mapping.array, [matrices[n] for n in members],
                               [place for n in members for place in places[n]]))
        parts.append({**part, "step": np.full(len(part["matrix"]), step),
                      "kind": kinds[members][part["matrix"]]})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _driven(mapping: Mapping, table: dict[str, np.ndarray], number: np.ndarray, count: int
            ) -> tuple[np.ndarray, np.ndarray]:
    """Return rows driven, and programmed cells on them, of every drive; blocks may share rows."""
    array, row, rows = table["array"], table["row"], table["rows"]
    along = np.zeros((mapping.arrays, mapping.array + 1), dtype=np.int64)
    np.add.at(along, (array, row), table["cols"])
    np.add.at(along, (array, row + rows), -table["cols"])
    upto = np.zeros((mapping.arrays, mapping.array + 1), dtype=np.int64)
    upto[:, 1:] = along.cumsum(axis=1)[:, :-1].cumsum(axis=1)
    once = np.unique(labels(number, row)[0], return_index=True)[1]
    cells = upto[array[once], row[once] + rows[once]] - upto[array[once], row[once]]
    return (np.bincount(number[once], rows[once], count).astype(np.int64),
            np.bincount(number[once], cells, count).astype(np.int64))
