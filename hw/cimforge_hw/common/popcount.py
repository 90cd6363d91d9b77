"""How many bits of a signal are set."""

from amaranth import Cat, Const, Module, Signal, Value

from cimforge_hw.common.adder_tree import adder_tree

__all__ = ["WORD", "popcount"]

#: Verilator simulates signals of up to so many bits as one integer.
WORD = 64


def popcount(m: Module, value: Value, name: str) -> Value:
    """Return the number of ones.

    The adder tree is written as additions of whole words whose fields cannot overflow: synthesis
    finds the same adders behind the constant zeros, and a simulator adds 64 bits at a time.
    """
    words = [value[start:start + WORD] for start in range(0, len(value), WORD)]
    return adder_tree([_word(m, word, f"{name}_{i}") for i, word in enumerate(words)])


def _word(m: Module, value: Value, name: str) -> Value:
    """Add fields to their neighbours, and those to theirs."""
    width = 1 << (len(value) - 1).bit_length()
    value, size = Cat(value, Const(0, width - len(value))), 1
    while size < width:
        mask = sum(((1 << size) - 1) << start for start in range(0, width, 2 * size))
        total = Signal(width, name=f"{name}_{2 * size}")
        # Without the top field, which the mask clears, no sum is wider than a word.
        m.d.comb += total.eq((value[:width - size] & mask) + (value[size:] & mask))
        value, size = total, 2 * size
    return value[:width.bit_length()]
