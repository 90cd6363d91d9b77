"""Carry-save sums: many weighted bits reduced by full adders to two numbers."""

import heapq

from amaranth import Cat, Const, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from cimforge_hw.common.place import place

__all__ = ["CarrySave", "FullAdder"]


class FullAdder(wiring.Component):
    """``a + b + c`` as two bits; synthesis maps it to the library's full adder if it has one.

    Members
    -------
    a, b, c : ``In(1)``
    sum, carry : ``Out(1)``
    """

    def __init__(self, config):
        self._config = config
        super().__init__({"a": In(1), "b": In(1), "c": In(1), "sum": Out(1), "carry": Out(1)})

    @property
    def config(self):
        """Parameters of the tile; a full adder has none."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        a, b, c = self.a, self.b, self.c
        m.d.comb += [self.sum.eq(a ^ b ^ c), self.carry.eq((a & b) | (a & c) | (b & c))]
        return m


class CarrySave:
    """Bits of given weights to be added modulo ``2**width``.

    A bit that counts negatively enters inverted, and a constant makes up for it (Baugh and Wooley,
    IEEE Trans. Computers C-22, 1973). Each full adder takes the three bits of a weight that arrive
    first (Oklobdzija, Villeger, Liu, IEEE Trans. Computers 45, 1996), where a full adder is the
    unit of time.

    Parameters
    ----------
    m : Module
        Gets the full adders.
    platform, config
        As for :func:`~cimforge_hw.common.place.place`.
    width : int
    name : str
        What the names of the full adders start with.
    """

    def __init__(self, m: Module, platform, config, width: int, name: str):
        self._m, self._platform, self._config = m, platform, config
        self._width, self._name = width, name
        self._columns: list[list[tuple[int, int, Value]]] = [[] for _ in range(width)]
        self._constant = 0
        self._serial = 0  # orders equal arrivals, and names
        #: Full adders on the longest way.
        self.depth = 0

    def add_bits(self, number: Value, weight: int, arrival: int = 0, negative: bool = False):
        """Add the bits of a number times ``2**weight``, or subtract them.

        ``arrival`` is the number of full adders before it.
        """
        for i in range(len(number)):
            if negative:
                self._constant -= 1 << weight + i
            if weight + i < self._width:
                bit = number[i]
                self._push(weight + i, arrival, ~bit if negative else bit)

    def _push(self, weight: int, arrival: int, bit: Value):
        self._serial += 1
        heapq.heappush(self._columns[weight], (arrival, self._serial, bit))

    def reduce(self) -> tuple[Value, Value]:
        """Return two numbers of ``width`` bits whose sum, modulo ``2**width``, is that of all."""
        for weight in range(self._width):
            if self._constant >> weight & 1:
                self._push(weight, 0, Const(1, 1))
        for weight, column in enumerate(self._columns):
            while len(column) > 2:
                self._full_adder(weight, [heapq.heappop(column) for _ in range(3)])
        first, second = (Cat(*(column[i][2] if i < len(column) else Const(0, 1)
                               for column in self._columns)) for i in range(2))
        return first, second

    def _full_adder(self, weight: int, bits: list[tuple[int, int, Value]]):
        ready = bits[-1][0] + 1
        self.depth = max(self.depth, ready)
        name = f"{self._name}_{weight}_{self._serial}"
        adder = place(self._m, name, FullAdder, self._config, self._platform)
        self._m.d.comb += [port.eq(bit) for port, (_, _, bit) in
                           zip((adder.a, adder.b, adder.c), bits, strict=True)]
        self._push(weight, ready, adder.sum)
        if weight + 1 < self._width:
            self._push(weight + 1, ready, adder.carry)
