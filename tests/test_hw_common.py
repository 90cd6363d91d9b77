"""What the blocks share: adder trees, the mode on wires, names of ports."""

import itertools

import pytest
from amaranth import Module, Signal, signed
from amaranth.hdl import Value
from hw_support import BASE, PAIR, SMALLEST, drive, ids, simulate

from cimforge_hw.common.adder_tree import adder_tree
from cimforge_hw.common.place import port_name
from cimforge_hw.common.popcount import popcount
from cimforge_hw.dcim.mode import ModeLayout, is_mode, mode_value


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
def test_an_adder_tree_never_overflows(count):
    terms, module = [Signal(signed(3)) for _ in range(count)], Module()
    tree = adder_tree(terms)
    total = Signal(tree.shape())
    module.d.comb += total.eq(tree)

    async def bench(ctx):
        for values in itertools.product((-4, -1, 0, 3), repeat=count):
            drive(ctx, terms, values)
            assert ctx.get(total) == sum(values)

    simulate(module, bench)


@pytest.mark.parametrize("width", [1, 2, 3, 8, 64, 70, 130])
def test_popcount(width):
    value, module, count = Signal(width), Module(), Signal(8)
    module.d.comb += count.eq(popcount(module, value, "count"))
    full = (1 << width) - 1

    async def bench(ctx):
        for number in (0, 1, full, full // 3, 1 << width - 1, full ^ 1):
            ctx.set(value, number)
            assert ctx.get(count) == number.bit_count()

    simulate(module, bench)


def test_an_adder_tree_is_balanced():
    assert len(adder_tree([Signal(signed(8)) for _ in range(8)])) == 8 + 3


@pytest.mark.parametrize("config", [SMALLEST, BASE, PAIR, BASE.replace(fixed_n=2)], ids=ids)
def test_is_mode_knows_the_modes_and_no_other(config):
    wires, module, found = Signal(ModeLayout()), Module(), Signal()
    module.d.comb += found.eq(is_mode(config, wires))
    wanted = {mode_value(mode) for mode in config.modes}
    assert len(wanted) == len(config.modes)

    async def bench(ctx):
        for value in range(1 << len(Value.cast(wires))):
            drive(ctx, wires, value)
            assert ctx.get(found) == (value in wanted)

    simulate(module, bench)


def test_port_names():
    assert port_name(("write", 0, "en")) == "write__0__en"
