"""What the blocks share: adder trees, the mode on wires, names of ports."""

import itertools

import pytest
from amaranth import Module, Signal, signed
from amaranth.hdl import Value
from hw_support import BASE, PAIR, SMALLEST, drive, ids, simulate

from cimforge_hw.common.adder_tree import adder_tree
from cimforge_hw.common.bit_slices import popcount, sum_lanes
from cimforge_hw.common.place import port_name
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


@pytest.mark.parametrize(("words", "width", "lanes"), [
    (1, 1, 1), (1, 8, 8), (2, 8, 8), (1, 64, 8), (4, 64, 8), (2, 16, 2)])
def test_sums_of_lanes(words, width, lanes):
    values, module = [Signal(width) for _ in range(words)], Module()
    slices = sum_lanes(module, values, lanes, "count")
    ones = Signal(16)
    found = [Signal(lanes) for _ in slices]
    module.d.comb += [ones.eq(popcount(module, values, "ones")),
                      *(a.eq(b) for a, b in zip(found, slices, strict=True))]
    full = (1 << width) - 1

    async def bench(ctx):
        for number in (0, full, full // 3, 1 << width - 1, full // 7, full // 255):
            drive(ctx, values, [number, full, number >> 1, number][:words])
            bits = [ctx.get(v) >> i & 1 for v in values for i in range(width)]
            assert ctx.get(ones) == sum(bits)
            for p in range(lanes):
                count = sum((ctx.get(part) >> p & 1) << k for k, part in enumerate(found))
                assert count == sum(bits[p::lanes])

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
