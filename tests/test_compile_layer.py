"""Compiled layers compute ``x @ W.T`` on every preset, pattern, tail and tiling."""

import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from compile_interpreter import SMALL, Interpreter, random_acts, random_weight

from cimforge.spec.commands import Compute, LoadActs, LoadWeights
from cimforge.spec.layout import pack_weights
from cimforge.spec.mode import Mode
from cimforge.spec.pattern import NmPattern
from cimforge.spec.yaml_config import load_config, preset_names
from cimforge_sw.compile import compile_layer, compile_model, retarget, retarget_layer
from cimforge_sw.compile.place import pack_tiles
from cimforge_sw.compile.tiling import Tiling
from cimforge_verif.replay import replay

PATTERNS = ["1:2", "2:4", "4:8", "5:8", "3:8", "1:4", "2:8", "1:8", "7:8", "1:1"]
#: Every parameter that the compiler looks at, at values the presets do not have.
VARIANTS = {
    "smallest": dict(sub_macros=1, rows=1, cols=1, max_m=1, act_port_bits=8),
    "one-row-m4": dict(sub_macros=1, rows=1, cols=2, act_port_bits=8, act_depth=64),
    "one-bank": dict(weight_banks=1),
    "share-2": dict(index_share=2), "share-4": dict(index_share=4),
    "m-16": dict(max_m=16, rows=8, act_port_bits=24), "m-2": dict(max_m=2, act_depth=40),
    "narrow": dict(sub_macros=4, load_rows=1, out_port=1, act_port_bits=16),
    "int4": dict(weight_bits=4, act_bits=4, act_slice=2, act_port_bits=12),
    "eight": dict(sub_macros=8, cols=6, max_m=8),
    "fixed-3-of-8": dict(max_m=8, fixed_n=3),
    "pair": dict(select="pair"), "pair-one-bank": dict(select="pair", weight_banks=1),
    "pair-8": dict(sub_macros=8, cols=3, max_m=8, select="pair"),
    "pair-1": dict(sub_macros=1, max_m=2, select="pair", act_depth=40),
}
CONFIGS = [*(pytest.param(load_config(name), id=name) for name in preset_names()),
           *(pytest.param(SMALL.replace(**{"act_depth": 64, **changes}), id=name)
             for name, changes in VARIANTS.items())]


def check(config, layer, weight, rng, slow=True):
    """Compare the program with the product, on the golden tile and on the slow one."""
    x = random_acts(rng, config, layer.tokens, layer.inputs)
    wanted = x @ weight.astype(np.int64).T
    assert (replay(config, layer, x).y == wanted).all()
    if slow:
        assert (Interpreter(config, layer, x).run() == wanted).all()


def random_shape(rng, config):
    """Return (O, K, T) with tails that the buffers of the configuration hold."""
    deepest = min(config.act_depth // 2 * config.slots // 4, 4 * config.slots)
    return (int(rng.integers(1, 3 * config.sub_macros * config.cols)),
            int(rng.integers(1, max(2, deepest))), int(rng.integers(1, 41)))


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("config", CONFIGS)
def test_product(config, pattern):
    rng = np.random.default_rng(zlib.crc32(f"{config.digest} {pattern}".encode()))
    pattern = NmPattern.parse(pattern)
    outputs, inputs, tokens = random_shape(rng, config)
    slow = config.slots * config.cols < 1000
    weight = random_weight(rng, outputs, inputs, pattern.n, pattern.m, config.weight_bits)
    layer = compile_layer(config, "layer", weight, pattern, tokens)
    assert layer.mode in config.modes
    check(config, layer, weight, rng, slow)


@pytest.mark.parametrize(("preset", "pattern", "mode", "passes"), [
    ("default", "1:2", "4:8", 1), ("default", "2:4", "4:8", 1), ("default", "4:8", "4:8", 1),
    ("default", "1:4", "2:8", 1), ("default", "2:8", "2:8", 1), ("default", "1:1", "8:8", 1),
    ("default", "7:8", "7:8", 1), ("default", "1:16", "1:8", 1), ("tiny", "4:8", "1:4", 4),
    ("tiny", "2:8", "1:4", 2), ("dense", "2:4", "1:1", 1), ("fixed_2_4", "1:4", "2:4", 1),
    ("fixed_2_4", "4:8", "2:4", 2), ("fixed_2_8", "7:8", "2:8", 4), ("fixed_1_2", "1:1", "1:2", 2),
    ("pair", "2:4", "2:4", 1), ("pair", "1:1", "1:1", 1), ("pair", "5:8", "1:1", 1),
    ("pair", "1:16", "1:2", 1),
])
def test_mode(preset, pattern, mode, passes):
    rng, config, pattern = np.random.default_rng(1), load_config(preset), NmPattern.parse(pattern)
    weight = random_weight(rng, 40, 96, pattern.n, pattern.m)
    layer = compile_layer(config, "layer", weight, pattern, 3)
    assert (f"{layer.mode.n}:{layer.mode.m}", layer.passes) == (mode, passes)


def test_every_group():
    rng, config = np.random.default_rng(2), load_config("default")
    weight = random_weight(rng, 150, 200, 3, 8)
    for group in config.groups:
        layer = compile_layer(config, "layer", weight, NmPattern(3, 8), 5, group=group)
        assert layer.mode == Mode(3, 8, group)
        check(config, layer, weight, rng, slow=group == 2)


@pytest.mark.parametrize("mode", ["1:4", "3:4", "4:4"])
def test_forced_mode_takes_the_passes_it_needs(mode):
    rng = np.random.default_rng(3)
    weight = random_weight(rng, 9, 30, 2, 4)
    layer = compile_layer(SMALL, "layer", weight, NmPattern(2, 4), 6, mode=mode)
    assert f"{layer.mode.n}:{layer.mode.m}" == mode
    assert layer.passes == (2 if mode == "1:4" else 1)
    check(SMALL, layer, weight, rng)


def test_shared_index_runs_shared_positions_at_their_own_n():
    rng, config = np.random.default_rng(4), SMALL.replace(index_share=2)
    weight = random_weight(rng, 7, 24, 2, 4, shared=2)
    layer = compile_layer(config, "layer", weight, NmPattern(2, 4), 3)
    assert layer.mode.n == 2
    check(config, layer, weight, rng)


def test_no_weights_at_all():
    rng, weight = np.random.default_rng(5), np.zeros((5, 11), dtype=np.int8)
    for config in (SMALL, SMALL.replace(select="pair")):
        layer = compile_layer(config, "layer", weight, NmPattern(2, 4), 3)
        assert (layer.mode.n, layer.slot_use) == (1, 0.0) or config.select == "pair"
        check(config, layer, weight, rng)


@pytest.mark.parametrize("select", ["line", "pair"])
def test_resident_weights_are_loaded_once(select):
    rng, config = np.random.default_rng(6), SMALL.replace(select=select)
    weight = random_weight(rng, 4, 20, 2, 4)
    layer = compile_layer(config, "layer", weight, NmPattern(2, 4), 23, group=2)
    computes = [c for c in layer.commands if isinstance(c, Compute)]
    assert sum(isinstance(c, LoadWeights) for c in layer.commands) == 2
    assert [c.release for c in computes] == [False] * (len(computes) - 2) + [True] * 2
    check(config, layer, weight, rng)


def test_chunks_are_few_and_even():
    tiling = Tiling(SMALL, Mode(2, 4, 2), 20, 60)  # 4 windows; acc_depth 4, act_depth 16
    assert tiling.chunks(9) == [(0, 3), (3, 3), (6, 3)]
    assert Tiling(SMALL, Mode(2, 4, 2), 20, 16).chunks(17) == [(0, 8), (8, 9)]


def test_a_short_window_is_loaded_first_in_fewer_beats():
    rng, config = np.random.default_rng(7), load_config("default")
    weight = random_weight(rng, 33, 300, 4, 8)
    layer = compile_layer(config, "layer", weight, NmPattern(4, 8), 5, group=4)
    loads = [c for c in layer.commands if isinstance(c, LoadActs)]
    assert loads == [LoadActs(row=0, count=5, beats=2), LoadActs(row=5, count=5, beats=8)]
    assert layer.windows[[0, 5]].tolist() == [[0, 256, 44], [0, 0, 256]]


@pytest.mark.parametrize("select", ["line", "pair"])
@pytest.mark.parametrize("tokens", [1, 5, 30])
def test_retarget_equals_compiling_again(select, tokens):
    rng, config = np.random.default_rng(8), SMALL.replace(select=select)
    layers = {name: SimpleNamespace(weight=random_weight(rng, outputs, 24, 2, 4),
                                    pattern=NmPattern(2, 4), kept=24)
              for name, outputs in (("small", 3), ("large", 19))}
    done = []
    program = compile_model(config, layers, 12, lambda *step: done.append(step), origin={"a": 1})
    assert done == [(1, 2, "small"), (2, 2, "large")]
    again = retarget(program, tokens)
    assert again.origin == program.origin == {"a": 1}
    for name, layer in again.layers.items():
        fresh = compile_layer(config, name, layers[name].weight, NmPattern(2, 4), tokens,
                              group=layer.mode.group, kept=24)
        assert layer.commands == fresh.commands
        assert layer.slot_use == fresh.slot_use
        for table in ("weights", "windows", "results"):
            assert (getattr(layer, table) == getattr(fresh, table)).all()
        check(config, layer, layers[name].weight, rng)


def test_retarget_layer_to_its_own_tokens_keeps_the_weights():
    weight = random_weight(np.random.default_rng(9), 9, 24, 2, 4)
    layer = compile_layer(SMALL, "layer", weight, NmPattern(2, 4), 3)
    assert retarget_layer(SMALL, layer, 3).weights is layer.weights


@pytest.mark.parametrize("config", CONFIGS)
def test_packing_is_the_contract_s(config):
    rng, tiling = np.random.default_rng(10), Tiling(config, config.modes[0], 1, 1)
    shape = (3, config.rows, config.sub_macros, config.cols)
    high = 1 << config.weight_bits - 1
    value = rng.integers(-high, high, shape).astype(np.int8)
    index = rng.integers(0, config.lines, (*shape[:3], config.units)).astype(np.uint8)
    packed = pack_tiles(tiling, value, np.repeat(index, config.index_share, axis=-1))
    for tile in range(3):
        wanted = pack_weights(config, value[tile].transpose(1, 0, 2),
                              index[tile].transpose(1, 0, 2))
        assert (packed[tile] == wanted).all()
