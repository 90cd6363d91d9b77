"""The five mappings through the analog tile's RTL: integers, saturations, cycles, legality.

``simulate`` compares every result beat, flag and counter with the golden model, and without stalls
the counted cycles with the predicted ones; what is left to check here is what the golden model has
to say.
"""

from dataclasses import replace

import numpy as np
import pytest

from cimforge.spec.analog.commands import Drive
from cimforge_sw.analog.factors import Matrix
from tb.mapping_cases import FIVE, exact, scheduled, small_integers, vectors_of, weights_of

pytestmark = pytest.mark.verilator

#: m = 64 and b = 8, by converters per plane.
SHARED = ["analog/adcs4", "analog/adcs8", "analog/default", "analog/adcs32"]
SQUARE = Matrix("square", 64, 64, 8, 8)
#: Eight blocks of 10 x 6 and six of 8 x 8 weights, in 16 x 8 and 8 x 8 cells.
RECTANGLE = Matrix("rectangle", 48, 40, 4, 6, rank=2)


@pytest.mark.parametrize("design", SHARED)
def test_every_mapping_exactly_and_with_fewer_bits(simulate, config, design):
    rng = np.random.default_rng(0)
    programs, wanted = [], []
    for matrix in (SQUARE, RECTANGLE):
        weights = weights_of(matrix, rng)
        x = rng.integers(-128, 128, (4, matrix.inputs), dtype=np.int8)
        x[0] = -1  # all bits set: sums as large as the weights make them
        for name in FIVE:
            for bits in (bits for bits in (0, 8, 5, 3) if bits <= config.adc_bits):
                program = scheduled(name, matrix, weights, config, 4, bits)
                programs.append((program, x))
                wanted.append((exact(name, matrix, weights, x), bits, name))
    results = simulate([vectors_of(program, x) for program, x in programs])
    lost = set()
    for (program, _), result, (out, bits, name) in zip(programs, results, wanted, strict=True):
        got = program.results(result.results)[0]
        if bits in (0, 8):
            np.testing.assert_array_equal(got, out)
        # Columns that only pad a block saturate as well, and nobody sees their sums.
        assert result.counters["saturations"] or np.array_equal(got, out), (name, bits)
        if result.counters["saturations"]:
            lost.add((name, bits))
    # Columns of 64 cells lose at 5 bits and at 3, blocks of 8 to 16 cells at 3 only.
    assert lost == {("linear", 5), *((name, 3) for name in FIVE)}


@pytest.mark.parametrize("design", SHARED[2:3])
@pytest.mark.parametrize("stalls", [0.0, 0.3])
def test_small_integers_make_all_five_equal(simulate, config, design, stalls):
    rng = np.random.default_rng(1)
    weights = small_integers(SQUARE, rng)
    x = rng.integers(-3, 4, (3, 64), dtype=np.int8)
    programs = [scheduled(name, SQUARE, weights, config, 3, scale=(0, 1, 0)) for name in FIVE]
    results = simulate([vectors_of(program, x) for program in programs], stalls=stalls)
    product = x.astype(int) @ weights["square", "W"].astype(int).T
    for program, result in zip(programs, results, strict=True):
        np.testing.assert_array_equal(program.results(result.results)[0], product)


@pytest.mark.parametrize("design", SHARED[:1])
def test_one_token_after_the_other(simulate, config, design):
    """Not pipelined, and pipelined: other cycles, the same integers."""
    rng = np.random.default_rng(2)
    weights = weights_of(SQUARE, rng)
    x = rng.integers(-128, 128, (3, 64), dtype=np.int8)
    for name in FIVE[1:]:
        programs = [scheduled(name, SQUARE, weights, config, 3, pipelined=pipelined)
                    for pipelined in (False, True)]
        slow, fast = simulate([vectors_of(program, x) for program in programs])
        np.testing.assert_array_equal(slow.results, fast.results)
        assert slow.counters["cycles"] > fast.counters["cycles"]


@pytest.mark.parametrize("design", SHARED[2:3])
def test_a_dense_array_driven_whole_is_flagged(simulate, config, design):
    """Every drive of the dense mapping widened to all rows: wrong sums, and the tile says so."""
    rng = np.random.default_rng(3)
    program = scheduled("dense", SQUARE, weights_of(SQUARE, rng), config, 1)
    x = rng.integers(-128, 128, (1, 64), dtype=np.int8)
    good = vectors_of(program, x)
    full = (1 << config.grains) - 1
    first = next(i for i, c in enumerate(good.commands) if isinstance(c, Drive))
    whole = list(good.commands)
    whole[first] = replace(whole[first], row_mask=full, src_jump=0)
    bad = replace(good, commands=whole, name="driven whole")
    assert good.expected().illegal == -1
    assert bad.expected().illegal == first
    simulate([good, bad])


@pytest.mark.parametrize("design", ["analog/m256"])
def test_the_papers_array(simulate, config, design):
    """Arrays of 256, blocks of 32: a layer of 1024 x 1024 is one array in the dense mapping."""
    rng = np.random.default_rng(4)
    layer = Matrix("layer", 1024, 1024, 32, 32)
    weights = weights_of(layer, rng)
    x = rng.integers(-128, 128, (1, 1024), dtype=np.int8)
    program = scheduled("dense", layer, weights, config, 1)
    (result,) = simulate([vectors_of(program, x)])
    np.testing.assert_array_equal(program.results(result.results)[0],
                                  exact("dense", layer, weights, x))
