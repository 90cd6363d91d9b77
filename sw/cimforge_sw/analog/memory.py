"""The drives of one layer, or of several that share an input: addresses, strides and masks."""

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cimforge.spec.analog.commands import Drive
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import ConfigError
from cimforge_sw.analog.factors import Matrix
from cimforge_sw.analog.grouping import STAGES, driven_together, table_of
from cimforge_sw.analog.layout import Layout
from cimforge_sw.analog.placement import Mapping, Placement

__all__ = ["Memory"]


class Memory:
    """The memories of a tile as a step uses them, and the drives that follow.

    Parameters
    ----------
    mapping : Mapping
    matrices : sequence of Matrix
        Of equal inputs and Monarch structure.
    config : AnalogConfig

    Attributes
    ----------
    layout : Layout
    stages : tuple of str

    Raises
    ------
    DataError
        Layers that do not share an input and a structure.
    ConfigError
        Memories too small.
    """

    def __init__(self, mapping: Mapping, matrices: Sequence[Matrix], config: AnalogConfig):
        names = {matrix.name for matrix in matrices}
        self._config = config
        self.layout = Layout(mapping.array, matrices, [
            place for place in mapping.placements if place.block.factor.matrix in names])
        self.stages = tuple(stage for stage in STAGES if any(
            place.block.factor.stage == stage for place in self.layout.places))
        for name, need, there in (("act_depth", self.layout.acts, config.act_depth),
                                  ("acc_depth", self.layout.sums, config.acc_depth)):
            if need > there:
                raise ConfigError(f"{matrices[0].name}: needs {name} of at least {need}, not "
                                  f"{there}")

    def moved(self, drive: Drive, stage: int, token: int) -> Drive:
        """Return a drive of token 0 for another token."""
        source, target = self.layout.moves(self.stages[stage], token)
        return replace(drive, src=drive.src + source, dst=drive.dst + target)

    def drivable(self, setting: Dict[str, int]) -> dict[str, list[list[Placement]]]:
        """Return the blocks of every stage, as one command each can drive them.

        In the order to drive them: parts of one block that add up one after the other, and arrays
        in turn. ``setting`` numbers the requantizer setting of each matrix's first stage, of which
        a drive has one.
        """
        table = table_of(self.layout)
        settings = np.array([setting.get(name, 0) for name in self.layout.number], dtype=np.int64)
        settings = settings[table["matrix"]] * (table["stage"] == STAGES.index("R"))
        numbers = driven_together(table, self._config.array, settings)
        order = np.lexsort((numbers, settings, table["array"], table["drive"], table["first_row"],
                            table["stage"]))
        found: dict[str, dict[int, list[Placement]]] = {stage: {} for stage in self.stages}
        for n in order.tolist():
            place = self.layout.places[n]
            found[place.block.factor.stage].setdefault(int(numbers[n]), []).append(place)
        return {stage: list(groups.values()) for stage, groups in found.items()}

    def drive(self, places: Sequence[Placement]) -> Drive:
        """Return the drive of a group of `drivable`, for token 0, without array and precision."""
        first, factor, grain = places[0], places[0].block.factor, self._config.grain
        strides = self.layout.strides(factor.stage)
        rows = {place.row: self.layout.source(place) for place in places}
        cols = {place.col: self.layout.target(place) for place in places}
        src, dst = self._generator(rows, first.rows), self._generator(cols, first.cols)
        last = first.block.first_row + self._config.array >= factor.rows
        return Drive(
            array=0, bits=1, row_mask=self._mask(rows, first.rows),
            col_mask=self._mask(cols, first.cols), src=src[0], src_jump=src[1],
            src_rotation=src[2], src_block=first.rows // grain, src_stride=strides[0],
            dst=dst[0], dst_jump=dst[1], dst_rotation=dst[2], dst_block=first.cols // grain,
            dst_stride=strides[1], accumulate=first.block.first_row > 0,
            requantize=factor.stage == "R" and last,
            slot=self.layout.number[factor.matrix] if factor.stage == "R" else 0)

    def _mask(self, starts: dict[int, int], size: int) -> int:
        grain = self._config.grain
        ones = (1 << size // grain) - 1
        mask = 0
        for start in starts:
            mask |= ones << start // grain
        return mask

    def _generator(self, addresses: dict[int, int], size: int) -> tuple[int, int, int]:
        """Return base, jump and rotation that give blocks at these positions their addresses."""
        (start, base), *others = addresses.items()
        across = self._config.array // size
        jump = ((others[0][1] - base) // ((others[0][0] - start) // size % across)
                if others else 0)
        assert all(address == base + jump * ((at - start) // size % across)
                   for at, address in others), f"no generator reaches {addresses}"
        return base, jump, start // size
