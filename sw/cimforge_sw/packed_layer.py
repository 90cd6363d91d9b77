"""One weight matrix in the packed N:M format: the kept values, and where they were, in bits.

The format is specified in ``docs/formats.md``; this module is its implementation.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cimforge.spec.errors import DataError
from cimforge.spec.pattern import NmPattern

__all__ = ["PackedShape", "index_bits", "pack_layer", "unpack_layer"]

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def index_bits(m: int) -> int:
    """Return the bits of one position in a group of ``m``: ``ceil(log2(m))``."""
    return (m - 1).bit_length()


@dataclass(frozen=True)
class PackedShape:
    """Size and pattern of a packed matrix [O, K]: what its two tensors must look like.

    Parameters
    ----------
    outputs, inputs : int
        O and K.
    pattern : NmPattern
        N < M; a dense layer is not packed.
    """

    outputs: int
    inputs: int
    pattern: NmPattern

    @property
    def groups(self) -> int:
        """Groups of one output, the short one at the end included."""
        return -(-self.inputs // self.pattern.m)

    @property
    def tail(self) -> int:
        """Inputs of the last group, 1 to M."""
        return self.inputs - (self.groups - 1) * self.pattern.m

    @property
    def real(self) -> int:
        """Entries of the last group that are weights; the N - real others are padding."""
        return min(self.pattern.n, self.tail)

    @property
    def lanes(self) -> int:
        """Places of a group in memory: M, or what one short group and its padding need."""
        return self.pattern.m if self.groups > 1 else self.tail + self.pattern.n - self.real

    @property
    def values(self) -> tuple[int, int]:
        """Shape of the values, [O, G * N]."""
        return self.outputs, self.groups * self.pattern.n

    @property
    def index_bytes(self) -> int:
        """Length of the index."""
        entries = self.outputs * self.groups * self.pattern.n
        return -(-entries * index_bits(self.pattern.m) // 8)


def _bits_of(tensor: Tensor) -> np.ndarray:
    """Return a float tensor as integers of its width: NumPy has no bfloat16."""
    return tensor.contiguous().view(_INTEGERS[tensor.element_size()]).numpy()


def _width(array: np.ndarray, shape: PackedShape) -> np.ndarray:
    """Return [O, K] with zeros up to whole groups, [O, G * lanes]."""
    padding = shape.groups * shape.lanes - shape.inputs
    return np.pad(array, ((0, 0), (0, padding))) if padding else array


def pack_layer(name: str, weight: Tensor, mask: Tensor,
               pattern: NmPattern) -> tuple[Tensor, Tensor]:
    """Return the values and the index of a masked weight.

    Parameters
    ----------
    name : str
        For messages.
    weight : Tensor of floating point, shape (O, K)
        Where the mask is false it is not looked at.
    mask : Tensor of bool, shape (O, K)
        Exactly N true in each full group of M inputs, min(N, K % M) in a short last one.
    pattern : NmPattern

    Returns
    -------
    values : Tensor of the weight's type, shape (O, G * N)
    index : Tensor of uint8, shape (ceil(O * G * N * ceil(log2 M) / 8),)

    Raises
    ------
    DataError
        A group keeps another number; names the layer and the group.
    """
    shape = PackedShape(weight.shape[0], weight.shape[1], pattern)
    n, m, groups = pattern.n, pattern.m, shape.groups
    keep = np.array(_width(mask.numpy(), shape))
    keep[:, shape.inputs:shape.inputs + n - shape.real] = True  # padding, to N in every group
    counts = keep.reshape(-1, shape.lanes).sum(1, dtype=np.int32)
    if (counts != n).any():
        row, group = divmod(int((counts != n).argmax()), groups)
        raise DataError(f"{name}: output {row}, group {group} keeps "
                        f"{counts[row * groups + group]} weights, but the packed format wants "
                        f"exactly {n} of {m}")
    values = _width(_bits_of(weight), shape)[keep].reshape(shape.values)
    lanes = np.arange(shape.lanes, dtype=np.min_scalar_type(m + n))
    positions = np.broadcast_to(lanes, (shape.outputs * groups, shape.lanes))[
        keep.reshape(-1, shape.lanes)]
    positions.reshape(-1, groups, n)[:, -1, shape.real:] = 0
    bits = positions[:, None] >> np.arange(index_bits(m), dtype=positions.dtype) & 1
    index = np.packbits(bits.astype(np.uint8), bitorder="little")
    return torch.from_numpy(values).view(weight.dtype), torch.from_numpy(index)


def unpack_layer(name: str, values: Tensor, index: Tensor,
                 shape: PackedShape) -> tuple[Tensor, Tensor]:
    """Return the weight [O, K] and its mask, the inverse of `pack_layer`.

    Raises
    ------
    DataError
        Tensors of another shape or type, or positions out of range or out of order.
    """
    if (tuple(values.shape) != shape.values or index.dtype != torch.uint8
            or tuple(index.shape) != (shape.index_bytes,)):
        raise DataError(f"{name}: expected values {list(shape.values)} and {shape.index_bytes} "
                        f"bytes of index for {shape.pattern} of [{shape.outputs}, {shape.inputs}], "
                        f"not {list(values.shape)} and {index.dtype} {list(index.shape)}")
    n, groups = shape.pattern.n, shape.groups
    positions = _positions(index.numpy(), shape)
    _check_positions(name, positions, shape)
    positions[:, -1, shape.real:] = np.arange(shape.tail, shape.tail + n - shape.real)
    stored = _bits_of(values)
    if stored.reshape(positions.shape)[:, -1, shape.real:].any():
        raise DataError(f"{name}: damaged values: padding must be 0")
    places = positions.reshape(-1, n).astype(np.int64)
    places += np.arange(shape.outputs * groups)[:, None] * shape.lanes
    keep = np.zeros(shape.outputs * groups * shape.lanes, dtype=bool)
    weight = np.zeros(keep.shape, dtype=stored.dtype)
    keep[places.reshape(-1)] = True
    weight[places.reshape(-1)] = stored.reshape(-1)
    weight, keep = (np.ascontiguousarray(part.reshape(shape.outputs, -1)[:, :shape.inputs])
                    for part in (weight, keep))
    return torch.from_numpy(weight).view(values.dtype), torch.from_numpy(keep)


def _positions(index: np.ndarray, shape: PackedShape) -> np.ndarray:
    """Return the positions in their groups, [O, G, N]."""
    width, entries = index_bits(shape.pattern.m), shape.values[0] * shape.values[1]
    bits = np.unpackbits(index, count=entries * width, bitorder="little").reshape(entries, width)
    positions = np.zeros(entries, dtype=np.min_scalar_type((1 << width) - 1))
    for bit in range(width):
        positions |= bits[:, bit].astype(positions.dtype) << positions.dtype.type(bit)
    return positions.reshape(shape.outputs, shape.groups, shape.pattern.n)


def _check_positions(name: str, positions: np.ndarray, shape: PackedShape) -> None:
    """Refuse what `pack_layer` never writes: it would move weights without a word."""
    last = positions[:, -1, :shape.real]
    if (positions[:, :-1] >= shape.pattern.m).any() or (last >= shape.tail).any():
        raise DataError(f"{name}: index out of range: a position beyond its group of "
                        f"{shape.pattern.m} inputs, or beyond input {shape.inputs - 1}")
    if (np.diff(positions[:, :-1].astype(np.int32)) <= 0).any() or (
            np.diff(last.astype(np.int32)) <= 0).any() or positions[:, -1, shape.real:].any():
        raise DataError(f"{name}: damaged index: the positions of a group must ascend, and padding "
                        "must be 0")
