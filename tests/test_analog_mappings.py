"""Mappings: the array counts that theory gives, every block once, no cell twice."""

import dataclasses

import pytest

from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.analog.factors import Matrix, padded
from cimforge_sw.analog.mappings import MAPPINGS, dense, linear, scatter, sparse
from cimforge_sw.analog.placement import Mapping

SQUARE = Matrix("w", 1024, 1024, 32, 32)
# MiniLM's shapes as rectangles: q, k, v, o, up, down
MINILM = (*(Matrix(name, 384, 384, 12, 12, shared="x") for name in "qkv"),
          Matrix("o", 384, 384, 12, 12), Matrix("up", 1536, 384, 12, 24),
          Matrix("down", 384, 1536, 24, 12, rank=2))


def _bert_layer(trimmed=False):
    wide = {} if trimmed else {"padded_inputs": 4096}
    tall = {} if trimmed else {"padded_outputs": 4096}
    return (*(Matrix(name, 1024, 1024, 32, 32, shared="x") for name in "qkv"),
            Matrix("o", 1024, 1024, 32, 32), Matrix("up", 4096, 1024, 64, 64, **wide),
            Matrix("down", 1024, 4096, 64, 64, **tall))


def test_arrays_of_the_worked_example():
    """The paper's n = 1024, b = 32, m = 256 takes 16 / 8 / 1 arrays (arXiv 2510.11192, 3)."""
    assert [make([SQUARE], 256).arrays for make in (linear, sparse, dense)] == [16, 8, 1]
    assert sparse([SQUARE], 256).utilization == 32 / 256
    assert dense([SQUARE], 256).utilization == 1.0


def test_arrays_of_a_bert_large_layer():
    """FFN padded to 4096 squared: 192 / 96 / 20 per layer; without padding 14, all useful."""
    layers = [dataclasses.replace(matrix, name=f"{n}.{matrix.name}", shared=f"{n}")
              for n in range(4) for matrix in _bert_layer()]
    assert [make(layers, 256).arrays for make in (linear, sparse, dense, scatter)] == [
        4 * arrays for arrays in (192, 96, 20, 20)]
    assert dense(layers, 256).useful == pytest.approx(0.7)
    trimmed = [dataclasses.replace(matrix, name=f"{n}.{matrix.name}", shared=f"{n}")
               for n in range(4) for matrix in _bert_layer(trimmed=True)]
    assert dense(trimmed, 256).arrays == 4 * 14
    assert dense(trimmed, 256).useful == dense(trimmed, 256).utilization == 1.0


@pytest.mark.parametrize("name", MAPPINGS)
@pytest.mark.parametrize("array", [16, 64, 256])
def test_every_block_is_placed_once(name, array):
    mapping = MAPPINGS[name](MINILM, array, 8)
    assert mapping.name == name
    weights = sum(matrix.outputs * matrix.inputs for matrix in MINILM)
    placed = sum(place.block.rows * place.block.cols for place in mapping.placements)
    assert placed == (weights if name == "linear" else sum(f.weights for f in mapping.factors))
    assert 0 < mapping.useful <= mapping.utilization <= 1
    for place in mapping.placements:
        assert place.row % place.rows == place.col % place.cols == 0


def test_diagonals_of_one_factor_lie_in_different_arrays():
    mapping = dense([dataclasses.replace(SQUARE, name=str(n)) for n in range(4)], 256)
    arrays = {place.array for place in mapping.of("0", "R")}
    assert len(arrays) == 4  # 32 blocks are four diagonals of eight
    for array in arrays:
        mine = [place for place in mapping.of("0", "R") if place.array == array]
        turns = {(place.col - place.row) // 32 % 8 for place in mine}
        assert len(mine) == 8
        assert len(turns) == 1


def test_factors_that_share_an_input_lie_side_by_side():
    mapping = dense(_bert_layer(trimmed=True), 256)
    q, k, v = (mapping.of(name, "R") for name in "qkv")
    for places in zip(q, k, v, strict=True):
        assert len({(p.array, p.row, p.drive, p.block.index) for p in places}) == 1


def test_blocks_of_one_factor_are_scattered():
    mapping = scatter([SQUARE], 256, arrays=32)
    assert len({place.array for place in mapping.of("w", "R")}) == 32
    with pytest.raises(ConfigError, match="128 blocks of 32 x 32 need 2 arrays, not 1"):
        scatter([SQUARE, dataclasses.replace(SQUARE, name="x")], 256, arrays=1)


def test_large_blocks_are_cut_into_parts():
    wide = Matrix("w", 128, 1024, 4, 4)  # blocks of 256 inputs in arrays of 64
    mapping = sparse([wide], 64, 8)
    assert len(mapping.of("w", "R")) == 4 * 4
    assert {place.block.first_row for place in mapping.of("w", "R")} == {0, 64, 128, 192}


def test_a_broken_mapping_is_refused():
    good = dense([SQUARE], 256)
    first, second = good.placements[:2]

    def rebuilt(*placements, arrays=good.arrays):
        return Mapping("dense", 256, good.matrices, good.factors, placements, arrays)

    moved = dataclasses.replace(first, row=second.row, col=second.col)
    with pytest.raises(DataError, match=r"block 1 of w R \(32 x 32 cells\) overlaps another block"):
        rebuilt(moved, *good.placements[1:])
    with pytest.raises(DataError, match=r"block 0 of w R must be placed 1 time\(s\), not 0"):
        rebuilt(*good.placements[1:])
    with pytest.raises(DataError, match="does not fit array 0 of 1 at row 250, column 0"):
        rebuilt(dataclasses.replace(first, row=250), *good.placements[1:])
    with pytest.raises(DataError, match="does not fit array 1 of 1"):
        rebuilt(dataclasses.replace(first, array=1), *good.placements[1:])


def test_shapes_that_have_no_such_blocks():
    with pytest.raises(ConfigError, match="w: 7 blocks do not divide 384 inputs"):
        Matrix("w", 384, 384, 7, 12)
    with pytest.raises(ConfigError, match="w: 5 blocks do not divide 384 outputs"):
        Matrix("w", 384, 384, 12, 5)
    with pytest.raises(ConfigError, match="has no Monarch structure"):
        dense([Matrix("w", 384, 384)], 64)


@pytest.mark.parametrize(("wrong", "message"), [
    ({"rank": 0}, "rank must be an integer of at least 1, not 0"),
    ({"outputs": 4.5}, "outputs must be an integer of at least 1, not 4.5"),
    ({"inputs": "8"}, "inputs must be an integer of at least 1, not '8'"),
    ({"inputs": True}, "inputs must be an integer of at least 1, not True"),
    ({"blocks_in": -1}, "blocks_in must be an integer of at least 0, not -1"),
    ({"blocks_out": 2.0}, "blocks_out must be an integer of at least 0, not 2.0"),
    ({"padded_outputs": 4}, "padded_outputs must be an integer of at least 8, not 4"),
    ({"padded_inputs": -8}, "padded_inputs must be an integer of at least 8, not -8"),
    ({"padded_inputs": 0.0}, "padded_inputs must be an integer of at least 0, not 0.0"),
])
def test_matrices_that_are_none(wrong, message):
    with pytest.raises(ConfigError, match=f"w: {message}"):
        Matrix(**{"name": "w", "outputs": 8, "inputs": 8, "blocks_in": 2, "blocks_out": 2} | wrong)


@pytest.mark.parametrize("name", MAPPINGS)
@pytest.mark.parametrize(("array", "grain", "message"), [
    (48, 8, "array must be a power of two of at least 1, not 48"),
    (0, 1, "array must be a power of two of at least 1, not 0"),
    (64.0, 8, "array must be a power of two of at least 1, not 64.0"),
    (64, 0, "grain must be a power of two in 1..64, not 0"),
    (64, 3, "grain must be a power of two in 1..64, not 3"),
    (64, 128, "grain must be a power of two in 1..64, not 128"),
    (64, 2.0, "grain must be a power of two in 1..64, not 2.0"),
])
def test_arrays_that_are_none(name, array, grain, message):
    with pytest.raises(ConfigError, match=message):
        MAPPINGS[name]([SQUARE], array, grain)


@pytest.mark.parametrize("name", MAPPINGS)
def test_names_tell_matrices_apart(name):
    with pytest.raises(DataError, match=f"{name}: expected matrices of different names, not 'w' 2"):
        MAPPINGS[name]([SQUARE, SQUARE], 256)


@pytest.mark.parametrize("arrays", [-1, 2.5, "4", True])
def test_numbers_of_arrays_that_are_none(arrays):
    with pytest.raises(ConfigError, match="arrays must be an integer of at least 0, not"):
        scatter([SQUARE], 256, arrays=arrays)


def test_padding_is_to_powers_of_two():
    assert [padded(size, 64, 8) for size in (1, 8, 9, 33, 64, 65)] == [8, 8, 16, 64, 64, 64]
