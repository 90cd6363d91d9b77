"""The contract of the analog tile: presets, words, addresses, timelines."""

import numpy as np
import pytest

from cimforge.spec.analog.address import Side, last_address, lines
from cimforge.spec.analog.commands import FIELDS, Drive, End, SetRequantize, decode, encode
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.analog.timing import timeline
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.yaml_config import analog_preset_names, load_analog_config, save_config


@pytest.mark.parametrize("name", analog_preset_names())
def test_presets_load_and_come_back(name, tmp_path):
    config = load_analog_config(name)
    save_config(config, tmp_path / "copy.yaml")
    assert load_analog_config(tmp_path / "copy.yaml") == config


def test_a_file_differs_from_its_base(tmp_path):
    path = tmp_path / "tile.yaml"
    path.write_text("base: paper\nadcs: 4\n")
    config = load_analog_config(path)
    assert (config.array, config.adcs, config.adc_bits) == (256, 4, 9)
    for text, message in (("rows: 3", "unknown parameter"), ("base: pair", "base must be one of"),
                          ("adcs: 5", "tile.yaml: adcs must be a power of two in 1..64, not 5")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_analog_config(path)
    with pytest.raises(ConfigError, match="no preset named 'pair'; there are default, minilm"):
        load_analog_config("pair")


def test_words_are_whole_bytes_and_hold_what_fits():
    assert sum(bits for _, bits in FIELDS) == 256
    assert len({name for name, _ in FIELDS}) == len(FIELDS)
    commands = [SetRequantize(slot=31, bias=-(1 << 31), multiplier=65535, shift=47), End()]
    assert decode(encode(commands)) == commands
    drive = dict(array=0, row_mask=1, col_mask=1, src=0, dst=0, bits=1)
    for changes, message in (({"src": 1 << 16}, "src = 65536 does not fit 16 bits"),
                             ({"row_group": 3}, "row_group must be a power of two"),
                             ({"depends": -1}, "depends = -1 does not fit 16 bits")):
        with pytest.raises(DataError, match=message):
            encode([Drive(**drive | changes)])
    with pytest.raises(DataError, match="command 1: unknown opcode 0"):
        decode(np.concatenate([encode([End()]), np.zeros((1, 32), dtype=np.uint8)]))


def test_addresses_one_by_one():
    config = AnalogConfig(array=16, grain=2, port=1)
    for side in (Side(0b1011, 5, 1, 0, 0, 1), Side(0b11110000, 3, 7, 40, 1, 4),
                 Side(0b110011, 0, 2, 9, 3, 2), Side(0b1, 9, 3, 11, 7, 1)):
        expected = []
        for line in range(16):
            if side.mask >> line // 2 & 1:
                block, element = divmod(line, side.block * 2)
                turn = (block - side.rotation) % (8 // side.block)
                expected.append((line, side.base + side.jump * turn + side.stride * element))
        assert list(zip(*map(np.ndarray.tolist, lines(config, side)), strict=True)) == expected
        assert last_address(config, side) >= max(address for _, address in expected)


def test_drives_on_two_arrays_overlap_and_on_one_do_not():
    config = AnalogConfig(arrays=2)
    drive = Drive(array=0, row_mask=255, col_mask=255, src=0, dst=0, bits=7)
    other = Drive(array=1, row_mask=255, col_mask=255, src=0, dst=0, bits=7)
    apart = timeline(config, [drive, other, End()])
    same = timeline(config, [drive, drive, End()])
    first, second = (span.convert for span in apart.spans)
    assert second[0] - first[0] == 8  # the loader's beats
    first, second = (span.convert for span in same.spans)
    assert second[0] == first[1] + 1
    assert same.end - apart.end == 256 - 8
    assert apart.convert == same.convert == 512
