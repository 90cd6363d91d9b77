"""A program whose meaning depends on timing is refused, with the command it should wait for."""

import numpy as np
import pytest

from cimforge.spec.analog.commands import Drive, End, Erase, Input
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import DataError
from cimforge_verif.analog.hazards import check_hazards
from cimforge_verif.analog.vectors import AnalogVectors

TINY = AnalogConfig(arrays=2, array=8, grain=2, port=1, adcs=4, act_depth=64, acc_depth=64)


def _drive(src, dst=0, **fields):
    return Drive(**{"array": 0, "row_mask": 15, "col_mask": 15, "src": src, "dst": dst, "bits": 4,
                    "src_jump": 2, "dst_jump": 2, **fields})


@pytest.mark.parametrize("commands", [
    [Input(dst=0, count=8), _drive(0, depends=1)],
    [Input(dst=0, count=8), Input(dst=8, count=8), _drive(0, depends=2), _drive(0)],
    [Input(dst=0, count=8), Erase(array=1), _drive(0)],
    [Input(dst=0, count=8), _drive(8)],
    [Input(dst=0, count=8), _drive(0, 16, depends=1, requantize=True), _drive(16, depends=1)],
    [Input(dst=0, count=8), _drive(0, 16, depends=1), _drive(16)],
])
def test_programs_that_wait(commands):
    check_hazards(TINY, commands)


@pytest.mark.parametrize(("commands", "message"), [
    ([Input(dst=0, count=8), _drive(0)],
     r"drive 1 loads what command 0 writes.* for it: depends must be 1\.\.1, not 0"),
    ([Input(dst=0, count=8), Input(dst=0, count=1), _drive(0, depends=2)],
     r"drive 2 loads what command 1 writes .* 1\.\.1, not 2"),
    ([Input(dst=0, count=8), _drive(0, 16, depends=1, requantize=True), _drive(16, depends=2)],
     r"drive 2 loads what command 1 writes"),
    ([_drive(0, dst_stride=0)], "drive 0 writes one address from two columns"),
    ([_drive(0, dst_jump=1)], "drive 0 writes one address from two columns"),
])
def test_programs_that_do_not(commands, message):
    with pytest.raises(DataError, match=f"layer: {message}"):
        check_hazards(TINY, commands, "layer")


def test_vectors_are_checked():
    commands = [Input(dst=0, count=8), _drive(0), End()]
    vectors = AnalogVectors(TINY, commands, np.zeros((0, 1), np.int8), np.zeros((8, 1), np.int8))
    with pytest.raises(DataError, match="does not wait for it"):
        vectors.expected()
