"""Products through converters in torch equal the golden tile's, bit by bit."""

import numpy as np
import pytest
import torch

from cimforge.spec.analog.commands import Drive, End, Input, Output
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import ConfigError
from cimforge_sw.analog.converter import Conversion, converted_product
from cimforge_verif.analog import AnalogTile


def _golden(x, weight, how):
    """Return one drive of a golden array for every vector, and its clamped conversions."""
    size = weight.shape[1]
    config = AnalogConfig(arrays=1, array=size, grain=size, port=size, adcs=1, adc_bits=16,
                          cell_bits=how.cell_bits)
    tile = AnalogTile(config)
    tile.arrays[0].program(0, 0, 1, np.pad(weight.T.astype(int), ((0, 0), (0, size - len(weight)))))
    drive = Drive(array=0, row_mask=1, col_mask=1, src=0, dst=0, depends=1, shift=how.shift,
                  bits=how.bits or 16, round=how.rounded,
                  row_group=how.row_group or 512)
    out = tile.run([Input(dst=0, count=1), drive, Output(src=0, count=1)] * len(x) + [End()],
                   acts=x)
    counts = tile.arrays[0].saturations[:len(weight)]
    return out[:, :len(weight)], int(counts.sum())


@pytest.mark.parametrize("how", [
    Conversion(32), Conversion(32, bits=3), Conversion(32, bits=3, shift=2),
    Conversion(32, bits=4, shift=1, rounded=True), Conversion(32, bits=3, row_group=8),
    Conversion(32, bits=2, cell_bits=2), Conversion(32, bits=5, cell_bits=4, row_group=4),
    Conversion(32, bits=11, cell_bits=8)])
def test_a_drive_is_the_golden_arrays(how):
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (9, 32), dtype=np.int8)
    weight = rng.integers(-128, 128, (32, 32), dtype=np.int8)
    ours, clamped = converted_product(torch.from_numpy(x), torch.from_numpy(weight), how)
    theirs, counted = _golden(x, weight, how)
    np.testing.assert_array_equal(ours.numpy(), theirs)
    assert clamped == counted
    assert clamped > 0 or how.shift or how.row_group or not how.bits


@pytest.mark.parametrize("how", [Conversion(16), Conversion(7, row_group=3), Conversion(64, bits=7),
                                 Conversion(16, cell_bits=4)])
def test_nothing_is_lost_with_enough_bits(how):
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.integers(-128, 128, (3, 5, 50), dtype=np.int8))
    weight = torch.from_numpy(rng.integers(-128, 128, (3, 6, 50), dtype=np.int8))
    out, clamped = converted_product(x, weight, how)
    assert torch.equal(out, (x.int() @ weight.int().mT))
    assert clamped == 0
    assert out.dtype == torch.int32


@pytest.mark.parametrize("how", [Conversion(24, bits=3), Conversion(24, 4, 2, rounded=True),
                                 Conversion(24, bits=9, shift=1, cell_bits=8)])
def test_blocks_are_products_of_their_own(how):
    rng = np.random.default_rng(2)
    x = torch.from_numpy(rng.integers(-128, 128, (3, 7, 40), dtype=np.int8))
    weight = torch.from_numpy(rng.integers(-128, 128, (3, 5, 40), dtype=np.int8))
    together, clamped = converted_product(x, weight, how)
    alone = [converted_product(*each, how) for each in zip(x, weight, strict=True)]
    assert torch.equal(together, torch.stack([out for out, _ in alone]))
    assert clamped == sum(count for _, count in alone)
    quiet = converted_product(x, weight, how, count=False)
    assert torch.equal(quiet[0], together)
    assert quiet[1] == 0


def test_a_drive_ends_with_the_array():
    spans = [(s.start, s.stop) for s in Conversion(8, row_group=4).pulses(18)]
    assert spans == [(0, 4), (4, 8), (8, 12), (12, 16), (16, 18)]


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"rows": 4, "bits": 17}, {"rows": 4, "shift": 16},
                                   {"rows": 4, "cell_bits": 3}, {"rows": 4, "row_group": -1},
                                   {"rows": 2.5}, {"rows": "8"}, {"rows": 8, "bits": 2.0},
                                   {"rows": 8, "shift": -1}, {"rows": 8, "row_group": 3.0},
                                   {"rows": 8, "rounded": 1}, {"rows": 8, "cell_bits": 1.0}])
def test_conversions_that_are_none(wrong):
    with pytest.raises(ConfigError, match="must be"):
        Conversion(**wrong)
