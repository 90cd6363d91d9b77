"""Libraries of tiles: stalls as cocotb's, builds that are whole or made again, clear errors."""

import json
import multiprocessing
from itertools import islice

import numpy as np
import pytest
from test_sim_layers import CONFIG, VERILOG, vectors

from cimforge.spec.errors import DataError, ToolError
from cimforge_verif.batch.build import build_library
from cimforge_verif.batch.layers import batch_layers
from cimforge_verif.batch.library import TileLibrary
from cimforge_verif.batch.payloads import lanes_of, payloads
from cimforge_verif.batch.programs import stall_masks
from cimforge_verif.sim.build import STAMP
from cimforge_verif.sim.stalls import stall_pattern

_RTL = {"tile.v": VERILOG}


def test_stalls_are_those_of_the_cocotb_benches():
    masks = stall_masks({"acts": 0.3, "results": 0.01, "weights": 0.0}, 11, 2000)
    assert set(masks) == {"acts", "results"}
    for name, rate in (("acts", 0.3), ("results", 0.01)):
        assert masks[name].tolist() == list(islice(stall_pattern(rate, 11, name), 2000))


@pytest.mark.parametrize("bits", [20, 32])
def test_payloads_and_back(bits):
    rng = np.random.default_rng(0)
    results = rng.integers(-1 << bits - 1, 1 << bits - 1, (50, 3))
    last = rng.integers(0, 2, 50).astype(np.uint8)
    beats = payloads(results, last, bits)
    assert beats.shape == (50, -(-(3 * bits + 1) // 8))
    np.testing.assert_array_equal(lanes_of(beats, 3, bits), results)
    assert (beats[:, -1] >> 3 * bits % 8).tolist() == last.tolist()


def _build(root, name, queue):
    queue.put(str(build_library(_RTL, "dcim_tile", root=root)))


@pytest.mark.verilator
def test_builds_are_made_once_and_again_if_damaged(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    both = [spawn.Process(target=_build, args=(tmp_path, name, queue)) for name in "ab"]
    for process in both:
        process.start()
    paths = {queue.get(timeout=120) for _ in both}
    for process in both:
        process.join()
    assert len(paths) == 1
    library = build_library(_RTL, "dcim_tile", root=tmp_path)
    assert {str(library)} == paths
    made = library.stat().st_mtime_ns
    assert build_library(_RTL, "dcim_tile", root=tmp_path).stat().st_mtime_ns == made
    whole = library.read_bytes()
    stamp = library.with_name(STAMP)
    for damage in (lambda: library.write_bytes(whole[:-100]), library.unlink, stamp.unlink,
                   lambda: stamp.write_text("{"), lambda: stamp.write_text("[]"),
                   lambda: stamp.write_text(json.dumps({"sha256": "0"}))):
        damage()
        build_library(_RTL, "dcim_tile", root=tmp_path)
        assert batch_layers(CONFIG, _RTL, [vectors()], root=tmp_path)[0].name == "first"


@pytest.mark.verilator
def test_what_cannot_be_built_is_one_error(tmp_path):
    bad = "\nassign nowhere = 1;\nendmodule"
    with pytest.raises(ToolError, match=r"(?s)building dcim_tile failed: %.*nowhere.*\nlog: "):
        build_library({"tile.v": VERILOG.replace("endmodule", bad, 1)}, "dcim_tile",
                      root=tmp_path)
    with pytest.raises(DataError, match="has no module 'other'"):
        build_library(_RTL, "other", root=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolError, match="builds cannot be written"):
        build_library(_RTL, "dcim_tile", root=tmp_path / "file")


def test_a_file_that_is_no_library_is_one_error(tmp_path):
    (tmp_path / "tile.so").write_bytes(b"no library")
    with pytest.raises(ToolError, match=r"tile\.so: cannot be loaded"):
        TileLibrary(tmp_path / "tile.so")


@pytest.mark.verilator
def test_many_tiles_at_once_and_one_at_a_time(tmp_path):
    sets = [vectors(f"layer{n}", seed=n) for n in range(12)]
    seen = []
    several = batch_layers(CONFIG, _RTL, sets, root=tmp_path, workers=4, progress=seen.append)
    assert sorted(seen) == sorted(made.layer for made in sets)
    one = batch_layers(CONFIG, _RTL, sets, root=tmp_path, workers=1, stalls=0.2, seed=2)
    for made, fast, slow in zip(sets, several, one, strict=True):
        assert fast.name == slow.name == made.layer
        np.testing.assert_array_equal(fast.results, made.results)
        np.testing.assert_array_equal(slow.results, made.results)
    assert batch_layers(CONFIG, _RTL, [], root=tmp_path) == []
