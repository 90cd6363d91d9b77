"""Blocks of a decoder on the tile: what one computes, the next one is given."""

import cimforge as cf
from cimforge.bench_decoder import run_blocks

_SMALL = dict(hidden_size=32, intermediate_size=48, num_attention_heads=2, num_key_value_heads=1,
              head_dim=16)


def test_blocks_run_and_every_product_is_compared():
    config = cf.load_config("tiny").replace(act_depth=64)
    blocks = list(run_blocks(_SMALL, 2, config, tokens=4, pattern="2:4", backend="golden"))
    weights = 32 * 32 + 2 * 16 * 32 + 32 * 32 + 3 * 48 * 32
    assert [block.weights for block in blocks] == [weights, weights]
    assert all(block.cycles_predicted > weights / 2 / 32 for block in blocks)  # 32 cells
    assert [block.cycles_counted for block in blocks] == [0, 0]  # nothing was simulated
