"""Energy of a mapping in closed form: events of its drives, times a technology table.

Nothing here depends on time: leakage, clocks and the network between tiles are left out, and so are
memories beyond the tile's own two.
"""

from dataclasses import dataclass

import numpy as np

from cimforge.spec.analog.config import WORD_BITS, AnalogConfig
from cimforge.spec.errors import ConfigError
from cimforge_sw.analog.drives import LOSSLESS, Drives, Rule
from cimforge_sw.analog.tech import Technology

__all__ = ["ACTIVITY", "Energy", "Events", "energy", "events", "expected_saturation"]

#: Share of activation bits that are set: one half, as of uniformly distributed INT8.
ACTIVITY = 0.5


@dataclass(frozen=True)
class Events:
    """What happens for one token.

    Parameters
    ----------
    conversions : dict of int to int
        By ADC bits, all planes; each is also sampled once, and shifted and added once.
    pulses : float
        Driven rows with their bit set, as the tile's counter: once for all planes.
    cells : float
        Programmed cells on such rows, all planes, in converted columns or not.
    planes : int
        Planes whose word lines a pulse drives.
    read, written : int
        Bytes: activations to word lines, sums to be added to; hidden vectors and sums.
    additions : int
        Of the offset's correction, and to earlier sums.
    requantizations : int
        Between two stages.
    """

    conversions: dict[int, int]
    pulses: float
    cells: float
    planes: int
    read: int
    written: int
    additions: int
    requantizations: int

    @property
    def converted(self) -> int:
        """Conversions of all resolutions."""
        return sum(self.conversions.values())


@dataclass(frozen=True)
class Energy:
    """Energy of one token by what takes it, in fJ."""

    converters: float
    word_lines: float
    cells: float
    sample_hold: float
    shift_add: float
    memories: float
    digital: float

    @property
    def total(self) -> float:
        """All of it, in fJ."""
        return sum(vars(self).values())


def events(work: Drives, config: AnalogConfig, rule: Rule = LOSSLESS,
           activity: float = ACTIVITY) -> Events:
    """Count what happens for one token.

    Parameters
    ----------
    work : Drives
    config : AnalogConfig
    rule : Rule
        Precision of each kind of mapping.
    activity : float
        Share of the driven rows' bits that are set, 0 … 1: expected, or counted.

    Raises
    ------
    ConfigError
        An activity outside 0 … 1, or too coarse an ADC.
    """
    if not 0 <= activity <= 1:
        raise ConfigError(f"activity must be in 0 .. 1, not {activity!r}")
    per_drive = WORD_BITS * work.pulses(rule) * work.cols * config.planes
    bits = work.bits(config, rule)
    seen = np.unique(bits)
    sums, middle, cols = int(work.sums.sum()), int(work.middle.sum()), int(work.cols.sum())
    return Events(
        conversions={int(a): int(per_drive[bits == a].sum()) for a in seen},
        pulses=WORD_BITS * activity * int(work.rows.sum()),
        cells=WORD_BITS * activity * int(work.cells.sum()) * config.planes,
        planes=config.planes,
        read=int(work.rows.sum()) + 4 * sums,
        written=4 * (cols - middle) + middle,
        additions=cols + sums,
        requantizations=middle)


def energy(counted: Events, technology: Technology) -> Energy:
    """Return the energy of one token."""
    price = technology
    return Energy(
        converters=sum(count * price.conversion(bits)
                       for bits, count in counted.conversions.items()),
        word_lines=counted.pulses * counted.planes * price.word_line.value,
        cells=counted.cells * price.cell.value,
        sample_hold=counted.converted * price.sample_hold.value,
        shift_add=counted.converted * price.shift_add.value,
        memories=counted.read * price.read.value + counted.written * price.write.value,
        digital=(counted.additions * price.add.value
                 + counted.requantizations * price.requantize.value))


def expected_saturation(work: Drives, config: AnalogConfig, rule: Rule) -> float:
    """Return the share of conversions that clamp if all bits are independent fair coins.

    A column of R cells then sums to Binomial(R, 1/4), and A bits hold ``2^A - 1`` of it.

    Raises
    ------
    ConfigError
        Cells of more than one bit.
    """
    from scipy.stats import binom

    if config.cell_bits != 1:
        raise ConfigError(f"expected cells of one bit, not of {config.cell_bits}")
    bits, weight = work.bits(config, rule), work.pulses(rule) * work.cols
    clamped = binom.sf((1 << bits) - 1, work.together(rule), 0.25)
    return float((clamped * weight).sum() / weight.sum())
