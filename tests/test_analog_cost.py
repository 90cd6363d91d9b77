"""Events in closed form equal those that the golden tile counts; tables are checked."""

import re

import numpy as np
import pytest
import yaml

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import ConfigError
from cimforge_sw.analog.cost import energy, events
from cimforge_sw.analog.drives import LOSSLESS, PAPER, drives
from cimforge_sw.analog.factors import Matrix
from cimforge_sw.analog.mappings import MAPPINGS, dense, linear, sparse
from cimforge_sw.analog.schedule import Precision, schedule
from cimforge_sw.analog.tech import load_technology, technology_names
from cimforge_verif.analog import AnalogTile

QKV = tuple(Matrix(name, 64, 64, 8, 8, shared="x") for name in "qkv")
SQUARE = Matrix("w", 1024, 1024, 32, 32)


def _weights(matrices, rng):
    found = {}
    for m in matrices:
        shapes = {"W": (m.outputs, m.inputs), "R": (m.blocks_in, m.blocks_out, m.inputs // 8),
                  "L": (m.blocks_out, m.outputs // 8, m.blocks_in)}
        found |= {(m.name, stage): rng.integers(-128, 128, shape, dtype=np.int8)
                  for stage, shape in shapes.items()}
    return found


@pytest.mark.parametrize(("row_group", "cell_bits"), [(8, 1), (512, 2)])
@pytest.mark.parametrize("name", MAPPINGS)
def test_events_are_those_that_the_golden_tile_counts(name, row_group, cell_bits):
    mapping = MAPPINGS[name](QKV, 64, 8)
    config = AnalogConfig(arrays=mapping.arrays, act_depth=4096, cell_bits=cell_bits)
    rng, tokens = np.random.default_rng(0), 3
    precision = Precision(row_group=row_group)
    program = schedule(mapping, "qkv", _weights(QKV, rng), config, tokens=tokens,
                       scales=dict.fromkeys("qkv", (3, 9000, 19)), precision=precision)
    tile = AnalogTile(config)
    x = rng.integers(-128, 128, (tokens, 64), dtype=np.int8)
    tile.run(program.commands, program.weights, program.acts(x))
    work, rule = drives(mapping), dict.fromkeys(LOSSLESS, precision)
    most = events(work, config, rule, activity=1)
    counted = tile.counters
    assert counted.conversions == tokens * most.converted
    assert counted.convert == tokens * work.durations(config, rule).sum()
    assert counted.load * config.port == tokens * (most.read - 4 * work.sums.sum())
    # Of a token's pulses only the share is not known beforehand; here it is near one half.
    share = counted.pulses / (tokens * most.pulses)
    assert 0.4 < share < 0.6
    assert events(work, config, rule, activity=share).pulses * tokens == pytest.approx(
        counted.pulses)


def test_events_of_the_worked_example_by_hand():
    """1024 x 1024 on arrays of 256: 8 bits, 8 planes, 4 x 4 tiles or 64 blocks of 32 x 32."""
    config = AnalogConfig(array=256, grain=32)
    lin, spa, den = (events(drives(make([SQUARE], 256)), config, PAPER)
                     for make in (linear, sparse, dense))
    assert (lin.conversions, spa.conversions, den.conversions) == (
        {8: 64 * 4096}, {5: 64 * 2048}, {3: 64 * 2048})
    assert (lin.pulses, spa.pulses, den.pulses) == (4 * 4096, 4 * 2048, 4 * 2048)
    assert lin.cells == 4 * 8 * 1024 * 1024
    assert spa.cells == 4 * 8 * 2048 * 32  # nothing else is programmed on a sparse array's rows
    assert den.cells == 4 * 8 * 2048 * 256  # the other diagonals conduct as well
    assert (lin.additions, lin.requantizations) == (4096 + 3 * 1024, 0)
    assert (den.additions, den.requantizations) == (2048, 1024)
    assert lin.written == 4 * 4096
    assert den.written == 4 * 1024 + 1024


def test_energy_by_hand():
    found = energy(events(drives(dense([SQUARE], 256)), AnalogConfig(array=256, grain=32), PAPER),
                   load_technology("isaac"))
    assert found.converters == pytest.approx(64 * 2048 * 24.4140625 * 9)
    assert found.word_lines == pytest.approx(4 * 2048 * 8 * 390)
    assert found.total == pytest.approx(sum(vars(found).values()))


def test_conversion_laws():
    """PUMA: 0.22, 0.61, 1.56 pJ at 3, 5, 8 bits; zigzag-imc at 0.9 V: 0.243, 0.406, 0.701."""
    isaac, zigzag = load_technology("isaac"), load_technology("zigzag")
    assert [round(isaac.conversion(bits) / 1e3, 2) for bits in (3, 5, 8)] == [0.22, 0.61, 1.56]
    assert [round(zigzag.conversion(bits) / 1e3, 3) for bits in (3, 5, 8)] == [0.243, 0.406, 0.701]
    assert zigzag.extrapolated(9)
    assert not isaac.extrapolated(9)
    assert zigzag.cell == isaac.cell
    assert technology_names() == ["isaac", "zigzag"]


GOOD = {"value": 1, "unit": "fJ", "source": "here"}


@pytest.mark.parametrize(("change", "message"), [
    ({"cell": {"value": 1, "unit": "fJ"}}, "cell must have value, unit and source"),
    ({"cell": {**GOOD, "unit": "mW"}}, "cell: unit must be fJ or pJ, not 'mW'"),
    ({"adc_to": GOOD}, "adc_to: unit must be bit, not 'fJ'"),
    ({"cell": {**GOOD, "value": -1}}, "cell: value must be a number of at least 0, not -1"),
    ({"cell": {**GOOD, "value": "1"}}, "cell: value must be a number"),
    ({"cell": {**GOOD, "value": float("nan")}}, "cell: value must be a number"),
    ({"cell": {**GOOD, "source": " "}}, "cell: source must say where"),
    ({"cells": GOOD}, "unknown quantity 'cells'; there are adc_linear"),
    ({"title": 3}, "title must be text, not 3"),
    ({"base": "mine"}, "base must be one of isaac, zigzag, not 'mine'"),
    ({"base": None}, "title is missing"),
])
def test_bad_tables(tmp_path, change, message):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"base": "isaac", **change}))
    with pytest.raises(ConfigError, match=re.escape(f"{path}: ") + message):
        load_technology(path)


def test_tables_that_are_not_there_or_no_tables(tmp_path):
    with pytest.raises(ConfigError, match="no technology named 'mine'; there are isaac, zigzag"):
        load_technology("mine")
    path = tmp_path / "mine.yaml"
    path.write_text("- 1")
    with pytest.raises(ConfigError, match="expected quantities by name, not"):
        load_technology(path)
    path.write_text("cell: 1\ncell: 2")
    with pytest.raises(ConfigError, match="'cell' is given twice"):
        load_technology(path)


def test_impossible_activity():
    with pytest.raises(ConfigError, match=r"activity must be in 0 \.\. 1, not 2"):
        events(drives(sparse(QKV, 64)), AnalogConfig(), activity=2)
