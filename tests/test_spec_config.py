"""Every parameter is checked, and every message says what is wanted and what came."""

import dataclasses
from pathlib import Path

import pytest

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.files import check_writable
from cimforge.spec.mode import Mode
from cimforge.spec.yaml_config import load_config, preset_names, save_config

ERRORS = [
    (dict(rows="8"), "rows must be an integer, not '8'"),
    (dict(cols=True), "cols must be an integer, not True"),
    (dict(max_k=1.5), "max_k must be an integer, not 1.5"),
    (dict(select="free"), "select must be one of line, pair, not 'free'"),
    (dict(sub_macros=3), "sub_macros must be one of 1, 2, 4, 8, not 3"),
    (dict(rows=0), "rows must be in 1..256, not 0"),
    (dict(rows=512), "rows must be in 1..256, not 512"),
    (dict(rows=24), "rows must be a power of two, not 24"),
    (dict(cols=0), "cols must be in 1..256, not 0"),
    (dict(cols=257), "cols must be in 1..256, not 257"),
    (dict(weight_bits=6), "weight_bits must be one of 4, 8, not 6"),
    (dict(act_bits=16), "act_bits must be one of 4, 8, not 16"),
    (dict(act_slice=3), "act_slice must be one of 1, 2, 4, 8, not 3"),
    (dict(act_bits=4, act_slice=8), "act_slice must be one of 1, 2, 4, not 8"),
    (dict(weight_banks=3), "weight_banks must be one of 1, 2, not 3"),
    (dict(index_coding="gray"), "index_coding must be one of binary, one_hot, not 'gray'"),
    (dict(index_coding="one_hot", max_m=1),
     "index_coding must be binary with max_m = 1: one line needs no index; not 'one_hot'"),
    (dict(adder_stages=3), "adder_stages must be one of 1, 2, not 3"),
    (dict(max_m=3), "max_m must be one of 1, 2, 4, 8, 16, not 3"),
    (dict(index_share=3), "index_share must be one of 1, 2, 4, not 3"),
    (dict(cols=6, index_share=4), "index_share must divide cols = 6, not 4"),
    (dict(fixed_n=9), "fixed_n must be in 0..8, not 9"),
    (dict(fixed_n=-1), "fixed_n must be in 0..8, not -1"),
    (dict(select="pair", index_share=2),
     "index_share needs select: line; with pair it must be 1, not 2"),
    (dict(select="pair", fixed_n=2), "fixed_n needs select: line; with pair it must be 0, not 2"),
    (dict(select="pair", max_m=16), "max_m must be in 2..8 (2P) with select: pair, not 16"),
    (dict(select="pair", max_m=1), "max_m must be in 2..8 (2P) with select: pair, not 1"),
    (dict(sub_macros=1, rows=2, fixed_n=3),
     "fixed_n must be at most rows * sub_macros = 2, not 3"),
    (dict(acc_bits=22), "acc_bits must be in 23..48, not 22"),
    (dict(acc_bits=49), "acc_bits must be in 23..48, not 49"),
    (dict(max_k=0), "max_k must be in 1..131071, or acc_bits = 32 could overflow; not 0"),
    (dict(acc_bits=24, max_k=512),
     "max_k must be in 1..511, or acc_bits = 24 could overflow; not 512"),
    (dict(load_rows=3), "load_rows must be a power of two of at most sub_macros = 4, not 3"),
    (dict(load_rows=8), "load_rows must be a power of two of at most sub_macros = 4, not 8"),
    (dict(act_port_bits=4), "act_port_bits must be in 8..4096, not 4"),
    (dict(act_port_bits=8192), "act_port_bits must be in 8..4096, not 8192"),
    (dict(act_port_bits=12), "act_port_bits must be a multiple of act_bits = 8, not 12"),
    (dict(out_port=33), "out_port must be in 1..32, not 33"),
    (dict(out_port=3), "out_port must divide cols = 32, not 3"),
    (dict(act_depth=1), "act_depth must be in 2..65536, not 1"),
    (dict(acc_depth=65537), "acc_depth must be in 2..65536, not 65537"),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS)
def test_errors(arguments, message):
    with pytest.raises(ConfigError) as error:
        DcimConfig(**arguments)
    assert str(error.value) == message


def test_every_parameter_has_an_error():
    fields = {field.name for field in dataclasses.fields(DcimConfig)}
    assert fields == {message.split()[0] for _, message in ERRORS}


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(DcimConfig)])
def test_every_parameter_changes_the_digest(name):
    other = dict(sub_macros=2, rows=16, cols=16, weight_bits=4, act_bits=4, act_slice=1, max_m=4,
                 fixed_n=2, select="pair", index_share=2, weight_banks=1, adder_stages=1,
                 index_coding="one_hot",
                 acc_bits=33, max_k=9, load_rows=1, act_port_bits=64, out_port=1, act_depth=9,
                 acc_depth=9)
    base = DcimConfig(act_slice=4)
    assert base.replace(**{name: other[name]}).digest != base.digest


def test_derived_parameters_of_the_default():
    config = load_config("default")
    assert (config.slots, config.groups, config.slices) == (128, (1, 2, 4), 1)
    assert len(config.modes) == 24
    assert config.k_tile(Mode(2, 8, 4)) == 512
    assert config.k_tile(Mode(3, 8, 4)) == 42 * 8
    assert config.outputs(Mode(2, 8, 1)) == 128
    assert config.window_inputs == 1024
    assert (config.column_bits, config.macro_bits) == (21, 23)
    assert (config.lines, config.index_bits, config.unit_bits) == (8, 3, 11)
    assert config.cell_bits == config.unit_bits
    assert config.replace(index_coding="one_hot").cell_bits == 16
    assert (config.weight_beat_bits, config.weight_beats) == (4 * 32 * 11, 32)
    assert (config.act_lanes, config.window_beats) == (32, 32)
    assert (config.select_bits, config.select_beats, config.max_steps) == (0, 0, 1)
    pair = load_config("pair")
    assert (pair.lines, pair.index_bits, pair.max_steps) == (2, 1, 32)
    assert pair.select_bits == 128 * 4 + 128
    assert {(m.n, m.m) for m in pair.modes if m.group == 1} == {(1, 8), (1, 4), (1, 2), (1, 1)}


def test_natural_widths_follow():
    config = load_config("default")
    assert config.replace(cols=64).out_port == 64
    assert config.replace(sub_macros=8).load_rows == 8
    assert config.replace(out_port=16).replace(cols=64).out_port == 16
    assert config.replace(cols=64, out_port=8).out_port == 8


def test_the_smallest_and_largest_are_legal():
    DcimConfig(sub_macros=1, rows=1, cols=1, weight_bits=4, act_bits=4, act_slice=1, max_m=1,
               weight_banks=1, acc_bits=8, max_k=1, act_port_bits=4, act_depth=2, acc_depth=2)
    DcimConfig(sub_macros=8, rows=256, cols=256, max_m=16, index_share=4, acc_bits=48,
               act_port_bits=4096, act_depth=65536, acc_depth=65536)


@pytest.mark.parametrize("name", preset_names())
def test_presets_equal_themselves_when_saved(name, tmp_path):
    config = load_config(name)
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(tmp_path / "saved.yaml") == config
    assert load_config(str(tmp_path / "saved.yaml")).digest == config.digest


@pytest.mark.parametrize(("text", "message"), [
    ("rows: 8\nrow: 3\n1: 2", "unknown parameter(s): 1, row"),
    ("rows: 3", "rows must be a power of two, not 3"),
    ("rows: 8\ncols: 4\nrows: 4", "'rows' is given twice (line 3)"),
    ("cols: 4\nrows: [1", "not valid YAML: line 2: expected ',' or ']', but got '<stream end>'"),
    ("rows: 8\n\tcols: 4", ("not valid YAML: line 2: found character '\\t' that cannot start any "
                            "token")),
    ("rows: \0",
     "not valid YAML: unacceptable character #x0000: special characters are not allowed"),
    ("rows: !!int five",
     "not valid YAML: line 1: invalid literal for int() with base 10: 'five'"),
    ("? [rows]\n: 8", "expected one value (line 1)"),
    ("- 1", "expected parameters as 'name: value', not [1]"),
    ("rows", "expected parameters as 'name: value', not 'rows'"),
    ("base: nothing", f"base must be one of {', '.join(preset_names())}, not 'nothing'"),
    ("base: [tiny]", f"base must be one of {', '.join(preset_names())}, not ['tiny']"),
    ("!!python/object:os.system {}", ("not valid YAML: line 1: could not determine a constructor "
                                     "for the tag 'tag:yaml.org,2002:python/object:os.system'")),
])
def test_bad_yaml(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(error.value) == f"{path}: {message}"


def test_a_configuration_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/mine\.yaml: cannot be written: "):
        save_config(DcimConfig(), tmp_path / "file" / "mine.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"folder\.yaml: cannot be written: Is a directory"):
        save_config(DcimConfig(), tmp_path / "folder.yaml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.yaml"]


def test_output_folders_are_checked_without_leaving_anything(tmp_path):
    check_writable(tmp_path / "new" / "folder")
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/below"):
        with pytest.raises(DataError, match=rf"{folder}: cannot be written: .*file is a file"):
            check_writable(tmp_path / folder)
    with pytest.raises(DataError, match="/proc/here: cannot be written: "):
        check_writable(Path("/proc/here"))  # whoever asks, nobody makes files there
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_cannot_be_its_own_base(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"base: {path}")
    with pytest.raises(ConfigError, match="base must be one of"):
        load_config(path)


def test_unreadable_files(tmp_path):
    path = tmp_path / "mine.yaml"
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(error.value) == (
        f"{path}: cannot read the configuration: No such file or directory")
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match=r"mine\.yaml: not valid YAML: "):
        load_config(path)
    with pytest.raises(ConfigError) as error:
        load_config("huge")
    assert str(error.value) == (f"no preset named 'huge'; there are {', '.join(preset_names())}, "
                                f"or give the path of a .yaml file")


def test_files_differ_from_a_preset(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text("base: tiny\ncols: 8\n")
    assert load_config(path) == load_config("tiny").replace(cols=8)
    path.write_text("")
    assert load_config(path) == DcimConfig()
