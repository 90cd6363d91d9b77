"""Closed forms of area, and the rule from node to node."""

import pytest

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.yaml_config import load_config
from cimforge_sw.cost.features import BLOCKS, features, instances
from cimforge_sw.cost.nodes import nodes, scaling


def test_the_published_example_of_the_rule():
    """1 pJ at 65 nm and 1.3 V is 0.1755 pJ at 32 nm and 0.9 V: the paper's corrigendum."""
    assert scaling(65, 32, 1.3, 0.9).energy == pytest.approx(0.1755, abs=1e-4)


def test_scaling_there_and_back_changes_nothing():
    for node in nodes():
        there, back = scaling(180, node), scaling(node, 180)
        for what in ("area", "delay", "energy"):
            assert getattr(there, what) * getattr(back, what) == pytest.approx(1)
        assert node == 180 or max(there.area, there.delay, there.energy) < 1


@pytest.mark.parametrize(("arguments", "message"), [
    ((180, 28), r"no scaling rule for 28 nm, but for 180, 130,"),
    ((180, 65, None, 0.4), r"no scaling rule for 0.4 V at 65 nm; wanted about 0.77\.\.1.32 V"),
    ((180, 65, 5.0), r"no scaling rule for 5.0 V at 180 nm"),
])
def test_outside_the_rule_is_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        scaling(*arguments)


def test_features_count_what_is_there():
    config = load_config("default")
    counted = features(config)
    assert tuple(counted) == BLOCKS
    assert instances(config)["Column"] == 128
    column = counted["Column"]
    assert column["stored bit"] == 2 * 32 * 11
    assert column["product of two bits"] == 32 * 64
    assert column["register"] == 2 * 21 + 21
    assert counted["Macro"]["register"] == 128 * 64 + 128 * 23


@pytest.mark.parametrize("changes", [
    {}, {"select": "pair"}, {"act_slice": 1}, {"index_share": 4}, {"max_m": 1}, {"fixed_n": 2},
    {"sub_macros": 1}, {"sub_macros": 8}, {"rows": 1}, {"adder_stages": 1}, {"weight_banks": 1},
    {"index_coding": "one_hot"}])
def test_every_configuration_has_the_same_terms(changes):
    """So one table of costs serves all."""
    other, base = features(DcimConfig(**changes)), features(DcimConfig())
    assert {block: set(terms) for block, terms in other.items()} == {
        block: set(terms) for block, terms in base.items()}
    assert all(count >= 0 for terms in other.values() for count in terms.values())
