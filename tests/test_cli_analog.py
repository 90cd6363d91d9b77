"""Commands for Monarch models: what they write, and what they refuse."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sw_checkpoints import add_letters, save_tiny

import cimforge as cf
from cimforge.cli import main
from cimforge.spec.analog.commands import decode
from cimforge.spec.analog.program import AnalogProgram
from cimforge.spec.errors import ConfigError, DataError

_TILE = "arrays: 64\narray: 16\ngrain: 2\nport: 2\nact_depth: 4096\nacc_depth: 4096\n"


@pytest.fixture
def work(tmp_path):
    """Return a folder with a tiny BERT, text for it, and a tile."""
    add_letters(save_tiny("bert", tmp_path / "bert"))
    (tmp_path / "text.txt").write_text("a bad cab\ndead beef\na fade\nbead cafe\n")
    (tmp_path / "tile.yaml").write_text(_TILE)
    return tmp_path


@pytest.fixture
def run(work, monkeypatch, capsys):
    """Run the command line in that folder; return exit code, output and errors."""
    monkeypatch.chdir(work)

    def start(*arguments):
        monkeypatch.setattr("sys.argv", ["cimforge", *arguments])
        code = main()
        return code, *capsys.readouterr()
    return start


@pytest.mark.parametrize("mapping", ["linear", "sparse", "dense", "scatter", "hybrid"])
def test_layers_run_and_vectors_are_written(run, work, mapping):
    rule = () if mapping == "linear" else ("--rule", "4x4")
    code, out, _ = run("analog", "bert", "--config", "tile.yaml", "--calib", "text.txt", *rule,
                       "--layer", "*.0.attention.*", "--mapping", mapping, "--tokens", "3",
                       "--out", "made")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 2  # query, key and value; the output
    assert lines[0].count("attention.self") == 3
    record = json.loads((work / "made" / "analog.json").read_text())
    config = cf.load_analog_config(work / "tile.yaml")
    for number, program in enumerate(record["programs"]):
        assert program["illegal"] == -1
        vectors = cf.load_analog_vectors(work / "made" / f"{number:02}", config)
        assert vectors.expected().counters == program["counters"]
        assert f"{program['cycles_predicted']} predicted" in lines[number]
    for picture in ("mapping.svg", "gantt.svg"):
        assert (work / "made" / picture).read_text().startswith("<?xml")
    assert {part for parts in record["layers"].values() for part in parts} == {
        "dense" if mapping == "linear" else "4x4"}


def test_d2s_is_saved_and_used(run, work):
    code, out, _ = run("d2s", "bert", "--calib", "text.txt", "--rule", "4x4 r2", "--recover",
                       "--out", "monarch")
    assert code == 0
    assert out.count("4x4 r2, weight error ") == out.count("\n") - 1
    code, again, _ = run("analog", "monarch", "--config", "tile.yaml", "--calib", "text.txt",
                         "--layer", "*.0.intermediate.dense", "--tokens", "2")
    assert code == 0
    assert again.startswith("encoder.layer.0.intermediate.dense: ")
    for option in (("--rule", "sqrt"), ("--recover",)):
        code, _, error = run("analog", "monarch", "--config", "tile.yaml", "--calib", "text.txt",
                             *option)
        assert code == 2
        assert "monarch: has Monarch layers already; rule and recover are for" in error
    code, _, error = run("d2s", "bert", "--calib", "text.txt", "--out", "monarch")
    assert (code, error.splitlines()[-1]) == (
        2, "cimforge: monarch: must be a new or an empty folder")


@pytest.mark.parametrize("bits", ["0", "3"])
@pytest.mark.parametrize("mapping", ["linear", "dense"])
def test_results_are_compared_with_the_layers_integers(run, monkeypatch, mapping, bits):
    """A tile and a golden model that err alike are noticed; converters clamp in both."""
    rule = () if mapping == "linear" else ("--rule", "4x4")
    arguments = ("analog", "bert", "--config", "tile.yaml", "--calib", "text.txt", *rule,
                 "--mapping", mapping, "--bits", bits, "--layer", "*.0.output.dense")
    assert run(*arguments)[0] == 0
    good = AnalogProgram.results
    monkeypatch.setattr(AnalogProgram, "results", lambda program, beats: [
        out + (np.arange(out.size).reshape(out.shape) == 5) for out in good(program, beats)])
    code, _, error = run(*arguments)
    assert code == 1
    assert f"output.dense, {mapping} mapping, against its integers: first difference" in error


@pytest.mark.parametrize(("arguments", "message"), [
    (["--tokens", "100000"], "tokens must be at most "),
    (["--mapping", "linear"], "mapping 'linear' takes dense weights: rule and recover are for"),
    (["--out", "text.txt"], "text.txt: a file; expected a new folder"),
    (["--out", "bert"], "bert: already there and not empty; expected a new folder"),
    (["--mapping", "diagonal"], "mapping must be one of linear, sparse, dense, scatter, hybrid"),
    (["--config", "nope"], "no preset named 'nope'; there are default, minilm, paper, tiny"),
    (["--rule", "5x5"], "out_blocks must divide 32 outputs"),
    (["--rule", "4x"], "'4x'"),
    (["--bits", "9"], "need 9 ADC bits, but the tile has 5"),
    (["--layer", "nope"], "'nope'"),
    (["--stalls", "0.5"], "stalls must be 0 with backend 'golden'"),
    (["--config", "tiny"], "needs act_depth of at least 160, not 64"),
])
def test_what_cannot_be_run_is_one_message(run, arguments, message):
    given = {"--config": "tile.yaml", "--rule": "4x4", "--layer": "*.0.*",
             **dict(zip(arguments[::2], arguments[1::2], strict=True))}
    code, _, error = run("analog", "bert", "--calib", "text.txt",
                         *(word for pair in given.items() for word in pair))
    assert code == 2
    assert error.splitlines()[-1].startswith("cimforge: ")
    assert message in error


@pytest.mark.parametrize("bits", ["17", "-1"])
def test_bits_out_of_range_are_refused_before_the_model_is_looked_for(run, bits):
    code, _, error = run("analog", "nowhere", "--bits", bits)
    assert (code, error.splitlines()[-1]) == (
        2, f"cimforge: --bits must be in 0..16, not {bits}")


def test_saved_vectors_are_whole_or_refused(run, work):
    run("analog", "bert", "--config", "tile.yaml", "--calib", "text.txt", "--rule", "4x4",
        "--layer", "*.0.intermediate.dense", "--tokens", "2", "--out", "made")
    config, folder = cf.load_analog_config(work / "tile.yaml"), work / "made" / "00"
    good = cf.load_analog_vectors(folder, config)
    with pytest.raises(DataError, match=r"made for other hardware.* adcs is 16, not 8"):
        cf.load_analog_vectors(folder, config.replace(adcs=8))
    with pytest.raises(ConfigError, match="config must be a AnalogConfig"):
        cf.load_analog_vectors(folder, cf.load_config("tiny"))
    data = (folder / "vectors.npz").read_bytes()
    for bad in (data[:-1], data[:100], data[:50] + bytes([data[50] ^ 1]) + data[51:], b""):
        (folder / "vectors.npz").write_bytes(bad)
        with pytest.raises(DataError, match=r"vectors\.npz"):
            cf.load_analog_vectors(folder, config)
    (folder / "vectors.npz").write_bytes(data)
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"illegal": -1', '"illegal": 3'))
    with pytest.raises(DataError, match="changed: it is not the text"):
        cf.load_analog_vectors(folder, config)
    # A program that was changed in memory: one message that names command and reason.
    words = good.words.copy()
    words[0, 0] = 15
    with pytest.raises(DataError, match="unknown opcode"):
        decode(words)
    position = next(n for n, command in enumerate(good.commands) if hasattr(command, "row_mask"))
    broken = list(good.commands)
    broken[position] = replace(broken[position], row_mask=0)
    with pytest.raises(DataError, match=r"MASK at Drive\("):
        replace(good, commands=broken).expected()


def test_programs_need_their_inputs(tmp_path):
    model = cf.load_model(save_tiny("bert", tmp_path))
    texts = [[1, 2, 3, 4, 5], [3, 4, 5]]
    made = cf.d2s(model, cf.MonarchPlan("4x4")).model
    groups = cf.shared_inputs(made, texts)
    (tmp_path / "tile.yaml").write_text(_TILE)
    config = cf.load_analog_config(tmp_path / "tile.yaml")
    quantized = cf.quantize_monarch(made, texts, groups)
    programs = cf.deploy(quantized, config, groups[0], tokens=2, shared=groups)
    x = np.ones((2, 32), dtype=np.int8)
    with pytest.raises(DataError, match=r"no inputs for .*query"):
        cf.simulate_analog(programs, {})
    inputs = dict.fromkeys(groups[0], x)
    assert cf.simulate_analog(programs, inputs)[0].illegal == -1
    with pytest.raises(DataError, match=r"value: shares a program with .*query"):
        cf.simulate_analog(programs, {**inputs, groups[0][2]: 2 * x})
    with pytest.raises(DataError, match="inputs must be int8, not float64"):
        cf.simulate_analog(programs, dict.fromkeys(groups[0], x / 2))
    with pytest.raises(DataError, match="expected programs for one configuration"):
        cf.simulate_analog([], inputs)
    with pytest.raises(DataError, match="expected programs for one configuration"):
        cf.simulate_analog("abc", inputs)
    with pytest.raises(DataError, match=r"inputs must be arrays by layer name.*, not a NoneType"):
        cf.simulate_analog(programs, None)
