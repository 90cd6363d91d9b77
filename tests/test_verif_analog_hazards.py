"""A program whose meaning depends on timing or on old memories is refused, naming the command."""

from dataclasses import replace

import numpy as np
import pytest

from cimforge.spec.analog.commands import Drive, End, Erase, Input, Output, SetRequantize
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import DataError
from cimforge_verif.analog.hazards import check_hazards
from cimforge_verif.analog.random_program import random_program
from cimforge_verif.analog.vectors import AnalogVectors

TINY = AnalogConfig(arrays=2, array=8, grain=2, port=1, adcs=4, act_depth=64, acc_depth=64)


def _drive(src, dst=0, **fields):
    return Drive(**{"array": 0, "row_mask": 15, "col_mask": 15, "src": src, "dst": dst, "bits": 4,
                    "src_jump": 2, "dst_jump": 2, **fields})


_SET = SetRequantize(slot=0, bias=0, multiplier=1, shift=0)
_GIVEN = Input(dst=0, count=8)


@pytest.mark.parametrize("commands", [
    [_GIVEN, _drive(0, depends=1)],
    [_GIVEN, Input(dst=8, count=8), _drive(0, depends=2), _drive(0)],
    [_GIVEN, Erase(array=1), _drive(0)],
    [Input(dst=0, count=16), Erase(array=0), Input(dst=0, count=8), _drive(8)],
    [_SET, _GIVEN, _drive(0, 16, depends=1, requantize=True), _drive(16, depends=1)],
    [Input(dst=16, count=8), Erase(array=0), _GIVEN, _drive(0, 16, depends=1), _drive(16)],
    [_GIVEN, _drive(0, depends=1), _drive(0, accumulate=True), Output(src=0, count=8)],
])
def test_programs_that_wait(commands):
    check_hazards(TINY, [*commands, End()])


@pytest.mark.parametrize(("commands", "message"), [
    ([_GIVEN, _drive(0)],
     r"drive 1 loads what command 0 writes.* for it: depends must be 1\.\.1, not 0"),
    ([_GIVEN, Input(dst=0, count=1), _drive(0, depends=2)],
     r"drive 2 loads what command 1 writes .* 1\.\.1, not 2"),
    ([_SET, _GIVEN, _drive(0, 16, depends=1, requantize=True), _drive(16, depends=2)],
     r"drive 3 loads what command 2 writes"),
    ([_GIVEN, _drive(0, depends=1, dst_stride=0)], "drive 1 writes one address from two columns"),
    ([_GIVEN, _drive(0, depends=1, dst_jump=1)], "drive 1 writes one address from two columns"),
    ([_GIVEN, _drive(1, depends=1)], "drive 1 loads activation 8, which no earlier command writes"),
    ([_GIVEN, _drive(0, 16, depends=1), _drive(16)], "drive 2 loads activation 16, which"),
    ([_GIVEN, _drive(0, depends=1, accumulate=True)], "drive 1 adds to sum 0, which"),
    ([_GIVEN, _drive(0, depends=1), Output(src=1, count=8)], "output 2 sends sum 8, which"),
    ([_GIVEN, _drive(0, depends=1, requantize=True)], "drive 1 uses requantizer 0, which"),
])
def test_programs_that_do_not(commands, message):
    with pytest.raises(DataError, match=f"layer: {message}"):
        check_hazards(TINY, [*commands, End()], "layer")


def test_vectors_are_checked():
    commands = [_GIVEN, _drive(0), End()]
    vectors = AnalogVectors(TINY, commands, np.zeros((0, 1), np.int8), np.zeros((8, 1), np.int8))
    with pytest.raises(DataError, match="does not wait for it"):
        vectors.expected()


@pytest.mark.parametrize(("change", "message"), [
    (lambda commands: commands[:-1], "End, which none of its"),
    (lambda commands: [*commands, Erase(array=0)], r"first End, command \d+, but 1 command\(s\)"),
    (lambda commands: [*commands, End()], r"first End, command \d+, but 1 command\(s\) follow"),
    (lambda commands: [End(), *commands], r"first End, command 0, but \d+ command\(s\) follow"),
])
def test_a_program_ends_once(change, message):
    good = random_program(TINY, np.random.default_rng(0), 20)
    good.expected()
    commands = change(good.commands)
    with pytest.raises(DataError, match=f"random program: must end with .*{message}"):
        replace(good, commands=commands).expected()

    with pytest.raises(DataError, match="which none of its 0 commands is"):
        check_hazards(TINY, [])


@pytest.mark.parametrize("seed", range(8))
def test_random_programs_read_what_they_wrote(seed):
    random_program(TINY, np.random.default_rng(seed), 60).expected()
