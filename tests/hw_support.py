"""Blocks on Amaranth's simulator: small configurations, one testbench, arrays on ports."""

import numpy as np
from amaranth import ClockDomain, Module, Value
from amaranth.sim import Simulator

from cimforge.spec.config import DcimConfig
from cimforge_verif.sim.stalls import stall_pattern

__all__ = [
    "BASE", "PAIR", "SMALLEST", "WIDEST", "clock_domain", "drive", "fields", "ids", "mode_word",
    "peek", "random_signed_lanes", "settle", "signed_range", "simulate", "stall_pattern", "words",
]

BASE = DcimConfig(sub_macros=2, rows=2, cols=2, max_m=4, act_port_bits=32, act_depth=8,
                  acc_depth=4, max_k=1024)
PAIR = BASE.replace(select="pair")
SMALLEST = DcimConfig(sub_macros=1, rows=1, cols=1, max_m=1, weight_bits=4, act_bits=4,
                      act_slice=1, weight_banks=1, acc_bits=8, max_k=1, act_port_bits=4,
                      act_depth=2, acc_depth=2)
# The largest M, N, P and index_share there are, at the least rows and columns that have them.
WIDEST = [BASE.replace(max_m=16, rows=8, cols=1), BASE.replace(sub_macros=8, rows=1, cols=1),
          BASE.replace(cols=4, index_share=4), BASE.replace(max_m=16, rows=8, cols=1, fixed_n=16),
          PAIR.replace(sub_macros=8, rows=1, cols=1, max_m=16)]


def mode_word(mode):
    """Return a mode as it lies on wires: five bits of N, three of log2 M, three of log2 G."""
    return mode.n | (mode.m.bit_length() - 1) << 5 | (mode.group.bit_length() - 1) << 8


def ids(config):
    """Return what of a configuration differs from BASE, as the id of a test."""
    base = BASE.to_dict()
    changed = {name: value for name, value in config.to_dict().items() if value != base[name]}
    return "smallest" if config == SMALLEST else ",".join(
        f"{name}={value}" for name, value in changed.items()) or "base"


def simulate(dut, *benches, reset=None):
    """Run testbenches to their end; ``reset`` is a ClockDomain whose reset they drive."""
    top = dut
    if reset is not None:
        top = Module()
        top.domains.sync = reset
        top.submodules.dut = dut
    simulator = Simulator(top)
    simulator.add_clock(1e-6, if_exists=True)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()


async def settle(ctx, dut):
    """Let what the first adder stage of a column or sub-macro has reach its sums."""
    if dut.config.adder_stages == 2:
        ctx.set(dut.advance, 1)
        await ctx.tick()


def clock_domain():
    """Return a domain for ``reset`` of :func:`simulate`."""
    return ClockDomain("sync")


def drive(ctx, target, values):
    """Set a port, or every port of a nested array, to integers."""
    if isinstance(target, (list, tuple)):
        for port, value in zip(target, values, strict=True):
            drive(ctx, port, value)
    else:
        ctx.set(Value.cast(target), int(values))


def fields(ctx, view, **values):
    """Set fields of a structure, or ports of an interface; those not named become zero."""
    names = view.shape().members if hasattr(view, "shape") else view.signature.members
    for name in names:
        member = getattr(view, name)
        if not isinstance(member, (list, tuple)):
            drive(ctx, member, values.pop(name, 0))
    for name, value in values.items():
        drive(ctx, getattr(view, name), value)


def peek(ctx, source):
    """Return a port as an integer, or a nested array of ports as an array."""
    values = _peek(ctx, source)
    return np.array(values) if isinstance(values, list) else values


def _peek(ctx, source):
    if isinstance(source, (list, tuple)):
        return [_peek(ctx, port) for port in source]
    return int(ctx.get(Value.cast(source)))


def words(values, bits):
    """Pack the last axis of integers into Python integers, element 0 lowest: nested lists."""
    values = np.asarray(values)
    if values.ndim > 1:
        return [words(row, bits) for row in values]
    return sum((int(v) & (1 << bits) - 1) << i * bits for i, v in enumerate(values))


def signed_range(bits):
    """Return the least and the greatest two's-complement value."""
    return -(1 << bits - 1), (1 << bits - 1) - 1


def random_signed_lanes(rng, shape, bits, count):
    """Yield all-lowest, all-highest, all-zero, two single nonzeros, then random arrays."""
    low, high = signed_range(bits)
    for value in (low, high, 0):
        yield np.full(shape, value, dtype=np.int64)
    for value in (low, high):
        single = np.zeros(shape, dtype=np.int64)
        single.reshape(-1)[rng.integers(single.size)] = value
        yield single
    for _ in range(count):
        yield rng.integers(low, high, shape, endpoint=True)
