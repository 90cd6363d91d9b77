"""Schedules run on the golden tile: every mapping computes the integer model, legally."""

import numpy as np
import pytest

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.analog.timing import convert_cycles, cycles
from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.analog.drives import LOSSLESS, drives
from cimforge_sw.analog.factors import Matrix
from cimforge_sw.analog.latency import latency
from cimforge_sw.analog.mappings import MAPPINGS
from cimforge_sw.analog.schedule import Precision, schedule
from cimforge_verif.analog import AnalogTile, linear, monarch
from cimforge_verif.analog.hazards import check_hazards

SQUARE = Matrix("w", 64, 64, 8, 8)
SHAPES = (
    SQUARE,
    Matrix("w", 96, 48, 4, 8),  # k, j and the blocks differ: 12 inputs, 12 outputs
    Matrix("w", 60, 36, 6, 10, rank=2),
    Matrix("w", 64, 512, 4, 4),  # blocks of 128 inputs in arrays of 64
    Matrix("w", 512, 64, 4, 4),  # blocks of 128 outputs
    Matrix("w", 512, 256, 2, 2),  # sums of cut blocks, and more outputs than inputs
    Matrix("w", 288, 64, 8, 4),  # blocks of 72 outputs: one array and a part of another
    Matrix("w", 64, 288, 4, 8),  # blocks of 72 inputs
    Matrix("w", 48, 72, 36, 4, rank=2),  # 72 inputs of L's blocks
    Matrix("w", 32, 64, 8, 8, padded_outputs=64),
    Matrix("w", 64, 20, 8, 8, padded_inputs=64),
)
SCALE = (3, 9000, 19)


def _weights(matrix, rng, high=127):
    """Return INT8 weights of all stages; padded inputs and cut outputs are not zeroed."""
    def draw(*shape):
        return rng.integers(-high, high + 1, shape, dtype=np.int8)

    k, j, r = matrix.blocks_in, matrix.blocks_out, matrix.rank
    return {(matrix.name, "W"): draw(matrix.outputs, matrix.inputs),
            (matrix.name, "R"): draw(k, r * j, matrix.wide_inputs // k),
            (matrix.name, "L"): draw(j, matrix.wide_outputs // j, k * r)}


def _config(mapping, **changes):
    return AnalogConfig(arrays=max(1, mapping.arrays), act_depth=4096, acc_depth=8192, **changes)


def _expected(matrix, weights, x, scale=SCALE):
    wide = np.zeros((len(x), matrix.wide_inputs), dtype=np.int8)
    wide[:, :matrix.inputs] = x
    return monarch(wide, weights[matrix.name, "R"], weights[matrix.name, "L"], scale,
                   rank=matrix.rank)[:, :matrix.outputs]


def _run(program, x):
    check_hazards(program.config, program.commands)
    tile = AnalogTile(program.config)
    beats = tile.run(program.commands, program.weights, program.acts(x))
    assert tile.error == 0
    assert tile.illegal is None
    return program.results(beats), tile


@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize("name", MAPPINGS)
@pytest.mark.parametrize("matrix", SHAPES, ids=lambda m: f"{m.outputs}x{m.inputs}r{m.rank}")
def test_every_mapping_computes_the_integer_model(matrix, name, pipelined):
    rng = np.random.default_rng(0)
    weights = _weights(matrix, rng)
    x = rng.integers(-128, 128, (5, matrix.inputs), dtype=np.int8)
    mapping = MAPPINGS[name]([matrix], 64, 8)
    program = schedule(mapping, ["w"], weights, _config(mapping), scales={"w": SCALE}, tokens=5,
                       pipelined=pipelined)
    (out,), tile = _run(program, x)
    expected = (linear(x, weights["w", "W"]) if name == "linear"
                else _expected(matrix, weights, x))
    np.testing.assert_array_equal(out, expected)
    assert not tile.saturated
    assert len({tuple(row) for row in out.tolist()}) == 5


def test_small_integers_make_all_five_equal():
    """Where the products and the middle fit INT8, Monarch mappings equal the dense product."""
    rng = np.random.default_rng(1)
    weights = _weights(SQUARE, rng, high=1)
    r, left = (weights["w", stage].astype(int) for stage in "RL")
    x = rng.integers(-3, 4, (3, 64), dtype=np.int8)
    dense = np.einsum("jlk,kji->ljik", left, r).reshape(64, 64)  # column i * 8 + k
    assert np.abs(dense).max() <= 127
    weights["w", "W"] = dense.astype(np.int8)
    outs = []
    for name in MAPPINGS:
        mapping = MAPPINGS[name]([SQUARE], 64, 8)
        program = schedule(mapping, ["w"], weights, _config(mapping), scales={"w": (0, 1, 0)},
                           tokens=3)
        outs.append(_run(program, x)[0][0])
    for out in outs:
        np.testing.assert_array_equal(out, x.astype(int) @ dense.T)


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("name", ["sparse", "dense", "scatter"])
def test_layers_that_share_an_input_run_together(name, alike):
    rng = np.random.default_rng(2)
    matrices = [Matrix(n, 64, 64, 8, 8, shared="x") for n in "qkv"]
    weights = {key: value for matrix in matrices for key, value in _weights(matrix, rng).items()}
    x = rng.integers(-128, 128, (4, 64), dtype=np.int8)
    mapping = MAPPINGS[name]([*matrices, Matrix("o", 64, 64, 8, 8)], 64, 8)
    weights |= _weights(Matrix("o", 64, 64, 8, 8), rng)  # lies in the same arrays
    scales = {n: SCALE if alike else (SCALE[0], SCALE[1] - 500 * i, SCALE[2])
              for i, n in enumerate("qkv")}
    program = schedule(mapping, "qkv", weights, _config(mapping), tokens=4, scales=scales)
    outs, _ = _run(program, x)
    for matrix, out in zip(matrices, outs, strict=True):
        np.testing.assert_array_equal(out, _expected(matrix, weights, x, scales[matrix.name]))
    if name == "dense":  # one row of blocks of q, k and v is one drive, if one setting does
        drives = [command for command in program.run if hasattr(command, "row_mask")]
        assert max(bin(drive.col_mask).count("1") for drive in drives) == (3 if alike else 1)


@pytest.mark.parametrize("name", ["sparse", "dense", "scatter"])
def test_cut_blocks_of_layers_that_share_an_input_stay_apart(name):
    """The last part of a cut block takes a whole array: what it pads must be nobody else's."""
    rng = np.random.default_rng(8)
    matrices = [Matrix(n, 288, 64, 8, 4, shared="x") for n in "kv"]
    weights = {key: value for matrix in matrices for key, value in _weights(matrix, rng).items()}
    x = rng.integers(-128, 128, (3, 64), dtype=np.int8)
    mapping = MAPPINGS[name](matrices, 64, 8)
    program = schedule(mapping, "kv", weights, _config(mapping), tokens=3,
                       scales=dict.fromkeys("kv", SCALE))
    for matrix, out in zip(matrices, _run(program, x)[0], strict=True):
        np.testing.assert_array_equal(out, _expected(matrix, weights, x))


def test_precision_rules():
    rng = np.random.default_rng(3)
    weights, x = _weights(SQUARE, rng), rng.integers(-128, 128, (2, 64), dtype=np.int8)
    mapping = MAPPINGS["sparse"]([SQUARE], 64, 8)

    def run(precision):
        program = schedule(mapping, ["w"], weights, _config(mapping), scales={"w": SCALE},
                           tokens=2, precision=precision)
        return program, *_run(program, x)

    exact = _expected(SQUARE, weights, x)
    program, (out,), _ = run(None)
    assert {drive.bits for drive in program.run if hasattr(drive, "bits")} == {4}  # 8 rows
    np.testing.assert_array_equal(out, exact)
    program, (out,), tile = run(Precision(row_group=4))
    assert {drive.bits for drive in program.run if hasattr(drive, "bits")} == {3}
    np.testing.assert_array_equal(out, exact)
    _, (out,), tile = run(Precision(bits=2))
    assert tile.saturated
    assert (out != exact).any()
    with pytest.raises(ConfigError, match="columns of 8 cells need 8 ADC bits, but the tile has 7"):
        run(Precision(bits=8))


@pytest.mark.parametrize("adcs", [4, 8, 16, 32])
def test_the_interval_of_a_pipelined_token_is_the_closed_form(adcs):
    """Linear: 8 (t_settle + rounds(m) A); sparse the same with its A, both stages at once."""
    rng = np.random.default_rng(4)
    weights = _weights(SQUARE, rng)
    for name, bits in (("linear", 7), ("sparse", 4)):
        mapping = MAPPINGS[name]([SQUARE], 64, 8)
        config = _config(mapping, adcs=adcs)
        times = [cycles(config, schedule(mapping, ["w"], weights, config, tokens=tokens,
                                         scales={"w": SCALE}).run) for tokens in (10, 20)]
        assert times[1] - times[0] == 10 * 8 * (4 + 64 // adcs * bits)


def test_arrays_of_both_stages_work_at_once():
    """Rectangles: stage after stage would take 1132 cycles per token, and 854 for scatter."""
    rng = np.random.default_rng(7)
    matrix = Matrix("w", 384, 384, 12, 12)
    weights = _weights(matrix, rng)
    for name, interval in (("dense", 768), ("scatter", 576)):
        mapping = MAPPINGS[name]([matrix], 64, 8)
        config = _config(mapping)
        times = [cycles(config, schedule(mapping, ["w"], weights, config, tokens=tokens,
                                         scales={"w": SCALE}).run) for tokens in (6, 12)]
        assert times[1] - times[0] == 6 * interval
        assert latency(drives(mapping), config, LOSSLESS).interval == interval


def test_dependencies_are_what_sources_were_written_by():
    """Every drive starts after all that its source rows hold has retired."""
    rng = np.random.default_rng(5)
    for name in MAPPINGS:
        mapping = MAPPINGS[name]([SQUARE], 64, 8)
        program = schedule(mapping, ["w"], _weights(SQUARE, rng), _config(mapping), tokens=4,
                           scales={"w": SCALE})
        assert all(convert_cycles(program.config, command) > 0 and command.depends > 0
                   for command in program.run if hasattr(command, "depends"))


def test_what_does_not_fit_is_one_error():
    rng = np.random.default_rng(6)
    weights, mapping = _weights(SQUARE, rng), MAPPINGS["sparse"]([SQUARE], 64, 8)
    good = dict(scales={"w": SCALE})

    def refused(error, message, *, mapping=mapping, names=("w",), weights=weights, config=None,
                **options):
        with pytest.raises(error, match=message):
            schedule(mapping, names, weights, config or _config(mapping), **{**good, **options})

    refused(ConfigError, "the mapping is for arrays of 64, the tile's have 128",
            config=AnalogConfig(array=128))
    refused(ConfigError, "lies in 2 arrays, but the tile has 1", config=AnalogConfig(arrays=1))
    refused(ConfigError, "needs act_depth of at least 256, not 128",
            config=AnalogConfig(act_depth=128))
    refused(ConfigError, "needs acc_depth of at least 128, not 64",
            config=AnalogConfig(acc_depth=64))
    refused(ConfigError, "blocks of 8 x 8 cells are not whole grains of 16",
            config=AnalogConfig(grain=16))
    refused(DataError, "'v' is not in the mapping of w", names=["v"])
    refused(DataError, "w: no weights of stage R", weights={})
    refused(DataError, r"w R: weights must be int8 of shape \(8, 8, 8\), not int64 of shape",
            weights=weights | {("w", "R"): np.zeros((8, 8, 8), dtype=np.int64)})
    refused(DataError, "w: no scale for the requantizer", scales={})
    two = MAPPINGS["sparse"]([SQUARE, Matrix("v", 64, 64, 8, 8)], 64, 8)
    refused(DataError, "w and v do not share an input", mapping=two, names=["w", "v"])
    program = schedule(mapping, ["w"], weights, _config(mapping), **good)
    with pytest.raises(DataError, match=r"inputs must have shape \(1, 64\), not \(2, 64\)"):
        program.acts(np.zeros((2, 64), dtype=np.int8))
    with pytest.raises(DataError, match=r"inputs must be in -128..127, not 0..128"):
        program.acts(np.full((1, 64), 128) * (np.arange(64) > 0))
    with pytest.raises(DataError, match=r"results must have shape \(8, 8\), not \(7, 8\)"):
        program.results(np.zeros((7, 8)))
