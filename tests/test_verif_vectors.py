"""Vector sets survive a round trip, and refuse everything that is not whole or not ours."""

import json

import numpy as np
import pytest

from cimforge.spec import files
from cimforge.spec.bits import signed_of
from cimforge.spec.commands import Compute, decode
from cimforge.spec.errors import DataError
from cimforge.spec.mode import Mode
from cimforge.spec.timing import cycles
from cimforge.spec.yaml_config import load_config
from cimforge_verif.hex_files import read_hex, write_hex
from cimforge_verif.replay import Tile
from cimforge_verif.stimulus import random_inputs, random_layer
from cimforge_verif.vectors import VectorSet, make_vectors

TINY = load_config("tiny").replace(index_share=2)  # a weight beat of 72 bits
ARRAYS = ("words", "weights", "acts", "results", "last", "y", "x")


def make(config=TINY, seed=1):
    rng = np.random.default_rng(seed)
    layer = random_layer(config, Mode(2, 4, 1), rng, tokens=2, outputs=12)
    x = random_inputs(config, layer.program, rng)
    vectors = make_vectors(config, layer.program, x, seed=seed, origin={"by": "test"})
    return vectors, layer.program, layer.expected(config, x)


@pytest.fixture
def folder(tmp_path):
    make()[0].save(tmp_path / "set")
    return tmp_path / "set"


def refused(folder, config=TINY):
    with pytest.raises(DataError) as error:
        VectorSet.load(folder, config)
    return str(error.value)


def test_vectors_are_the_replay():
    vectors, program, y = make()
    assert (vectors.y == y).all()
    assert decode(vectors.words) == program.commands
    assert (Tile(TINY).run(vectors.words, vectors.weights, vectors.acts) == vectors.results).all()
    assert vectors.counters["cycles"] == cycles(TINY, program.commands)
    emitting = [c for c in program.commands if isinstance(c, Compute) and c.last]
    assert vectors.last.sum() == len(emitting) > 1
    assert vectors.last[-1]
    assert vectors.counters["load_weights"] == len(vectors.weights)


def test_round_trip(folder):
    vectors, again = make()[0], VectorSet.load(folder, TINY)
    for name in ARRAYS:
        assert (getattr(again, name) == getattr(vectors, name)).all()
        assert getattr(again, name).dtype == getattr(vectors, name).dtype
    for name in ("config", "layer", "counters", "seed", "origin"):
        assert getattr(again, name) == getattr(vectors, name)
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "vectors.npz"]


def test_the_same_vectors_are_the_same_bytes(folder, tmp_path):
    make()[0].save(tmp_path / "again")
    for name in ("manifest.json", "vectors.npz"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_other_hardware(folder):
    other = TINY.replace(cols=8, max_k=512)
    assert refused(folder, other) == (
        f"{folder / 'manifest.json'}: made for other hardware: wanted configuration "
        f"{other.digest}, got {TINY.digest}; cols is 4, not 8, max_k is 1024, not 512, "
        f"out_port is 4, not 8")


def rewrite(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(("changes", "message"), [
    (dict(format=1), "vector format must be 2, not 1"),
    (dict(config_digest="0" * 16), "its parameters are the same, so the manifest was changed"),
    (dict(config=3), "made for other hardware"),
    (dict(counters={"cycle": 1}), "counters must be among cycles, compute, macs"),
    (dict(counters=7), "load_acts, not [7]"),
    *((dict([change]), "manifest.json: changed: it is not the text with SHA-256")
      for change in (("layer", "other"), ("counters", {"cycles": 1}), ("seed", 2), ("arrays", {}),
                     ("origin", {}), ("archive", "0" * 64), ("sha256", "0" * 64))),
])
def test_changed_manifest(folder, changes, message):
    rewrite(folder, **changes)
    text = refused(folder)
    assert text.startswith(str(folder))
    assert message in text


@pytest.mark.parametrize(("text", "message"), [
    ("", "not a manifest of vectors: Expecting value"),
    ("[]", "not a manifest of vectors: it has no format"),
    ("\xff", "not a manifest of vectors"),
    ('{"format": 2, "config": {}}',
     "it lacks archive, arrays, config_digest, counters, layer, origin, seed, sha256"),
])
def test_foreign_manifest(folder, text, message):
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    assert message in refused(folder)


@pytest.mark.parametrize("name", ["manifest.json", "vectors.npz"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    assert refused(folder) == (
        f"{folder / name}: cannot be read: No such file or directory")


@pytest.mark.parametrize("name", ARRAYS)
def test_one_wrong_element(folder, name):
    with np.load(folder / "vectors.npz") as file:
        arrays = dict(file)
    arrays[name].flat[0] ^= 1
    np.savez(folder / "vectors.npz", **arrays)
    assert f"vectors.npz: {name} is not what manifest.json says: expected" in refused(folder)


def test_foreign_arrays(folder):
    np.savez(folder / "vectors.npz", words=np.zeros(3))
    assert "must hold words, weights, acts, results, last, y, x, not words" in refused(folder)
    np.savez(folder / "vectors.npz", **dict.fromkeys(ARRAYS, np.array([object()])))
    assert "vectors.npz: damaged or cut: Object arrays cannot be loaded" in refused(folder)


@pytest.mark.parametrize(("name", "stride"), [("vectors.npz", 7), ("manifest.json", 3)])
def test_every_cut_and_every_flipped_byte_is_refused(folder, name, stride):
    path = folder / name
    data = path.read_bytes()
    for position in range(0, len(data), stride):
        path.write_bytes(data[:position])
        assert str(path) in refused(folder)
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1:])
        assert refused(folder).startswith(str(folder))


def test_white_space_is_part_of_the_manifest(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace("  ", " \t", 1))
    assert "manifest.json: changed" in refused(folder)


def test_an_interrupted_write_leaves_the_old_set(folder, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir())
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(DataError) as error:
        make(seed=2)[0].save(folder)
    assert str(error.value) == (
        f"{folder / 'vectors.npz'}: cannot be written: No space left on device")
    assert sorted((path.name, path.read_bytes()) for path in folder.iterdir()) == before


def test_half_a_new_set_is_refused(folder, tmp_path):
    make(seed=2)[0].save(tmp_path / "new")
    (tmp_path / "new" / "vectors.npz").replace(folder / "vectors.npz")
    assert "is not what manifest.json says" in refused(folder)


@pytest.mark.parametrize("config", [TINY, TINY.replace(acc_bits=33), TINY.replace(out_port=1)])
def test_hex_round_trip(tmp_path, config):
    vectors, _, _ = make(config)
    paths = vectors.export_hex(tmp_path)
    widths = {"commands": 128, "weights": config.weight_beat_bits, "acts": config.act_port_bits,
              "results": config.out_port * config.acc_bits + 1}
    assert set(paths) == set(widths)
    back = {name: read_hex(path, widths[name]) for name, path in paths.items()}
    assert (back["commands"] == vectors.words).all()
    assert (back["weights"] == vectors.weights).all()
    assert (back["acts"] == vectors.acts).all()
    bits = np.unpackbits(back["results"], axis=-1, bitorder="little", count=widths["results"])
    results = signed_of(bits[:, :-1].reshape(len(bits), config.out_port, config.acc_bits))
    assert (results == vectors.results).all()
    assert (bits[:, -1] == vectors.last).all()


def test_hex_is_most_significant_digit_first(tmp_path):
    write_hex(tmp_path / "a.hex", np.array([[0x34, 0x02], [0, 1]], dtype=np.uint8), 10)
    assert (tmp_path / "a.hex").read_text() == "234\n100\n"


@pytest.mark.parametrize("line", ["12", "1234", "400", "xyz", "", "0X1"])
def test_bad_hex(tmp_path, line):
    (tmp_path / "a.hex").write_text(f"234\n{line}\n")
    with pytest.raises(DataError) as error:
        read_hex(tmp_path / "a.hex", 10)
    assert str(error.value) == (
        f"{tmp_path / 'a.hex'}: line 2 must be 3 hex digits of 10 bits, not {line!r}")
