"""Plans: what a person may write, what is refused and with which words."""

import pytest

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.plan import Plan

NAMES = ["layer.0.query", "layer.0.output", "layer.1.query", "layer.1.output"]


def write(tmp_path, text):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    return path


def test_uniform_gives_every_layer_the_same():
    assert set(Plan.uniform("2:4").resolve(NAMES).values()) == {NmPattern(2, 4)}
    assert Plan.uniform("dense").resolve(["a"]) == {"a": NmPattern(1, 1)}


def test_reads_what_people_write(tmp_path):
    plan = Plan.load(write(tmp_path, """
        default: 2:4            # unquoted: YAML alone would read the number 124
        granularity: share2
        layers:
            "*.output": "4:8"
            layer.1.*: dense
    """))
    assert plan.granularity == "share2"
    assert [str(p) for p in plan.resolve(NAMES).values()] == ["2:4", "4:8", "1:1", "1:1"]


@pytest.mark.parametrize("plan", [
    Plan.uniform("3:8"),
    Plan(NmPattern(1, 1), {"*.output": NmPattern(1, 2)}, "tile", 16),
])
def test_save_and_load_round_trip(tmp_path, plan):
    plan.save(tmp_path / "plan.yaml")
    assert Plan.load(tmp_path / "plan.yaml") == plan


@pytest.mark.parametrize(("text", "message"), [
    ("default: 2:4\nlayer: {}\n", r"unknown key\(s\): layer; a plan has default, granularity"),
    ("granularity: free\n", "no 'default'"),
    ("default: 5:4\n", "default: N:M keeps N of M weights and needs 1 <= N <= M, not 5:4"),
    ("default: half\n", "default: expected an N:M pattern such as '2:4', or 'dense', not 'half'"),
    ("default: [2, 4]\n", r"default: expected one value \(line 1\)"),
    ("default: 2:4\nlayers: {a: 0:4}\n", r"layers\.a: N:M keeps N"),
    ("default: 2:4\nlayers: 4:8\n", "layers: expected 'name: value' lines"),
    ("default: 2:4\nlayers: {a: 1:2, a: 2:4}\n", r"layers: 'a' is given twice \(line 2\)"),
    ("default: 2:4\ngranularity: row\n", "granularity must be one of free, share2, share4, tile"),
    ("default: 2:4\ntile_cols: few\n", "tile_cols must be a positive integer, not 'few'"),
    ("", "a plan: expected 'name: value' lines"),
    ("default: 2:4\nlayers: [", "not valid YAML: line 2: expected the node content, but found"),
    ("default: 2:4\ndefault: 4:8", r"a plan: 'default' is given twice \(line 2\)"),
])
def test_bad_files_are_refused_with_the_path(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        Plan.load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no\.yaml: cannot read the plan: No such file"):
        Plan.load(tmp_path / "no.yaml")


def test_a_glob_that_matches_nothing_names_the_nearest():
    plan = Plan(NmPattern(2, 4), {"layer.0.qerry": NmPattern(4, 8)})
    with pytest.raises(DataError, match=r"'layer\.0\.qerry' matches none of 4 layers; nearest: "
                                        r"layer\.0\.query"):
        plan.resolve(NAMES)


@pytest.mark.parametrize("options", [{"granularity": "block"}, {"tile_cols": 0}])
def test_bad_parameters_are_refused(options):
    with pytest.raises(ConfigError, match="must be"):
        Plan.uniform("2:4", **options)


def test_a_plan_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/plan\.yaml: cannot be written: "):
        Plan.uniform("2:4").save(tmp_path / "file" / "plan.yaml")
    Plan.uniform("2:4").save(tmp_path / "new" / "plan.yaml")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["plan.yaml"]
