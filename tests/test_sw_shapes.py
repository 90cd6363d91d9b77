"""Shipped shapes add up to the published models; what is wrong with a file is one message."""

import json
from pathlib import Path

import pytest

from cimforge.spec.errors import ConfigError
from cimforge_sw.shapes import load_shapes, shape_names

#: Published parameters, and those that are in no linear layer of a block: embeddings, heads,
#: biases, norms, convolutions and state matrices.
PUBLISHED = {
    "Llama-2-7B": (6_738_415_616, 2 * 32000 * 4096 + 65 * 4096),
    "Llama-2-13B": (13_015_864_320, 2 * 32000 * 5120 + 81 * 5120),
    "OPT-6.7B": (6_658_473_984, (50272 + 2050) * 4096 + 32 * (5 * 4096 + 16384 + 4 * 4096)
                 + 2 * 4096),
    "Mamba-2.8B": (2_768_345_600, 50280 * 2560 + 2560
                   + 64 * (5120 * (4 + 1 + 1 + 16 + 1) + 2560)),
    "BERT-large": (335_141_888, (30522 + 512 + 2 + 2) * 1024 + 24 * (9 * 1024 + 4 * 1024)
                   + 1024 * 1025),
    "BART-large": (406_291_456, (50265 + 2 * 1026 + 4) * 1024 + 12 * (9 + 4) * 1024
                   + 12 * (13 + 6) * 1024),
    "GPT-2-medium": (354_823_168, (50257 + 1024 + 2) * 1024 + 24 * (9 + 4) * 1024),
}
GOOD = """
model: toy
source: nowhere
stacks:
  - times: 2
    prefix: block.{}
    layers:
      fc.up: {outputs: 8, inputs: 4}
      down: {outputs: 4, inputs: 8, role: out}
"""


@pytest.mark.parametrize("name", PUBLISHED)
def test_linear_layers_and_the_rest_are_the_published_model(name):
    total, others = PUBLISHED[name]
    assert load_shapes(name).parameters + others == total


def test_every_shipped_file_loads_and_names_its_source():
    assert set(PUBLISHED) < set(shape_names())
    for name in shape_names():
        shapes = load_shapes(name)
        assert shapes.model == name
        assert "config.json of" in shapes.source


@pytest.mark.parametrize("name", ["stdlib-llama", "stdlib-mamba", "all-MiniLM-L6-v2"])
def test_shapes_of_small_models_are_those_of_their_layers_in_order(name):
    import cimforge as cf
    from cimforge_sw.layers import linear_layers, weight_matrix

    layers = linear_layers(cf.load_model(name).module)
    assert [(layer.outputs, layer.inputs) for layer in load_shapes(name).layers] == [
        tuple(weight_matrix(layer).shape) for layer in layers.values()]


def test_names_roles_and_depths(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(GOOD)
    shapes = load_shapes(path)
    assert [(x.name, x.outputs, x.inputs, x.role, x.depth) for x in shapes.layers] == [
        ("block.0.fc.up", 8, 4, "up", 0.0), ("block.0.down", 4, 8, "out", 0.0),
        ("block.1.fc.up", 8, 4, "up", 1.0), ("block.1.down", 4, 8, "out", 1.0)]
    assert shapes.parameters == 128


@pytest.mark.parametrize(("old", "new", "message"), [
    ("outputs: 8", "outputs: 0", r"fc.up.outputs must be in 1\.\.\d+, not 0"),
    ("outputs: 8", "outputs: 8.5", r"fc.up.outputs must be an integer .* not 8.5"),
    ("inputs: 4}", "inputs: 4, bias: 1}", r"fc.up: unknown key\(s\): bias"),
    ("outputs: 8, ", "", r"stacks\[0\].layers.fc.up: outputs is missing"),
    ("times: 2", "times: 0", r"stacks\[0\].times must be in 1\.\.\d+, not 0"),
    ("block.{}", "block", r"prefix must have one \{\}"),
    ("source: nowhere\n", "", r"shapes: source is missing"),
    ("model: toy", "model: [", r"not valid YAML: line"),
    ("model: toy", "model: toy\nmodel: again", r"'model' is given twice"),
    (GOOD[GOOD.index("    layers"):], "    layers: {}\n", r"expected 'name: "),
])
def test_broken_files(tmp_path, old, new, message):
    path = tmp_path / "toy.yaml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError, match=message) as error:
        load_shapes(path)
    assert str(error.value).startswith(str(path))


def test_layers_of_one_name_and_unknown_models(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(GOOD + GOOD[GOOD.index("  - times"):])
    with pytest.raises(ConfigError, match=r"layer 'block.0.fc.up' is there twice"):
        load_shapes(path)
    with pytest.raises(ConfigError, match=r"^no shapes named 'Llama-3'; there are BART-large, "):
        load_shapes("Llama-3")
    with pytest.raises(ConfigError, match="cannot read the shapes"):
        load_shapes(Path("nowhere.yaml"))


def test_the_report_has_every_large_model():
    report = json.loads((Path(__file__).resolve().parents[1] / "reports" / "estimate.json"
                         ).read_text())
    assert {r["model"] for r in report["records"]} >= set(PUBLISHED)
