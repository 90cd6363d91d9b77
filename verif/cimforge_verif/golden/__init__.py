"""One exact NumPy function per block, beside the equation it implements; nothing about cycles.

Arrays are int64 and exact; ``...`` in a shape are dimensions that a caller may add in front, such
as the vectors of a layer. Clarity before speed: :mod:`cimforge_verif.products` is the fast path.
"""

from cimforge_verif.golden.accumulator import accumulator
from cimforge_verif.golden.column import column, column_slices
from cimforge_verif.golden.distribution import distribution
from cimforge_verif.golden.macro import macro
from cimforge_verif.golden.merging import merging
from cimforge_verif.golden.requantizer import requantize
from cimforge_verif.golden.sub_macro import sub_macro

__all__ = [
    "accumulator", "column", "column_slices", "distribution", "macro", "merging", "requantize",
    "sub_macro",
]
