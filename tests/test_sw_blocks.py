"""Passes over some blocks of a model equal the whole; where they cannot, all is one block."""

import pytest
import torch
from sw_checkpoints import save_tiny, token_rows
from sw_families import VOCABULARY, build, save_family
from transformers.modeling_outputs import BaseModelOutput

from cimforge.spec.errors import DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.blocks import Blocks, separate_blocks
from cimforge_sw.calibration import calibrate
from cimforge_sw.evaluate import bits_per_byte
from cimforge_sw.forward import forward
from cimforge_sw.layers import linear_layers
from cimforge_sw.models import load_model
from cimforge_sw.plan import Plan
from cimforge_sw.prune import prune
from cimforge_sw.select import Selector
from cimforge_sw.stream import stream_prune
from cimforge_sw.update import gram_matrices, prune_with_update

#: Blocks that return tuples of one to three, take states in other ways, or have steps in between.
ALONE = ("bloom", "deberta", "falcon", "gptj", "mixtral", "mpnet", "mpt", "rwkv", "xlnet")
#: Blocks that run several times, or need what the first one returned besides its states.
TOGETHER = ("albert1", "albert2", "t5_encoder", "t5")
IDS = torch.randint(3, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("family", ALONE)
def test_a_pass_from_any_block_is_the_end_of_the_whole_pass(family):
    module = build(family)
    blocks = separate_blocks(module, IDS)
    assert len(blocks) == 3
    whole = forward(module, IDS)[0]
    for start in range(1, 3):
        states = blocks.states(IDS, start)
        torch.testing.assert_close(blocks.run(IDS, start, states)[0], whole, rtol=1e-4, atol=1e-6)
        later = blocks.states(IDS, 3, start, states)
        torch.testing.assert_close(later, blocks.states(IDS, 3), rtol=1e-4, atol=1e-6)
        assert blocks.states(IDS, start, start, states) is states
    assert torch.equal(forward(module, IDS)[0], whole)  # nothing is left behind
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


@pytest.mark.parametrize("family", TOGETHER)
def test_blocks_that_need_each_other_count_as_one(family):
    blocks = separate_blocks(build(family), IDS)
    assert len(blocks) == 0
    assert blocks.names == []
    assert blocks.index_of("any.layer") == 0


@pytest.mark.parametrize("family", [*TOGETHER, "bloom", "mpnet"])
def test_losses_grams_and_updates_see_every_run_of_a_block(tmp_path, family):
    model, rows = load_model(save_family(family, tmp_path)), token_rows(8, 10)
    stats = calibrate(model, rows)
    assert list(stats.layers) == list(linear_layers(model.module))
    for name, gram in gram_matrices(model, rows).items():
        torch.testing.assert_close(gram.diagonal().sqrt().float(), stats.layers[name].norm,
                                   rtol=1e-4, atol=1e-6)
    selector = Selector(model, stats, rows)
    found = selector.select("flow-x", 0.5)
    measured = found.details["losses"][-1]
    assert selector.loss(found) == pytest.approx(measured, rel=1e-3, abs=1e-6)
    assert prune_with_update(model, found.plan, rows).sparsity >= 0.5


def test_both_stacks_of_a_sequence_to_sequence_model_are_calibrated(tmp_path):
    model = load_model(save_family("t5", tmp_path))
    stats = calibrate(model, token_rows())
    assert {name.partition(".")[0] for name in stats.layers} == {"encoder", "decoder"}
    with pytest.raises(DataError, match="has an encoder that sees the text it would have to pred"):
        bits_per_byte(model, ["text"])


@pytest.mark.parametrize("family", ["bloom", "deberta", "mpnet"])
def test_streaming_a_family_whose_blocks_return_tuples(tmp_path, family):
    source, rows, plan = save_family(family, tmp_path / "source"), token_rows(), Plan.uniform("2:4")
    model = load_model(source)
    whole = prune(model, plan, calibrate(model, rows, batch_tokens=20)).model.module.state_dict()
    stream_prune(source, plan, rows, tmp_path / "out", batch_tokens=20)
    streamed = load_model(tmp_path / "out").module.state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in streamed.items())


@pytest.mark.parametrize(("family", "message"), [
    ("t5_encoder", "its blocks hand each other more than hidden states; load it whole instead"),
    ("albert2", "expected one stack of blocks that run once each; load it whole instead")])
def test_streaming_refuses_blocks_that_need_each_other(tmp_path, family, message):
    source = save_family(family, tmp_path / "source")
    with pytest.raises(DataError, match=message):
        stream_prune(source, Plan.uniform("2:4"), token_rows(), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_model_that_does_not_run_on_token_ids_says_so(tmp_path):
    model = load_model(save_tiny("llama", tmp_path))
    model.module.model.layers[1].mlp.up_proj = torch.nn.Linear(3, 56)
    with pytest.raises(DataError, match=r"LlamaForCausalLM does not run on .* \[1, 3\]: Run"):
        calibrate(model, [[1, 2, 3]])


def test_a_pass_that_goes_around_its_blocks_is_named():
    module = build("mpnet")
    module.encoder.forward = lambda states, *_, **__: BaseModelOutput(states)
    assert len(separate_blocks(module, IDS)) == 0
    with pytest.raises(DataError, match="MPNetModel: a pass went around its blocks; expected"):
        Blocks(module).states(IDS, 1)


def test_patterns_of_shared_blocks_are_measured_on_all_their_runs(tmp_path):
    model, rows = load_model(save_family("albert2", tmp_path)), token_rows(8, 10)
    selector = Selector(model, calibrate(model, rows), rows)
    selector.variants.apply(dict.fromkeys(selector.shapes, NmPattern(4, 8)))
    module = selector.variants.model.module
    assert len(selector.objective.blocks(module)) == 0
    with pytest.raises(DataError, match=r"AlbertModel has 0 blocks that run alone; there is no"):
        selector.objective.states(module, 1)
    assert len(Blocks(module)) == 2  # what it would be, were the groups run once each
