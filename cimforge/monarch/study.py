"""The mappings of one model, and what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

from cimforge.spec.analog.config import AnalogConfig
from cimforge_sw.analog.cost import energy, events, expected_saturation
from cimforge_sw.analog.drives import PAPER, RULES, Drives, Rule, drives
from cimforge_sw.analog.factors import Matrix
from cimforge_sw.analog.hybrid import hybrid
from cimforge_sw.analog.latency import Latency, latency
from cimforge_sw.analog.mappings import MAPPINGS, dense
from cimforge_sw.analog.schedule import Precision
from cimforge_sw.analog.tech import load_technology

__all__ = ["ARRAY", "NAMES", "PAPER_POINT", "SETTINGS", "SWEEP", "Study", "rule_of"]

ARRAY = 256  # the paper's m
_GRAIN = 16  # the smallest block, R of a trimmed FFN, has 16 rows
#: (adcs, t_settle): the point at which the closed forms give the paper's latencies, and the sweep.
PAPER_POINT = (8, 7)
SWEEP = tuple((adcs, 4) for adcs in (4, 8, 16, 32))
SETTINGS = (PAPER_POINT, *SWEEP)
#: ``dense``: diagonals of Q, K and V in arrays of their own; ``dense_shared``: driven together.
NAMES = ("linear", "sparse", "dense", "dense_shared", "scatter")


_technology = cache(load_technology)


def rule_of(name: str) -> Rule:
    """Return a rule of precision; ``paper_rows8`` is the paper's, 8 rows at a time for 3 bits."""
    if name == "paper_rows8":
        return {**PAPER, "dense": Precision(3, row_group=8), "scatter": Precision(3, row_group=8)}
    return RULES[name]


@dataclass(frozen=True, eq=False)
class Study:
    """Mappings of a model's matrices on arrays of 256; each is made once, when asked for."""

    matrices: Sequence[Matrix]
    _hybrids: dict[tuple, Drives] = field(default_factory=dict, repr=False)

    @cached_property
    def work(self) -> dict[str, Drives]:
        """Drives of every mapping but the hybrid ones."""
        made = {name: MAPPINGS[name](self.matrices, ARRAY, _GRAIN)
                for name in NAMES if name in MAPPINGS and name != "dense"}
        for name, together in (("dense", False), ("dense_shared", True)):
            made[name] = dense(self.matrices, ARRAY, _GRAIN, together)
        return {name: drives(made[name]) for name in NAMES}

    def config(self, setting: tuple[int, int] = PAPER_POINT) -> AnalogConfig:
        """Return the hardware of a setting."""
        adcs, t_settle = setting
        return AnalogConfig(array=ARRAY, grain=_GRAIN, adcs=adcs, t_settle=t_settle)

    def hybrid(self, objective: str, setting: tuple[int, int], rule: str,
               technology: str = "isaac") -> Drives:
        """Return the drives of the hybrid mapping, with at most the arrays that dense takes."""
        key = objective, setting, rule, technology
        if key not in self._hybrids:
            self._hybrids[key] = drives(hybrid(
                self.matrices, self.config(setting), self.work["dense"].mapping.arrays, objective,
                rule_of(rule), technology))
        return self._hybrids[key]

    def hybrid_at_equal_adcs(self, setting: tuple[int, int], rule: str) -> Drives:
        """Return the best for ``equal_adcs`` of the hybrid mapping and those that fit beside it.

        The hybrid's program counts converters per array.
        """
        found = self.hybrid("interval", setting, rule)
        most = self.work["dense"].mapping.arrays
        fit = [work for work in self.work.values() if work.mapping.arrays <= most]
        return min((found, *fit), key=lambda work: self.latency(
            work, setting, rule, "equal_adcs").interval)

    def latency(self, work: Drives, setting: tuple[int, int], rule: str, normalization: str
                ) -> Latency:
        """Return cycles of a mapping's drives."""
        return latency(work, self.config(setting), rule_of(rule), normalization)

    def energy(self, work: Drives, rule: str, technology: str) -> float:
        """Return fJ per token."""
        return energy(events(work, self.config(), rule_of(rule)),
                      _technology(technology)).total

    def saturation(self, work: Drives, rule: str) -> float:
        """Return the expected share of clamped conversions."""
        return expected_saturation(work, self.config(), rule_of(rule))
