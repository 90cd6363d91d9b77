"""Closed-form latency: figures worked out by hand, and the drives that the scheduler makes."""

import dataclasses

import numpy as np
import pytest

from cimforge.spec.analog.commands import Drive
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.analog.timing import convert_cycles, cycles
from cimforge.spec.errors import ConfigError
from cimforge_sw.analog.drives import LOSSLESS, PAPER, RULES, drives
from cimforge_sw.analog.factors import Matrix, padded
from cimforge_sw.analog.latency import latency
from cimforge_sw.analog.mappings import MAPPINGS, dense, linear, scatter, sparse
from cimforge_sw.analog.schedule import Precision, schedule

SQUARE = Matrix("w", 1024, 1024, 32, 32)
BITS = 8  # of an activation: figures below are per bit
QKV = tuple(Matrix(name, 64, 64, 8, 8, shared="x") for name in "qkv")


def _config(**changes):
    return AnalogConfig(**{"array": 256, "grain": 32, "adcs": 16, "t_settle": 4, **changes})


def _squares(count=8):
    return [dataclasses.replace(SQUARE, name=str(n)) for n in range(count)]


def _per_bit(mapping, config, rule=PAPER, normalization="per_array"):
    found = latency(drives(mapping), config, rule, normalization)
    steps = len(found.steps)
    return found.interval / BITS / steps, found.serial / BITS / steps


@pytest.mark.parametrize(("adcs", "t_settle", "expected"), [
    (8, 7, (7 + 32 * 8, 7 + 32 * 5, 8 * (7 + 4 * 3))),  # 263 / 167 = 1.575, 263 / 152 = 1.730
    (16, 4, (4 + 16 * 8, 4 + 16 * 5, 8 * (4 + 2 * 3))),
    (4, 4, (4 + 64 * 8, 4 + 64 * 5, 8 * (4 + 8 * 3))),
    (32, 4, (4 + 8 * 8, 4 + 8 * 5, 8 * (4 + 1 * 3))),
])
def test_worked_example(adcs, t_settle, expected):
    """The paper's n = 1024, b = 32, m = 256, pipelined, one diagonal per array, its bits."""
    config = _config(adcs=adcs, t_settle=t_settle)
    mappings = (linear(_squares(), 256), sparse(_squares(), 256), dense(_squares(), 256))
    found = [_per_bit(mapping, config) for mapping in mappings]
    assert tuple(interval for interval, _ in found) == expected
    assert [serial for _, serial in found] == [expected[0], 2 * expected[1], 2 * expected[2]]


def test_the_paper_s_ratios():
    config = _config(adcs=8, t_settle=7)
    lin, spa, den = (_per_bit(make(_squares(), 256), config)[0] for make in (linear, sparse, dense))
    assert (round(lin / spa, 3), round(lin / den, 2)) == (1.575, 1.73)


def test_dense_wins_where_adcs_are_shared_most_and_sparse_at_32():
    found = {adcs: [_per_bit(make(_squares(), 256), _config(adcs=adcs))[0]
                    for make in (sparse, dense)] for adcs in (4, 8, 16, 32)}
    assert [adcs for adcs, (spa, den) in found.items() if den < spa] == [4, 8, 16]


def test_scatter_at_equal_adcs():
    """64 blocks in 64 arrays get 4 of 256 converters each: 132 / 44 = 3; serial 8 of 32 arrays."""
    mapping, config = scatter([SQUARE], 256, arrays=64), _config()
    assert _per_bit(mapping, config) == (4 + 2 * 5, 2 * (4 + 2 * 5))
    assert _per_bit(mapping, config, normalization="equal_adcs") == (4 + 8 * 5, 2 * (4 + 4 * 5))
    assert _per_bit(linear([SQUARE], 256), config, normalization="equal_adcs") == (132, 132)


def test_fewer_converters_than_arrays_take_turns():
    config = _config(adcs=1)  # 16 converters for the 64 arrays
    assert _per_bit(scatter([SQUARE], 256, arrays=64), config, normalization="equal_adcs")[0] == (
        4 * (4 + 32 * 5))


def test_lossless_bits_and_row_groups():
    config = _config()
    alone = [_per_bit(make(_squares(), 256), config, LOSSLESS)[0]
             for make in (linear, sparse, dense)]
    assert alone == [4 + 16 * 9, 4 + 16 * 6, 8 * (4 + 2 * 6)]
    grouped = dict(PAPER, dense=Precision(3, row_group=8))  # four pulses for 32 rows
    assert _per_bit(dense(_squares(), 256), config, grouped)[0] == 8 * 4 * (4 + 2 * 3)
    eight = dict.fromkeys(PAPER, Precision(row_group=8))  # 8 cells need 4 bits
    assert _per_bit(dense(_squares(), 256), config, eight)[0] == 8 * 4 * (4 + 2 * 4)


def test_both_stages_in_one_array_take_turns():
    """One square fills one array: 64 drives per token, whatever is pipelined."""
    assert _per_bit(dense([SQUARE], 256), _config())[0] == 64 * (4 + 2 * 3)


def test_matrices_with_a_shared_input_run_at_once():
    config = _config(array=64, grain=8)
    one = latency(drives(sparse(QKV[:1], 64)), config)
    three = latency(drives(sparse(QKV, 64)), config)
    assert three.steps[0].matrices == ("q", "k", "v")
    assert three.interval == one.interval
    apart = [dataclasses.replace(matrix, shared="") for matrix in QKV]
    assert latency(drives(sparse(apart, 64)), config).interval == 3 * one.interval


def _scheduled(matrices, mapping, config, precision):
    """Return the drives of one token."""
    zeros = {}
    for m in matrices:
        k, j, r = m.blocks_in, m.blocks_out, m.rank
        shapes = {"W": (m.outputs, m.inputs), "R": (k, r * j, m.inputs // k),
                  "L": (j, m.outputs // j, k * r)}
        zeros |= {(m.name, stage): np.zeros(shape, dtype=np.int8)
                  for stage, shape in shapes.items()}
    program = schedule(mapping, [m.name for m in matrices[::-1]], zeros, config,  # in any order
                       scales={m.name: (0, 1, 0) for m in matrices}, precision=precision)
    assert program.names == tuple(m.name for m in matrices)
    return [command for command in program.run if isinstance(command, Drive)]


def _assert_same_drives(matrices, mapping, config, precision=LOSSLESS["dense"]):
    made, work = _scheduled(matrices, mapping, config, precision), drives(mapping)
    taken = work.durations(config, dict.fromkeys(LOSSLESS, precision))
    assert sorted(taken) == sorted(convert_cycles(config, drive) for drive in made)
    grains = [(bin(d.row_mask).count("1") * config.grain, bin(d.col_mask).count("1") * config.grain)
              for d in made]
    assert sorted(zip(work.rows, work.cols, strict=True)) == sorted(grains)
    return len(made)


@pytest.mark.parametrize("row_group", [8, 512])
@pytest.mark.parametrize("adcs", [2, 16])
@pytest.mark.parametrize("name", MAPPINGS)
@pytest.mark.parametrize("matrices", [
    QKV, (Matrix("w", 96, 48, 4, 8),), (Matrix("w", 60, 36, 6, 10, rank=2),),
    (Matrix("w", 64, 512, 4, 4),)], ids=["qkv", "rectangle", "rank 2", "cut"])
def test_drives_are_those_of_the_scheduler(matrices, name, adcs, row_group):
    mapping = MAPPINGS[name](matrices, 64, 8)
    config = AnalogConfig(arrays=mapping.arrays, adcs=adcs, act_depth=4096, acc_depth=4096)
    _assert_same_drives(matrices, mapping, config, Precision(row_group=row_group))


@pytest.mark.parametrize("name", MAPPINGS)
def test_drives_of_any_shapes_are_those_of_the_scheduler(name):
    """Also where no address generator reaches blocks that lie side by side."""
    rng = np.random.default_rng(7)
    shapes = [(32, 640, 5, 4, 4)]  # dense: 14 diagonals or rows of blocks, but 44 drives
    for _ in range(60):
        k, j, r = (int(n) for n in rng.integers(1, 14, 3))
        shapes.append((j * int(rng.integers(1, 12)), k * int(rng.integers(1, 12)), k, j,
                       1 + r // 4))
    config = AnalogConfig(arrays=64, array=32, grain=4, port=2, act_depth=32768, acc_depth=32768)
    compared = 0
    for n, (outputs, inputs, k, j, rank) in enumerate(shapes):
        count = 1 if n == 0 else int(rng.integers(1, 4))
        members = tuple(Matrix(f"w{i}", outputs, inputs, k, j, rank, shared="x" * (count > 1))
                        for i in range(count))
        if name == "dense" and count * padded(j, 32, 4) > 32:
            continue  # rows of their blocks side by side are wider than an array
        mapping = MAPPINGS[name](members, 32, 4)
        if mapping.arrays <= config.arrays:
            compared += _assert_same_drives(members, mapping, config)
    assert compared > 500


@pytest.mark.parametrize(("name", "slack"), [
    ("linear", 0), ("sparse", 0), ("scatter", 0), ("dense", 100)])
def test_interval_is_that_of_the_tile(name, slack):
    """Cycles per token of a long program; dense also waits for stage R to retire in order."""
    layers = [Matrix(f"w{n}", 256, 256, 16, 16) for n in range(4)]
    mapping = MAPPINGS[name](layers, 64, 8)
    config = AnalogConfig(arrays=mapping.arrays, adcs=16, act_depth=8192, acc_depth=8192)
    zeros = {(m.name, stage): np.zeros(shape, dtype=np.int8) for m in layers
             for stage, shape in (("W", (256, 256)), ("R", (16,) * 3), ("L", (16,) * 3))}

    def run(tokens):
        return cycles(config, schedule(mapping, ["w0"], zeros, config, tokens=tokens,
                                       scales={m.name: (0, 1, 0) for m in layers}).run)

    step = latency(drives(mapping), config).steps[0]
    assert step.interval <= (run(8) - run(4)) / 4 <= step.interval + slack
    assert step.serial <= run(1) <= step.serial + 256


def test_bad_input():
    work = drives(sparse([SQUARE], 256))
    with pytest.raises(ConfigError, match="normalization must be one of per_array, equal_adcs, not "
                                          "'fair'"):
        latency(work, _config(), normalization="fair")
    with pytest.raises(ConfigError, match="the mapping is for arrays of 256, not 64"):
        latency(work, AnalogConfig())
    with pytest.raises(ConfigError, match="sparse: columns need 6 ADC bits, but there are 5"):
        latency(work, _config(adc_bits=5))
    assert latency(work, _config(adc_bits=5), RULES["paper"]).interval > 0
