"""Where vectors lie in the tile's memories, and the addresses of drives that follow from it."""

from collections.abc import Sequence
from dataclasses import replace

from cimforge.spec.analog.commands import Drive
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.analog.factors import Matrix, padded
from cimforge_sw.analog.placement import Mapping, Placement

__all__ = ["Memory"]


class Memory:
    """Regions of the activation and the accumulation memory, two of each for tokens in turn.

    Inputs and outputs lie in natural order. A Monarch layer's hidden vector is stored as
    ``[j, r, k]``, each j padded to what L's blocks read, so that R's block (r, k) writes with the
    stride of j and L's block j reads consecutively: the permutation between the stages.

    Parameters
    ----------
    mapping : Mapping
    matrices : sequence of Matrix
        Of equal inputs and Monarch structure.
    config : AnalogConfig

    Raises
    ------
    DataError
        Layers that do not share an input and a structure.
    ConfigError
        Memories too small.
    """

    def __init__(self, mapping: Mapping, matrices: Sequence[Matrix], config: AnalogConfig):
        first = matrices[0]
        for other in matrices[1:]:
            same = [(m.inputs, m.blocks_in, m.blocks_out, m.rank) for m in (first, other)]
            if same[0] != same[1] or not first.shared or first.shared != other.shared:
                raise DataError(f"{first.name} and {other.name} do not share an input and a "
                                "structure: schedule them one by one")
        self.names = {matrix.name: n for n, matrix in enumerate(matrices)}
        self.stages = tuple(dict.fromkeys(
            factor.stage for factor in mapping.factors if factor.matrix == first.name))
        self.inputs = first.inputs
        self._matrices, self._config, self._mapping = matrices, config, mapping
        self._k, self._j, self._rank = first.blocks_in, first.blocks_out, first.rank
        self._sizes()
        tokens = 2
        self.acts = tokens * (self._input + len(matrices) * self._hidden)
        # Sums of cut blocks lie where the hidden vector will; outputs must not lie there, too.
        hidden, outputs = tokens * self._input, tokens * sum(self._output)
        self._outputs_at = self.acts if self._cut_inputs and outputs > hidden else 0
        sums = max(self.acts if self._cut_inputs else 0, self._outputs_at + outputs)
        for name, need, there in (("act_depth", self.acts, config.act_depth),
                                  ("acc_depth", sums, config.acc_depth)):
            if need > there:
                raise ConfigError(f"{first.name}: needs {name} of at least {need}, not {there}")

    def _sizes(self) -> None:
        """Work out the region of one input, one hidden vector, and each output."""
        config, first = self._config, self._matrices[0]
        array, grain, port = config.array, config.grain, config.port

        def side(size: int) -> int:
            # A block that is cut takes whole arrays, the last part of it as well.
            return -(-size // array) * array if size > array else padded(size, array, grain)

        def beats(size: int) -> int:
            return -(-size // port) * port

        self._cut_inputs, self._pitch = False, 1
        if self.stages == ("W",):
            self._input, self._hidden = beats(side(first.inputs)), 0
            self._output = [beats(side(m.outputs)) for m in self._matrices]
            return
        rows = first.wide_inputs // self._k
        self._cut_inputs = rows > array
        self._input = beats(side(rows) * self._k)
        self._pitch = side(self._k * self._rank)
        self._hidden = beats(side(self._j) * self._pitch)
        self._output = [beats(side(m.wide_outputs // self._j) * self._j) for m in self._matrices]

    # -- regions ------------------------------------------------------------------------------

    def input(self, token: int) -> int:
        """Return the address of a token's input."""
        return token % 2 * self._input

    def _hidden_at(self, matrix: int) -> int:
        return 2 * self._input + matrix * self._hidden

    def _output_at(self, matrix: int) -> int:
        return self._outputs_at + sum(self._output[:matrix])

    def outputs(self, token: int) -> list[tuple[int, int]]:
        """Return address and number of every layer's results."""
        turn = token % 2 * sum(self._output)
        return [(turn + self._output_at(n), matrix.outputs)
                for n, matrix in enumerate(self._matrices)]

    def moved(self, drive: Drive, stage: int, token: int) -> Drive:
        """Return a drive of token 0 for another token."""
        if token % 2 == 0:
            return drive
        hidden, outputs = len(self._matrices) * self._hidden, sum(self._output)
        sources = {"W": self._input, "R": self._input, "L": hidden}
        targets = {"W": outputs, "R": hidden, "L": outputs}
        name = self.stages[stage]
        return replace(drive, src=drive.src + sources[name], dst=drive.dst + targets[name])

    # -- drives -------------------------------------------------------------------------------

    def drivable(self, places: Sequence[Placement]) -> list[list[Placement]]:
        """Split blocks of one array into those that one command can drive.

        Blocks on a diagonal, or blocks in the same rows that take the same input; each alone where
        no address generator reaches all of them.
        """
        if len({place.row for place in places}) == len({place.col for place in places}):
            groups = [list(places)]
        else:
            by_source: dict[int, list[Placement]] = {}
            for place in places:
                by_source.setdefault(self._source(place), []).append(place)
            groups = list(by_source.values())
        return [part for group in groups for part in (
            [group] if self._reached(group) else [[place] for place in group])]

    def _reached(self, places: Sequence[Placement]) -> bool:
        try:
            self.drive(places)
        except DataError:
            return False
        return True

    def drive(self, places: Sequence[Placement]) -> Drive:
        """Return the drive of blocks of one array, for token 0, without array and precision.

        Raises
        ------
        DataError
            Blocks whose addresses no generator can make.
        """
        places = sorted(places, key=lambda p: (self.names[p.block.factor.matrix], p.block.index))
        first, parts = places[0], self._parts(places[0])
        rows = {place.row: self._source(place) for place in places}
        cols = {place.col: self._target(place) for place in places}
        if len(rows) not in (1, len(places)) or len(cols) != len(places):
            raise DataError(f"{first.block.factor.matrix}: blocks in one array meet in a column")
        src = self._generator(first, rows, first.rows)
        dst = self._generator(first, cols, first.cols)
        factor = first.block.factor
        last = first.block.first_row + self._config.array >= factor.rows
        return Drive(
            array=0, bits=1, row_mask=self._mask(rows, first.rows),
            col_mask=self._mask(cols, first.cols), src=src[0], src_jump=src[1],
            src_rotation=src[2], src_block=first.rows // self._config.grain, src_stride=parts[0],
            dst=dst[0], dst_jump=dst[1], dst_rotation=dst[2],
            dst_block=first.cols // self._config.grain, dst_stride=parts[1],
            accumulate=first.block.first_row > 0, requantize=factor.stage == "R" and last,
            slot=self.names[factor.matrix] if factor.stage == "R" else 0)

    def _parts(self, place: Placement) -> tuple[int, int]:
        """Return the strides of source and destination."""
        return {"W": (1, 1), "R": (self._k, self._pitch),
                "L": (1, self._j)}[place.block.factor.stage]

    def _source(self, place: Placement) -> int:
        block, stage = place.block, place.block.factor.stage
        if stage == "W":
            return block.first_row
        if stage == "R":
            return block.index % self._k + block.first_row * self._k
        return (self._hidden_at(self.names[block.factor.matrix]) + block.index * self._pitch
                + block.first_row)

    def _target(self, place: Placement) -> int:
        block, factor = place.block, place.block.factor
        number = self.names[factor.matrix]
        if factor.stage == "W":
            return self._output_at(number) + block.first_col
        if factor.stage == "R":
            return self._hidden_at(number) + block.first_col * self._pitch + block.index
        return self._output_at(number) + block.index + block.first_col * self._j

    def _mask(self, starts: dict[int, int], size: int) -> int:
        grain = self._config.grain
        ones = (1 << size // grain) - 1
        mask = 0
        for start in starts:
            mask |= ones << start // grain
        return mask

    def _generator(self, first: Placement, addresses: dict[int, int], size: int
                   ) -> tuple[int, int, int]:
        """Return base, jump and rotation that give blocks at these positions their addresses."""
        across = self._config.array // size
        start = next(iter(addresses))
        turns = {(at - start) // size % across: address for at, address in addresses.items()}
        base = addresses[start]
        jump = min(((address - base) // turn for turn, address in turns.items() if turn), default=0)
        if jump < 0 or any(address != base + jump * turn for turn, address in turns.items()):
            raise DataError(f"{first.block.factor.matrix} {first.block.factor.stage}: no address "
                            f"generator reaches {sorted(addresses.values())} from blocks at "
                            f"{sorted(addresses)}")
        return base, jump, start // size
