"""Many small sums at once: bit-sliced adders, whole words wide.

A sum per lane is held as slices: bit p of slice k is bit k of the sum of lane p. Adding two such
numbers takes a full adder per slice, on words of lanes. That is the adder tree of a population
count, and a simulator carries out 64 of its full adders with five operations.
"""

from collections.abc import Sequence

from amaranth import Cat, Module, Signal, Value

__all__ = ["WORD", "popcount", "sum_lanes"]

#: Verilator simulates signals of up to so many bits as one integer.
WORD = 64


def sum_lanes(m: Module, words: Sequence[Value], lanes: int, name: str) -> list[Value]:
    """Count, for every p below ``lanes``, the ones among the bits p, p + lanes, … of all words.

    Parameters
    ----------
    m : Module
        Gets the adders.
    words : sequence of Value
        As many as a power of two, all of ``lanes`` times a power of two bits.
    lanes : int
    name : str
        What the signals' names start with.

    Returns
    -------
    list of Value
        Slices of ``lanes`` bits, the lowest one first; enough of them to hold the largest count.
    """
    numbers = [[word] for word in words]
    while len(numbers) > 1:
        half = len(numbers) // 2
        numbers = [_add(m, numbers[i], numbers[half + i], f"{name}_{len(numbers)}_{i}")
                   for i in range(half)]
    slices, = numbers
    while len(slices[0]) > lanes:
        half = len(slices[0]) // 2
        slices = _add(m, [s[:half] for s in slices], [s[half:] for s in slices],
                      f"{name}_lanes_{half}")
    return slices


def _add(m: Module, a: list[Value], b: list[Value], name: str) -> list[Value]:
    total: list[Value] = []
    carry: Value | None = None
    for k, (x, y) in enumerate(zip(a, b, strict=True)):
        differ, bit, over = (Signal(len(x), name=f"{name}_{what}_{k}")
                             for what in ("differ", "sum", "carry"))
        m.d.comb += differ.eq(x ^ y)
        if carry is None:
            m.d.comb += [bit.eq(differ), over.eq(x & y)]
        else:
            m.d.comb += [bit.eq(differ ^ carry), over.eq((x & y) | (differ & carry))]
        total.append(bit)
        carry = over
    return [*total, carry]


def popcount(m: Module, words: Sequence[Value], name: str) -> Value:
    """Return the number of ones of ``words``; how many and how wide: as for `sum_lanes`."""
    return Cat(sum_lanes(m, words, 1, name))
