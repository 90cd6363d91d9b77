"""The drives that a mapping needs for one token, as columns of numbers: what costs are made of."""

from collections.abc import Mapping as Dict
from dataclasses import dataclass, field

import numpy as np

from cimforge.spec.analog.config import WORD_BITS, AnalogConfig, lossless_bits
from cimforge.spec.errors import ConfigError
from cimforge_sw.analog.factors import Matrix
from cimforge_sw.analog.placement import Mapping
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

    As `cimforge_sw.analog.schedule` drives them: blocks of one step, stage, array and ``drive`` go
    together if they lie on a diagonal, or in the same rows with the same input.
    """
    steps = steps_of(mapping.matrices)
    table = _table(mapping, steps)
    number, first = _grouped(table)
    count = len(first)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(number, values, count).astype(np.int64)

    met = np.zeros(count, dtype=np.int64)
    np.maximum.at(met, number, table["block_rows"])
    rows, cells = _driven(mapping, table, number, count)
    active = np.zeros((count, mapping.array + 1), dtype=np.int8)
    np.add.at(active, (number, table["col"]), 1)
    np.add.at(active, (number, table["col"] + table["cols"]), -1)
    return Drives(
        mapping=mapping, steps=steps, step=table["step"][first], stage=table["stage"][first],
        array=table["array"][first], kind=table["kind"][first],
        rows=rows, cols=total(table["cols"]), met=met, cells=cells,
        sums=total(table["cols"] * (table["first_row"] > 0)),
        middle=total(table["cols"] * table["middle"]),
        active=np.cumsum(active, axis=1, dtype=np.int8)[:, :-1])


_COLUMNS = ("step", "stage", "kind", "array", "row", "col", "rows", "cols", "drive", "block_rows",
            "first_row", "middle", "turn", "source")


def _table(mapping: Mapping, steps: list[list[int]]) -> dict[str, np.ndarray]:
    """Return what matters of every placement, int64 [P] each."""
    place_of = {matrix.name: n for n, matrix in enumerate(mapping.matrices)}
    step_of = {n: step for step, members in enumerate(steps) for n in members}
    kind_of = [KINDS.index(mapping.kind(n)) for n in range(len(mapping.matrices))]
    found = []
    for p in mapping.placements:
        block, factor = p.block, p.block.factor
        n = place_of[factor.matrix]
        if factor.stage == "L":  # every block has an input of its own
            turn, source = 0, n * factor.count + block.index
        else:
            turn, source = divmod(block.index, factor.count // factor.rank)
        last = block.first_row + block.rows == factor.rows
        found.append((step_of[n], factor.stage == "L", kind_of[n], p.array, p.row, p.col, p.rows,
                      p.cols, p.drive, block.rows, block.first_row, factor.stage == "R" and last,
                      turn, source))
    columns = np.array(found, dtype=np.int64).reshape(-1, len(_COLUMNS)).T
    return dict(zip(_COLUMNS, columns, strict=True))


def _label(*keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the group of every row, and each group's first row."""
    whole = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        whole = np.unique(whole, return_inverse=True)[1] * (key.max(initial=0) + 1) + key
    _, first, number = np.unique(whole, return_index=True, return_inverse=True)
    return number, first


def _grouped(table: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the drive of every placement, and a placement of every drive."""
    group, first = _label(*(table[key] for key in ("step", "stage", "array", "first_row", "drive")))

    def distinct(key: str) -> np.ndarray:
        return np.bincount(group[_label(group, table[key])[1]], minlength=len(first))[group]

    apart = np.where(distinct("row") == distinct("col"), 0, 1 + table["source"])
    # No address generator goes from the last input block on to the first, for a further rank.
    alone = (distinct("turn") > 1) & (apart == 0)
    return _label(group, apart, np.where(alone, np.arange(len(group)), 0))


def _driven(mapping: Mapping, table: dict[str, np.ndarray], number: np.ndarray, count: int
            ) -> tuple[np.ndarray, np.ndarray]:
    """Return rows driven, and programmed cells on them, of every drive; blocks may share rows."""
    array, row, rows = table["array"], table["row"], table["rows"]
    along = np.zeros((mapping.arrays, mapping.array + 1), dtype=np.int64)
    np.add.at(along, (array, row), table["cols"])
    np.add.at(along, (array, row + rows), -table["cols"])
    upto = np.zeros((mapping.arrays, mapping.array + 1), dtype=np.int64)
    upto[:, 1:] = along.cumsum(axis=1)[:, :-1].cumsum(axis=1)
    once = _label(number, row)[1]
    cells = upto[array[once], row[once] + rows[once]] - upto[array[once], row[once]]
    return (np.bincount(number[once], rows[once], count).astype(np.int64),
            np.bincount(number[once], cells, count).astype(np.int64))
