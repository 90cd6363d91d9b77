"""Liberty: syntax, units, tables and functions; what is broken is one clear error."""

import gzip

import numpy as np
import pytest

from cimforge.spec.errors import DataError
from cimforge.synth.functions import parse_function
from cimforge.synth.liberty import read_library
from cimforge.synth.run import unpacked

LIBRARY = """
/* a comment */
library (small) {
  time_unit : "10ps";
  voltage_unit : "1V";
  leakage_power_unit : "1uW";
  capacitive_load_unit (2, ff);
  nom_voltage : 1.2;
  power_lut_template (energy) {
    variable_1 : total_output_net_capacitance; variable_2 : input_transition_time;
    index_1 ("0, 10"); index_2 ("0, 1");
  }
  power_lut_template (passive) { variable_1 : input_transition_time; index_1 ("0, 1"); }
  cell (INV) {
    area : 1.5; cell_leakage_power : 3;
    pin (A) { direction : input; capacitance : 4; }
    pin ("Y") { direction : "output"; function : "(!A)";
      internal_power () { related_pin : "A";
        rise_power (energy) { values ("1, 2", \\
                                      "3, 4"); }
        fall_power (energy) { values ("1, 2", "3, 4"); } } }
  }
  cell (DFF) {
    area : 6; ff (IQ, IQN) { next_state : "D"; clocked_on : "CK"; }
    pin (CK) { direction : input; clock : true; capacitance : 1;
      internal_power () { rise_power (passive) { values ("5, 7"); } } }
    pin (D) { direction : input; capacitance : 1; }
    pin (Q) { direction : output; function : "IQ"; }
  }
}
"""


@pytest.fixture
def written(tmp_path):
    def write(text=LIBRARY):
        path = tmp_path / "small.lib"
        path.write_text(text)
        return path
    return write


def test_units_are_converted(written):
    library = read_library(written())
    assert library.second == pytest.approx(1e-11)
    assert library.farad == pytest.approx(2e-15)
    assert library.voltage == 1.2
    inverter = library.cells["INV"]
    assert inverter.area == 1.5
    assert inverter.leakage == pytest.approx(3e-6)
    assert inverter.pins["A"].capacitance == pytest.approx(8e-15)


def test_energies_are_linear_between_points_and_in_joules(written):
    energy, = read_library(written()).cells["INV"].pins["Y"].energies
    half_load, half_slew = 5 * 2e-15, 0.5e-11
    assert energy.related == "A"
    assert energy.at(half_load, half_slew) == pytest.approx(2.5 * 2e-15)
    assert energy.at(2 * 10 * 2e-15, 0) == pytest.approx(5 * 2e-15)  # beyond the last point


def test_a_table_over_slew_alone(written):
    energy, = read_library(written()).cells["DFF"].pins["CK"].energies
    assert energy.at(1.0, 0.5e-11) == pytest.approx(6 * 2e-15)


def test_packed_files_are_read(written):
    path = written()
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert read_library(path).name == "small"
    plain = unpacked(path, path.parent / "build")
    assert plain.read_text() == LIBRARY
    assert unpacked(plain) == plain


def test_a_broken_package_is_one_error(written):
    path = written()
    path.write_bytes(gzip.compress(path.read_bytes())[:-20])
    with pytest.raises(DataError, match="broken gzip"):
        read_library(path)


@pytest.mark.parametrize(("old", "new", "wanted"), [
    ("ff (IQ, IQN)", "latch (IQ, IQN)", "none of its 2 cells is a flip-flop"),
    ('"10ps"', '"10 parsec"', "time_unit must be a number and a unit"),
    ('time_unit : "10ps";', "", "time_unit must be"),
    ('"1uW"', '"1 hp"', "leakage_power_unit must be"),
    ("(2, ff)", "(2, farthing)", "capacitive_load_unit must be"),
    ("(2, ff)", "(-2, ff)", "capacitive_load_unit must be"),
    ("area : 1.5", "area : large", "cell INV: area must be a number"),
    ("nom_voltage : 1.2;", "", "nom_voltage must be a number"),
    ('"3, 4"); }\n', '"3"); }\n', "has 3 values"),
    ('"(!A)"', '"(!A"', "not a Liberty function"),
    ("library (small)", "module (small)", "wanted a library, found 'module'"),
    ("cell (INV) {", "cell (INV {", "not Liberty"),
])
def test_a_broken_library_is_one_error(written, old, new, wanted):
    assert old in LIBRARY
    with pytest.raises(DataError, match=r".") as caught:
        read_library(written(LIBRARY.replace(old, new, 1)))
    assert wanted in str(caught.value)


def test_a_missing_library_is_one_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_library(tmp_path / "none.lib")


@pytest.mark.parametrize(("text", "python"), [
    ("(!((A B)+C))", lambda a, b, c: not ((a and b) or c)),
    ("A'*B | C", lambda a, b, c: (not a and b) or c),
    ("A ^ B & C", lambda a, b, c: (a != b) and c),  # the exclusive or binds tighter
    ("!(A&B)' + 0", lambda a, b, c: a and b),
    ("C + 1", lambda a, b, c: True),
])
def test_functions(text, python):
    function = parse_function(text)
    for case in range(8):
        bits = [bool(case >> i & 1) for i in range(3)]
        words = {name: np.array([bit * 0xFFFF_FFFF_FFFF_FFFF], np.uint64)
                 for name, bit in zip("ABC", bits, strict=True)}
        value = int(np.atleast_1d(function.evaluate(words))[0]) & 1
        assert value == python(*bits), (text, bits)


@pytest.mark.parametrize("text", ["", "A &", "(A", "A)", "A $ B", "&A"])
def test_what_is_no_function(text):
    with pytest.raises(DataError, match="not a Liberty function"):
        parse_function(text)
