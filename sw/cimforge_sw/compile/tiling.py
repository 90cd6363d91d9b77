"""How a layer is cut into weight tiles and its tokens into chunks."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from cimforge.spec.config import DcimConfig
from cimforge.spec.mode import Mode

__all__ = ["COUNT_LIMIT", "Tiling"]

COUNT_LIMIT = (1 << 16) - 1  # counts are 16-bit fields of a command


def _ceil(value: int, unit: int) -> int:
    return -(-value // unit)


@dataclass(frozen=True)
class Tiling:
    """One layer on one configuration in one mode.

    Attributes
    ----------
    config : DcimConfig
    mode : Mode
    outputs, inputs : int
        O and K of the layer.
    passes : int
        Tiles accumulated per window; pass i holds nonzeros ``i*N … (i+1)*N - 1`` of each block.
    """

    config: DcimConfig
    mode: Mode
    outputs: int
    inputs: int
    passes: int = 1

    @cached_property
    def blocks(self) -> int:
        """Blocks of ``config.outputs(mode)`` output columns."""
        return _ceil(self.outputs, self.config.outputs(self.mode))

    @cached_property
    def windows(self) -> int:
        """Windows of ``config.k_tile(mode)`` inputs."""
        return _ceil(self.inputs, self.config.k_tile(self.mode))

    @cached_property
    def tiles_per_block(self) -> int:
        """Tiles whose sums make one block of outputs, windows * passes."""
        return self.windows * self.passes

    @cached_property
    def tiles(self) -> int:
        """Weight tiles of the layer, in the order block, window, pass."""
        return self.blocks * self.tiles_per_block

    @property
    def cells(self) -> int:
        """Cells of all its tiles, used or not."""
        return self.tiles * self.config.slots * self.config.cols

    @property
    def fits(self) -> bool:
        """Whether the activation buffer holds at least one token."""
        return self.windows <= self.usable_rows

    @property
    def usable_rows(self) -> int:
        """Windows that one chunk may take: of the buffer, as many as a command can count."""
        return min(self.config.act_depth, COUNT_LIMIT)

    def beats(self, inputs: int) -> int:
        """Beats of the activation port that carry ``inputs`` inputs."""
        return _ceil(inputs, self.config.act_lanes)

    @cached_property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """``(first input, inputs)`` of every window, in the order of loading and computing.

        A short last window goes first: it loads in fewer beats, and the macro computes with it
        while the others load.
        """
        k_tile = self.config.k_tile(self.mode)
        spans = [(first, min(k_tile, self.inputs - first))
                 for first in range(0, self.inputs, k_tile)]
        if self.beats(spans[-1][1]) < self.beats(spans[0][1]):
            spans.insert(0, spans.pop())
        return tuple(spans)

    @property
    def chunk_limit(self) -> int:
        """Most tokens that the buffers hold at a time.

        Sums of several tiles, or of the select steps that ``pair`` may take, need a row each.
        """
        limit = self.usable_rows // self.windows
        may_step = self.config.select == "pair" and self.mode.m > 2
        summed = self.tiles_per_block > 1 or may_step
        return min(limit, self.config.acc_depth) if summed else limit

    def chunks(self, tokens: int) -> list[tuple[int, int]]:
        """Return ``(first token, tokens)`` of as few chunks as possible, of nearly equal size."""
        count = _ceil(tokens, self.chunk_limit)
        edges = [tokens * i // count for i in range(count + 1)]
        return [(low, high - low) for low, high in pairwise(edges)]
