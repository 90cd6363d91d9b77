"""What the compiler refuses, and how it says so."""

from types import SimpleNamespace

import numpy as np
import pytest
from compile_interpreter import SMALL, random_weight

from cimforge.spec import program as program_module
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge.spec.program import Program
from cimforge.spec.program_io import load_program, save_program
from cimforge_sw.compile import compile_layer, compile_model, layer_cycles, retarget_layer

GOOD = random_weight(np.random.default_rng(0), 6, 16, 2, 4)


def build(config=SMALL, weight=GOOD, pattern="2:4", tokens=3, **options):
    return compile_layer(config, "ffn.0", weight, NmPattern.parse(pattern), tokens, **options)


@pytest.mark.parametrize(("options", "message"), [
    (dict(weight=GOOD[0]),
     r"^ffn\.0: weights must have shape \(outputs, inputs\), both at least 1, not \(16,\)$"),
    (dict(weight=GOOD[:0]), r"^ffn\.0: weights must have shape .*, not \(0, 16\)$"),
    (dict(weight=GOOD[:, :0]), r"^ffn\.0: weights must have shape .*, not \(6, 0\)$"),
    (dict(weight=GOOD.astype(float)), r"^ffn\.0: weights must be integers, not float64$"),
    (dict(weight=np.array([[200, -3]])),
     r"^ffn\.0: weights must be in -128\.\.127 \(weight_bits = 8\), not -3\.\.200$"),
    (dict(config=SMALL.replace(weight_bits=4), weight=np.array([[0, -9]])),
     r"^ffn\.0: weights must be in -8\.\.7 \(weight_bits = 4\), not -9\.\.0$"),
    (dict(weight=np.zeros((1, 1025), dtype=np.int8)),
     r"^ffn\.0: the configuration takes at most max_k = 1024 inputs, not 1025$"),
    (dict(tokens=0), r"^ffn\.0: tokens must be an integer of at least 1, not 0$"),
    (dict(tokens=2.5), r"^ffn\.0: tokens must be an integer of at least 1, not 2\.5$"),
    (dict(weight=np.ones((2, 900), dtype=np.int8), pattern="1:1"),
     r"^ffn\.0: 900 inputs take 29 windows per token, but the .* buffer holds act_depth = 16$"),
    (dict(weight=np.ones((2, 90), dtype=np.int8), pattern="1:1", group=1,
          config=SMALL.replace(act_depth=4)),
     r"^ffn\.0: 90 inputs take 6 windows per token, but .* act_depth = 4$"),
])
def test_data(options, message):
    with pytest.raises(DataError, match=message):
        build(**options)


@pytest.mark.parametrize(("options", "message"), [
    (dict(group=3), r"^ffn\.0: group must be one of 1, 2, not 3$"),
    (dict(mode="2:8"), r"^ffn\.0: mode must be one of 1:4, 2:4, 3:4, 4:4, not 2:8$"),
    (dict(mode="half"), r"^expected an N:M pattern such as '2:4', or 'dense', not 'half'$"),
    (dict(config=SMALL.replace(select="pair"), group=1, mode="2:4"),
     r"^ffn\.0: mode must be one of 1:4, 1:2, 1:1, not 2:4$"),
    (dict(config=SMALL.replace(rows=1, fixed_n=2), group=1),
     r"^ffn\.0: the configuration has no mode with group = 1$"),
])
def test_config(options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options)


@pytest.mark.parametrize(("position", "message"), [
    ((3, slice(4, 8)),
     r"^ffn\.0: not 2:4: output 3 keeps 4 of inputs 4\.\.7; 1 of 24 groups keep more than 2$"),
    ((slice(None), slice(12, 16)),
     r"^ffn\.0: not 2:4: output 0 keeps 4 of inputs 12\.\.15; 6 of 24 groups keep more than 2$"),
])
def test_a_broken_pattern_is_caught(position, message):
    broken = GOOD.copy()
    broken[position] = 1
    with pytest.raises(DataError, match=message):
        build(weight=broken)


def test_a_broken_tail_is_caught():
    with pytest.raises(DataError, match=r"output 0 keeps 3 of inputs 4\.\.6;"):
        build(weight=np.array([[0, 0, 0, 1, 1, 1, 1]], dtype=np.int8))


def test_a_model_names_the_layer_at_fault():
    layers = {"good": SimpleNamespace(weight=GOOD, pattern=NmPattern(2, 4)),
              "bad": SimpleNamespace(weight=GOOD, pattern=NmPattern(1, 4))}
    with pytest.raises(DataError, match=r"^bad: not 1:4: output 0 keeps 2 of inputs 0\.\.3;"):
        compile_model(SMALL, layers, 2)
    with pytest.raises(DataError, match=r"^a program needs at least one layer, got none$"):
        compile_model(SMALL, {}, 2)


def test_retarget_refuses():
    layer = build()
    with pytest.raises(DataError, match=r"^ffn\.0: tokens must be an integer of at least 1"):
        retarget_layer(SMALL, layer, 0)
    for other in (SMALL.replace(cols=8), SMALL.replace(max_m=2), SMALL.replace(rows=8)):
        with pytest.raises(DataError, match=r"^ffn\.0: compiled for another configuration$"):
            retarget_layer(other, layer, 3)


ESCAPES = ["../x", "a/../../x", "/etc/x", "a//b", "a/", ".", "", "a\0b", "a\nb", 3]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_name_that_leads_out_of_a_folder(name):
    with pytest.raises(DataError, match="a layer's name must be like a relative path"):
        compile_layer(SMALL, name, GOOD, NmPattern(2, 4), 1)


@pytest.mark.parametrize("name", ["encoder.layer.0/attention", "..a", "a..b", "ä b"])
def test_other_names_are_fine(name):
    assert compile_layer(SMALL, name, GOOD, NmPattern(2, 4), 1).name == name


@pytest.mark.parametrize("where", ["name", "key"])
def test_a_program_file_with_such_a_name(where, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(program_module, "check_layer_name", lambda name: None)
        good, bad = build(), build()
        object.__setattr__(bad, "name", "../../x")
        layers = {"x": bad} if where == "name" else {"../x": good}
        save_program(Program(config=SMALL, layers=layers), tmp_path)
    with pytest.raises(DataError, match=r"a layer's name must be .* not '(\.\./)+x'"):
        load_program(tmp_path)


def test_windows_that_no_command_can_count():
    config = DcimConfig(sub_macros=1, rows=1, cols=1, max_m=1, act_port_bits=8, act_depth=1 << 16,
                        max_k=1 << 16)
    message = (r"65536 inputs take 65536 windows per token, but the activation buffer holds "
               r"act_depth = 65536, of which a command counts 65535$")
    with pytest.raises(DataError, match=message):
        build(config, np.ones((1, 1 << 16), dtype=np.int8), "1:1", 1)
    with pytest.raises(DataError, match=r"65536 windows per token, but .* holds 65535"):
        layer_cycles(config, 1, 1 << 16, 1, 1, 1)
    assert layer_cycles(config, 1, (1 << 16) - 1, 1, 1, 1) > 2 * 65535
