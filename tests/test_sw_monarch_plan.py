"""Monarch rules, plans and costs: what they choose, what they refuse, and the published figures."""

import pytest

from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.monarch.cost import Cost, attention_cost, monarch_cost
from cimforge_sw.monarch.plan import MonarchPlan
from cimforge_sw.monarch.rule import MonarchRule

NAMES = ["0.query", "0.output.dense", "1.query", "1.output.dense"]


@pytest.mark.parametrize(("text", "size", "blocks", "padded", "weights"), [
    ("square", (1024, 1024), "32x32", (1024, 1024), 65536),
    ("square", (4096, 1024), "64x64", (4096, 4096), 524288),
    ("square", (1024, 4096), "64x64", (4096, 4096), 524288),
    ("square", (384, 384), "20x20", (400, 400), 16000),
    ("square r2", (3, 5), "3x3 r2", (9, 9), 108),
    ("sqrt", (1024, 1024), "32x32", (1024, 1024), 65536),
    ("sqrt", (384, 384), "24x16", (384, 384), 15360),
    ("sqrt r2", (1536, 384), "24x32 r2", (1536, 384), 98304),
    ("sqrt", (384, 1536), "48x16", (384, 1536), 43008),
    ("12x12 r4", (1536, 384), "12x12 r4", (1536, 384), 92160),
    ("32x64", (4096, 1024), "32x64", (4096, 1024), 196608),
    ("4x4 r48", (768, 768), "4x4 r48", (768, 768), 294912),
])
def test_rules_make_shapes(text, size, blocks, padded, weights):
    rule = MonarchRule.parse(text)
    shape = rule.shape(*size)
    assert (str(rule), str(shape), shape.full, shape.weights) == (text, blocks, padded, weights)
    assert rule.shape(*size, "contiguous").order == "contiguous"
    assert MonarchRule.parse(rule) is rule
    cost = monarch_cost(*size, text)
    assert cost.flops == 2 * cost.params == 2 * weights
    assert cost.dense_flops == 2 * cost.dense_params == 2 * size[0] * size[1]
    assert cost.useful_params <= weights


@pytest.mark.parametrize(("text", "message"), [
    ("2:4", "a Monarch rule is square, sqrt, dense, or .* such as '12x12 r4', not '2:4'"),
    ("12x12r4", "not '12x12r4'"), ("square r0", "rank must be an integer of at least 1, not 0"),
    ("0x3", None), ("dense r2", "a dense layer has no rank, not 2"), (4, "not 4"), (None, "not No"),
])
def test_texts_that_are_no_rules(text, message):
    with pytest.raises(ConfigError, match=message or "in_blocks must be an integer"):
        MonarchRule.parse(text).shape(6, 6)


@pytest.mark.parametrize(("rule", "message"), [
    (lambda: MonarchRule("12x12 r4"), "blocks must be square, sqrt, dense, or .*not '12x12 r4'"),
    (lambda: MonarchRule("rows"), "not 'rows'"),
    (lambda: MonarchRule("sqrt", 1.5), r"rank must be an integer of at least 1, not 1\.5"),
    (lambda: MonarchRule("dense").shape(4, 4), "a dense rule has no Monarch shape"),
    (lambda: MonarchRule("sqrt").shape(37, 36), "37 has no factor pair but 37 x 1; expected a si"),
    (lambda: MonarchRule("5x4").shape(384, 384), "in_blocks must divide 384 inputs, such as 4 or"),
])
def test_rules_that_no_layer_can_follow(rule, message):
    with pytest.raises(ConfigError, match=message):
        rule()


@pytest.mark.parametrize("rule", ["sqrt", "square", "2x2"])
@pytest.mark.parametrize("size", [8.5, 0, "8"])
def test_sizes_that_no_layer_has(rule, size):
    with pytest.raises(ConfigError, match="outputs must be an integer of at least 1, not"):
        MonarchRule.parse(rule).shape(size, 8)
    with pytest.raises(ConfigError, match="inputs must be an integer of at least 1, not"):
        MonarchRule.parse(rule).shape(8, size)


def test_a_prime_side_can_be_padded():
    assert MonarchRule("square").shape(37, 36).full == (49, 49)


def bert_large(attention, ffn_up, ffn_down):
    """Return the cost of a layer of BERT-large: four matrices, then those of the FFN."""
    return sum([monarch_cost(1024, 1024, attention)] * 4 + [*ffn_up, *ffn_down], Cost())


def test_bert_large_at_512_tokens_is_as_reconstructed():
    """The rows of the table in the design's references: 9.6, 16 and 19.2; 5.78, 7.43 and 8.0."""
    rest = attention_cost(512, 1024)
    tiles = [monarch_cost(1024, 1024, "square")] * 4
    square, tiled, rectangles = (
        bert_large("square", [monarch_cost(4096, 1024, "square")],
                   [monarch_cost(1024, 4096, "square")]),
        bert_large("square", tiles, tiles),
        bert_large("square", [monarch_cost(4096, 1024, "32x64")],
                   [monarch_cost(1024, 4096, "64x32")]))
    assert square.compression == pytest.approx(9.6)
    assert (square + rest).speedup == pytest.approx(5.78, abs=0.005)
    assert monarch_cost(4096, 1024, "square").compression == 8
    assert 1 - square.useful_params / square.params == pytest.approx(0.30)
    assert tiled.compression == pytest.approx(16)
    assert (tiled + rest).speedup == pytest.approx(7.43, abs=0.005)
    assert rectangles.compression == pytest.approx(19.2)
    assert (rectangles + rest).speedup == pytest.approx(8.0, abs=0.005)
    assert square.dense_flops / (square + rest).dense_flops == pytest.approx(0.923, abs=5e-4)


@pytest.mark.parametrize(("blocks", "times"), [("32x32", 25.6), ("32x64", 64 / 3)])
def test_rectangles_are_as_small_as_those_of_fly(blocks, times):
    assert monarch_cost(4096, 1024, blocks).compression == pytest.approx(times)


def test_a_dense_rule_costs_what_the_matrix_does():
    cost = monarch_cost(6, 8, "dense")
    assert cost == Cost(48, 48, 48, 96, 96)
    assert (cost.compression, cost.speedup) == (1, 1)


def test_the_last_glob_counts_and_plans_come_back(tmp_path):
    plan = MonarchPlan("12x12 r4", {"*.dense": "square", "1.*": "dense"}, "contiguous")
    rules = {name: str(rule) for name, rule in plan.resolve(NAMES).items()}
    assert rules == {"0.query": "12x12 r4", "0.output.dense": "square", "1.query": "dense",
                     "1.output.dense": "dense"}
    plan.save(tmp_path / "plan.yaml")
    assert MonarchPlan.load(tmp_path / "plan.yaml") == plan
    (tmp_path / "short.yaml").write_text("default: 12x12 r4\n")
    assert MonarchPlan.load(tmp_path / "short.yaml") == MonarchPlan("12x12 r4")
    assert MonarchPlan.uniform("sqrt", ["*.query"]) == MonarchPlan("sqrt", {"*.query": "dense"})


@pytest.mark.parametrize(("text", "message"), [
    ("- sqrt\n", "a Monarch plan: expected 'name: value' lines"),
    ("", "a Monarch plan: expected 'name: value' lines"),
    ("layers: {}\n", "no 'default': say which rule other layers get, such as sqrt"),
    ("default: sqrt\nblocks: 3\n", r"unknown key\(s\): blocks; a Monarch plan has default, order"),
    ("default: 2:4\n", "default: a Monarch rule is square, .* not '2:4'"),
    ("default: sqrt\nlayers: {'*.query': [12, 12]}\n", r"layers\.\*\.query: expected one value"),
    ("default: sqrt\nlayers: {a: sqrt, a: dense}\n", "'a' is given twice"),
    ("default: sqrt\norder: rows\n", "order must be one of strided, contiguous, not 'rows'"),
    ("default: [\n", "not valid YAML"),
])
def test_broken_plans_are_named(tmp_path, text, message):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        MonarchPlan.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_plan_and_a_glob_without_layers():
    with pytest.raises(DataError, match="cannot read the Monarch plan"):
        MonarchPlan.load("no/plan.yaml")
    with pytest.raises(DataError, match=r"'\*\.quarry' matches none of 4 layers; nearest: "):
        MonarchPlan("sqrt", {"*.quarry": "dense"}).resolve(NAMES)
