"""`cimforge prune` and `front` on a small model: what they write, and that they go on."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sw_checkpoints import add_letters, save_tiny
from sw_families import save_family

from cimforge import cli, pruning
from cimforge.spec.errors import CimforgeError, DataError
from cimforge.spec.yaml_config import load_config
from cimforge_sw.calibration import calibrate
from cimforge_sw.compile.cost import pattern_cycles
from cimforge_sw.evaluate import bits_per_byte
from cimforge_sw.layers import linear_layers, weight_matrix
from cimforge_sw.models import load_model
from cimforge_sw.objective import Objective
from cimforge_sw.packed import load_packed
from cimforge_sw.plan import Plan
from cimforge_sw.prune import prune
from cimforge_sw.select import Selector

TEXTS = ["a bad cab", "dead beef", "a fade", "bead cafe", "face a bed", "add a cab", "deaf", "babe"]


@pytest.fixture
def checkpoint(tmp_path):
    """Return a tiny Llama with a tokenizer of letters."""
    return str(add_letters(save_tiny("llama", tmp_path / "llama")))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("method", ["uniform", "flow", "flow-x"])
def test_prune_writes_plan_picture_figures_and_checkpoint(checkpoint, tmp_path, method, packed):
    out = tmp_path / "out"
    path = pruning.run_prune(checkpoint, out, TEXTS, method=method, sparsity=0.6, packed=packed,
                             config_name="tiny")
    figures = json.loads((out / "selection.json").read_text())
    saved = load_packed(out / "checkpoint").model if packed else load_model(out / "checkpoint")
    weights = [weight_matrix(layer) for layer in linear_layers(saved.module).values()]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    assert zeros / sum(weight.numel() for weight in weights) == pytest.approx(figures["sparsity"])
    assert figures["sparsity"] >= 0.6
    assert figures["excess"] < 0.01
    assert figures["cycles"] > 0
    plan = Plan.load(path).resolve(linear_layers(saved.module))
    assert {str(pattern.m) for pattern in plan.values()} <= {"1", "2", "4"}  # what `tiny` runs
    picture = (out / "plan.svg").read_text()
    assert all(name in picture for name in plan)
    assert sorted(entry.name for entry in out.iterdir()) == [
        "checkpoint", "plan.svg", "plan.yaml", "selection.json"]


@pytest.mark.parametrize("method", ["uniform", "flow-x"])
def test_prune_with_update_changes_the_weights_that_stay(checkpoint, tmp_path, method):
    pruning.run_prune(checkpoint, tmp_path, TEXTS, method=method, sparsity=0.6, update=True)
    assert json.loads((tmp_path / "selection.json").read_text())["sparsity"] >= 0.6
    dense = linear_layers(load_model(checkpoint).module)
    for name, layer in linear_layers(load_model(tmp_path / "checkpoint").module).items():
        weight = weight_matrix(layer)
        assert not torch.equal(weight, weight_matrix(dense[name]) * (weight != 0))


def test_an_interrupted_prune_goes_on(checkpoint, tmp_path, monkeypatch):
    whole = pruning.run_prune(checkpoint, tmp_path / "whole", TEXTS, sparsity=0.6)
    out, real, left = tmp_path / "out", Objective.loss, [9]

    def interrupted(objective, *args):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(objective, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pruning.run_prune(checkpoint, out, TEXTS, sparsity=0.6)
    assert [entry.name for entry in out.iterdir()] == ["search.journal"]
    path = pruning.run_prune(checkpoint, out, TEXTS, sparsity=0.6)
    assert path.read_text() == whole.read_text()
    with pytest.raises(DataError, match="checkpoint"):  # found before the search, nothing changed
        pruning.run_prune(checkpoint, out, TEXTS, sparsity=0.7)
    assert path.read_text() == whole.read_text()


def test_a_front_goes_on_and_more_cycles_buy_accuracy(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(pruning, "FRONT", (0.5, 0.75))
    picture = pruning.run_front(checkpoint, tmp_path, TEXTS, methods=("uniform", "flow-x"),
                                config_name="tiny")
    before = (tmp_path / "pareto.json").read_bytes()
    points = {(p["method"], p["target"]): p for p in json.loads(before)["points"]}
    assert len(points) == 4
    for method in ("uniform", "flow-x"):
        dense, sparse = points[method, 0.5], points[method, 0.75]
        assert dense["cycles"] > sparse["cycles"]
        assert dense["score"] < sparse["score"]
    drawn = picture.read_bytes()
    again = pruning.run_front(checkpoint, tmp_path, TEXTS, methods=("uniform", "flow-x"),
                                config_name="tiny")
    assert (tmp_path / "pareto.json").read_bytes() == before
    assert again.read_bytes() == drawn
    with pytest.raises(DataError, match="the front of another model, configuration, text or excl"):
        pruning.run_front(checkpoint, tmp_path, TEXTS, config_name="serial")
    (tmp_path / "pareto.json").write_text("[{")
    with pytest.raises(DataError, match="not the points of a front; remove it to start anew"):
        pruning.run_front(checkpoint, tmp_path, TEXTS, config_name="tiny")


def test_a_search_is_kept_until_all_of_it_is_written(checkpoint, tmp_path, monkeypatch):
    """An interruption after the search, while it prunes or saves, loses nothing."""
    real, out = pruning.plot_plan, tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(pruning, "plot_plan", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            pruning.run_prune(checkpoint, out, TEXTS, sparsity=0.6)
    assert (out / "search.journal").exists()
    assert not (out / "checkpoint").exists()
    measured = len((out / "search.journal").read_text().splitlines())
    with monkeypatch.context() as patch:
        patch.setattr(pruning, "plot_plan", lambda *args: (seen.append(len(
            (out / "search.journal").read_text().splitlines())), real(*args)))
        seen = []
        pruning.run_prune(checkpoint, out, TEXTS, sparsity=0.6)
    assert seen == [measured]  # nothing was measured again
    assert not (out / "search.journal").exists()
    assert (out / "checkpoint").is_dir()


def test_bits_per_byte_counts_windows_of_long_texts(checkpoint):
    model = load_model(checkpoint)
    text = "abc " * 100  # longer than the context
    ids = torch.tensor([model.tokenizer(text)["input_ids"]])
    limit = model.module.config.max_position_embeddings
    assert ids.shape[1] > limit
    total = 0.0
    for at in range(0, ids.shape[1] - 1, limit):
        window = ids[:, at:at + limit + 1]
        logits = model.module(input_ids=window[:, :-1]).logits
        total += float(torch.nn.functional.cross_entropy(logits[0], window[0, 1:],
                                                         reduction="sum"))
    assert bits_per_byte(model, [text]) == pytest.approx(
        total / torch.log(torch.tensor(2.0)).item() / len(text), rel=1e-4)


def run(monkeypatch, capsys, *arguments):
    """Return exit code, output and last line of the error stream of a command."""
    monkeypatch.setattr(sys, "argv", ["cimforge", *map(str, arguments)])
    code = cli.main()
    done = capsys.readouterr()
    return code, done.out, (done.err.strip().splitlines() or [""])[-1]


@pytest.fixture
def calib(tmp_path):
    """Return a file of calibration text."""
    path = tmp_path / "texts"
    path.write_text("\n".join(TEXTS) + "\n")
    return path


@pytest.mark.parametrize("score", ["wanda", "magnitude"])
@pytest.mark.parametrize("method", ["uniform", "owl", "flow"])
def test_a_streamed_prune_is_the_whole_models(checkpoint, calib, tmp_path, monkeypatch, capsys,
                                              method, score):
    """But for mixes of uniform, which nothing scores; 62.5 % is a pattern."""
    common = ["prune", checkpoint, "--method", method, "--sparsity", "0.625", "--calib", calib,
              "--score", score, "--config", "default"]
    code, said, error = run(monkeypatch, capsys, *common, "--stream", "--out", tmp_path / "parts")
    assert code == 0, error
    figures = json.loads((tmp_path / "parts" / "selection.json").read_text())
    assert said.startswith(f"{figures['sparsity']:.2%} pruned, 62.50% asked for\n")
    assert run(monkeypatch, capsys, *common, "--out", tmp_path / "whole")[0] == 0
    whole = json.loads((tmp_path / "whole" / "selection.json").read_text())
    same = ("sparsity", "cycles", "tokens", "score", "excess", "uncounted", "sparsity_of_all")
    assert {key: figures[key] for key in same} == {key: whole[key] for key in same}
    for name in ("plan.yaml", "checkpoint/plan.yaml"):
        assert (tmp_path / "parts" / name).read_text() == (tmp_path / "whole" / name).read_text()
    layers = [linear_layers(load_model(tmp_path / kind / "checkpoint").module)
              for kind in ("parts", "whole")]
    for name, layer in layers[0].items():
        assert torch.equal(weight_matrix(layer), weight_matrix(layers[1][name]))
    assert (tmp_path / "parts" / "plan.svg").exists()


def test_a_streamed_prune_overwrites_nothing_and_needs_no_text_for_excluded_layers(
        calib, tmp_path, monkeypatch, capsys):
    """FalconMamba's ``dt_proj`` is used by its weight, which no hook sees."""
    source = add_letters(save_family("falconmamba", tmp_path / "falconmamba"))
    out = tmp_path / "out"
    command = ["prune", source, "--stream", "--method", "flow", "--sparsity", "0.4", "--exclude",
               "*.dt_proj", "--calib", calib, "--out", out]
    out.mkdir()
    for name in ("plan.yaml", "plan.svg", "selection.json"):
        (out / name).write_text("mine")
        code, _, error = run(monkeypatch, capsys, *command)
        assert (code, f"{name}: already there, and nothing is" in error) == (2, True), error
        assert [path.name for path in out.iterdir()] == [name]
        (out / name).unlink()
    code, _, error = run(monkeypatch, capsys, *command)
    assert code == 0, error
    figures = json.loads((out / "selection.json").read_text())
    assert figures["presence"].count(None) == 2
    assert figures["sparsity"] >= 0.4
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoint", "plan.svg", "plan.yaml", "selection.json"]


def test_magnitude_masks_differ_and_uniform_magnitude_streams_without_text(
        checkpoint, calib, tmp_path, monkeypatch, capsys):
    for path in (calib, *Path(checkpoint).glob("tokenizer*")):
        path.unlink()
    code, _, error = run(monkeypatch, capsys, "prune", checkpoint, "--method", "uniform", "--score",
                         "magnitude", "--stream", "--out", tmp_path / "out")
    assert code == 0, error
    dense = linear_layers(load_model(checkpoint).module)
    for name, layer in linear_layers(load_model(tmp_path / "out" / "checkpoint").module).items():
        weight = weight_matrix(dense[name])
        kept = weight.abs().reshape(len(weight), -1, 8).argsort(-1, descending=True)[..., :4]
        mask = torch.zeros((*kept.shape[:2], 8)).scatter(-1, kept, 1.0).reshape(weight.shape)
        assert torch.equal(weight_matrix(layer), weight * mask)


def test_flow_x_scores_the_masks_that_prune_makes(checkpoint):
    """With magnitude masks: the loss it reports is that of the pruned model."""
    model = load_model(checkpoint)
    stats = calibrate(model, TEXTS)
    made = Selector(model, stats, TEXTS, score="magnitude").select("flow-x", 0.6)
    pruned = prune(model, made.plan, stats, "magnitude").model.module
    assert made.details["losses"][-1] == pytest.approx(Objective(model, TEXTS).loss(pruned),
                                                       rel=1e-4)


@pytest.mark.parametrize(("options", "message"), [
    (["prune", "--method", "magnitude"], "method must be one of uniform, owl, flow, flow-x, not"),
    (["prune", "--score", "other"], "score must be one of wanda, magnitude, not 'other'"),
    (["prune", "--score", "magnitude", "--update"], "SparseGPT's update has a score of its own"),
    (["prune", "--sparsity", "1.5"], "target must be a number in 0 .. 1, not 1.5"),
    (["prune", "--sparsity", "nan"], "target must be a number in 0 .. 1, not nan"),
    (["prune", "--sparsity", "0.9"], "a sparsity of 0.9 is out of reach"),
    (["prune", "--method", "flow", "--mode", "fast"],
     "mode must be one of latency, balanced, accuracy, not 'fast'"),
    (["prune", "--mode", "latency"], "only flow takes a mode, not flow-x"),
    (["prune", "--method", "flow", "--max-cycles", "9"], "only flow-x takes a limit on cycles"),
    (["prune", "--max-cycles", "-9"], "max_cycles must be a positive number, not -9.0"),
    (["prune", "--max-cycles", "9"], "no plan prunes 0.5 of the weights within 9 cycles"),
    (["prune", "--exclude", "foo"], "'foo' matches none of 14 layers"),
    (["prune", "--config", "foo"], "no preset named 'foo'"),
    (["prune", "--stream"], "selected for by one of uniform, owl, flow, not flow-x"),
    (["prune", "--stream", "--method", "flow", "--packed"], "--packed needs the whole model in"),
    (["prune", "--stream", "--method", "flow", "--max-cycles", "0"], "--max-cycles needs"),
    (["front", "--config", "foo"], "no preset named 'foo'"),
    (["front", "--exclude", "foo"], "'foo' matches none of 14 layers"),
    (["front", "--exclude", "*"], "a sparsity of 0.5 is out of reach"),
])
def test_what_is_refused_before_calibration(checkpoint, calib, tmp_path, monkeypatch, capsys,
                                            options, message):
    monkeypatch.setattr("cimforge_sw.calibration.calibrate", None)  # any call would be an error
    code, _, error = run(monkeypatch, capsys, options[0], checkpoint, *options[1:], "--calib",
                         calib, "--out", tmp_path / "out")
    assert (code, message in error) == (2, True), error
    assert not (tmp_path / "out").exists()


def test_a_front_needs_two_halves_and_hardware_that_all_patterns_fit(checkpoint, tmp_path):
    with pytest.raises(DataError, match=r"at least 2 texts, .* not 1"):
        pruning.run_front("no such model", tmp_path / "out", TEXTS[:1])
    config = tmp_path / "small.yaml"
    config.write_text("base: tiny\nrows: 1\nact_depth: 2\n")
    with pytest.raises(DataError, match="inputs do not fit the hardware with every pattern"):
        pruning.run_front(checkpoint, tmp_path / "out", TEXTS, config_name=str(config))
    # A plan alone is no matter of cycles: there are none, which JSON can say.
    pruning.run_prune(checkpoint, tmp_path / "out", TEXTS, method="uniform", sparsity=0.25,
                      config_name=str(config))
    text = (tmp_path / "out" / "selection.json").read_text()
    assert "Infinity" not in text
    assert json.loads(text)["cycles"] is None


def test_a_fixed_tile_has_cycles_for_denser_layers_and_takes_a_limit_on_them(checkpoint, tmp_path):
    config = load_config("fixed_2_4")
    out = tmp_path / "uniform"
    pruning.run_prune(checkpoint, out, TEXTS, method="uniform", sparsity=0.25,
                      config_name="fixed_2_4")
    cycles = json.loads((out / "selection.json").read_text())["cycles"]
    path = pruning.run_prune(checkpoint, tmp_path / "ours", TEXTS, sparsity=0.25,
                             config_name="fixed_2_4", max_cycles=cycles)
    layers = linear_layers(load_model(checkpoint).module)
    plan = Plan.load(path).resolve(layers)
    assert sum(pattern_cycles(config, *weight_matrix(layer).shape, plan[name], 16)
               for name, layer in layers.items()) <= cycles


@pytest.mark.parametrize(("options", "message"), [
    ({"method": "best"}, "method must be one of"), ({"mode": "fast"}, "mode must be one of"),
    ({"sparsity": 0.999}, "out of reach"), ({"exclude": ["nowhere"]}, "matches none of"),
    ({"max_cycles": 1.0, "method": "flow"}, "only flow-x takes a limit"),
    ({"scored": 0}, "scored on at least one text, not 0")])
def test_a_request_is_refused_before_calibration(checkpoint, tmp_path, monkeypatch, options,
                                                 message):
    monkeypatch.setattr("cimforge.calibrate", lambda *_, **__: pytest.fail("calibrated"))
    with pytest.raises(CimforgeError, match=message):
        pruning.run_prune(checkpoint, tmp_path / "out", TEXTS, **options)


def test_excluded_layers_are_left_out_of_calibration(checkpoint, tmp_path):
    out, exclude = tmp_path / "out", ["*.q_proj", "*.0.mlp.*"]
    pruning.run_prune(checkpoint, out, TEXTS, method="flow", exclude=exclude, update=True,
                      sparsity=0.4)
    figures = json.loads((out / "selection.json").read_text())
    assert sum(value is None for value in figures["presence"]) == 5
    plan = Plan.load(out / "plan.yaml")
    assert sum(str(pattern) == "1:1" for pattern in plan.layers.values()) >= 5
    assert figures["sparsity"] >= 0.4


@pytest.mark.parametrize("name", ["plan.yaml", "plan.svg", "selection.json"])
@pytest.mark.parametrize("method", ["uniform", "flow-x"])
def test_files_that_prune_did_not_write_stay(checkpoint, tmp_path, name, method):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    (out / "notes.txt").write_text("mine, too")
    with pytest.raises(DataError, match=f"{name}: already there, and nothing is overwritten"):
        pruning.run_prune(checkpoint, out, TEXTS, method=method)
    assert (out / name).read_text() == "mine"
    assert sorted(path.name for path in out.iterdir()) == sorted([name, "notes.txt"])
    (out / name).unlink()
    pruning.run_prune(checkpoint, out, TEXTS, method="uniform")
    assert (out / "notes.txt").read_text() == "mine, too"


def test_another_method_leaves_the_journal_of_an_interrupted_search(checkpoint, tmp_path):
    (tmp_path / "out").mkdir()
    journal = tmp_path / "out" / "search.journal"
    journal.write_text("hours of work\n")
    pruning.run_prune(checkpoint, tmp_path / "out", TEXTS, method="uniform")
    assert journal.read_text() == "hours of work\n"


def test_a_picture_that_front_did_not_draw_stays(checkpoint, tmp_path):
    (tmp_path / "pareto.svg").write_text("mine")
    with pytest.raises(DataError, match=r"pareto\.svg: already there, and nothing is overwritten"):
        pruning.run_front(checkpoint, tmp_path, TEXTS)
    assert (tmp_path / "pareto.svg").read_text() == "mine"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("update", [False, True])
def test_the_type_of_the_source_is_kept(checkpoint, tmp_path, packed, update):
    module = load_model(checkpoint).module.half()
    module.save_pretrained(checkpoint)
    pruning.run_prune(checkpoint, tmp_path / "out", TEXTS, method="uniform", packed=packed,
                      update=update)
    folder = tmp_path / "out" / "checkpoint"
    file, = folder.glob("*.safetensors")
    kinds = {tensor.dtype for tensor in load_file(file).values()}
    assert kinds == {torch.float16, torch.uint8} if packed else {torch.float16}
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float16"
    assert load_model(folder).dtype == torch.float16


def test_weights_that_are_no_linear_layers_are_named(calib, tmp_path, monkeypatch, capsys):
    source = add_letters(save_family("mixtral", tmp_path / "mixtral"))
    code, _, error = run(monkeypatch, capsys, "prune", source, "--method", "uniform", "--calib",
                         calib, "--out", tmp_path / "out")
    assert code == 0, error
    figures = json.loads((tmp_path / "out" / "selection.json").read_text())
    experts = sum(p.numel() for name, p in load_model(source).module.named_parameters()
                  if ".experts." in name)
    assert sum(figures["uncounted"].values()) == experts
    counted = sum(weight_matrix(layer).numel()
                  for layer in linear_layers(load_model(source).module).values())
    assert figures["sparsity_of_all"] == pytest.approx(0.5 * counted / (counted + experts))
    assert f"not pruned and not counted: {experts} weights in 6 parameter(s)" in error
