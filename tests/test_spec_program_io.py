"""Programs on disk: an exact round trip, and one clear error for everything else."""

import hashlib
import json
import struct

import numpy as np
import pytest

from cimforge.spec import files, program_io
from cimforge.spec.errors import DataError
from cimforge.spec.mode import Mode
from cimforge.spec.program import LayerProgram, Program
from cimforge.spec.program_io import load_program, program_to_json, save_json, save_program
from cimforge.spec.yaml_config import load_config
from cimforge_verif.stimulus import random_layer

TINY = load_config("tiny")
PREFIX = struct.Struct("<4sIQQ")


def make(config=TINY):
    rng = np.random.default_rng(1)
    first = random_layer(config, Mode(2, 4, 2), rng, tokens=2, requantize=True).program
    second = random_layer(config, Mode(3, 4, 1), rng, tokens=1, inputs=7, outputs=9).program
    return Program(config=config, layers={"a": first, "b.weight": second, "tied": first},
                   origin={"seed": 1, "model": "random"})


@pytest.fixture
def folder(tmp_path):
    save_program(make(), tmp_path)
    return tmp_path


def refused(folder, config=None):
    with pytest.raises(DataError) as error:
        load_program(folder, config)
    return str(error.value)


def test_round_trip(folder):
    program, again = make(), load_program(folder, TINY)
    assert again.config == program.config
    assert again.origin == program.origin
    assert list(again.layers) == list(program.layers)
    for one, two in zip(program.layers.values(), again.layers.values(), strict=True):
        for name in LayerProgram.__dataclass_fields__:
            old, new = getattr(one, name), getattr(two, name)
            if isinstance(old, np.ndarray):
                assert (old == new).all()
                assert (old.shape, old.dtype) == (new.shape, new.dtype)
            else:
                assert (old, type(old)) == (new, type(new))
        assert isinstance(two.mode, Mode)


def test_layers_with_equal_weights_share_a_blob(folder):
    blobs = sorted(folder.glob("*.weights"))
    digests = {layer.weights_digest for layer in make().layers.values()}
    assert {blob.stem for blob in blobs} == digests
    assert len(blobs) == 2


def test_saving_twice_gives_the_same_bytes(folder, tmp_path):
    before = (folder / "program.bin").read_bytes()
    path = save_program(make(), folder)
    assert path == folder / "program.bin"
    assert path.read_bytes() == before
    assert not list(folder.glob(".*"))


def test_a_damaged_blob_is_written_again(folder):
    blob = next(folder.glob("*.weights"))
    blob.write_bytes(b"")
    save_program(make(), folder)
    load_program(folder)


def regions(data):
    """Return the first and last byte of every part of a file."""
    _, _, header, tables = PREFIX.unpack_from(data)
    ends = [0, 4, 8, 16, 24, 24 + header, 24 + header + tables, len(data)]
    names = ["magic", "version", "header length", "table length", "header", "tables", "sum"]
    return {name: (low, high) for name, low, high in zip(names, ends, ends[1:], strict=False)}


def test_a_flipped_byte_anywhere_is_seen(folder):
    path = folder / "program.bin"
    data = path.read_bytes()
    for low, high in regions(data).values():
        for position in sorted({*range(low, high, 13), low, high - 1}):
            path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1:])
            assert refused(folder).startswith(f"{path}: ")
    path.write_bytes(data)
    load_program(folder)


def test_a_cut_anywhere_is_seen(folder):
    path = folder / "program.bin"
    data = path.read_bytes()
    for length in [*range(30), *range(30, len(data), 17), len(data) - 1]:
        path.write_bytes(data[:length])
        assert refused(folder).startswith(f"{path}: ")
    path.write_bytes(data[:-1])
    assert refused(folder) == f"{path}: cut: expected {len(data)} bytes, got {len(data) - 1}"
    path.write_bytes(data[:10])
    assert refused(folder) == f"{path}: cut: expected at least 24 bytes, got 10"
    path.write_bytes(data + b"\0")
    assert refused(folder) == f"{path}: too long: expected {len(data)} bytes, got {len(data) + 1}"


def sealed(header, tables=b"", version=1, magic=b"CIMF"):
    """Return a file whose sum is right, whatever it holds."""
    data = PREFIX.pack(magic, version, len(header), len(tables)) + header + tables
    return data + hashlib.sha256(data).digest()


CONFIG = json.dumps(TINY.to_dict()).encode()


@pytest.mark.parametrize(("data", "message"), [
    (b"", "not a program: expected it to start with b'CIMF', not b''"),
    (b"PK\3\4" + bytes(40),
     "not a program: expected it to start with b'CIMF', not b'PK\\x03\\x04'"),
    (sealed(b"{}", version=2), "program format 2 is newer than this cimforge reads, which is 1"),
    (sealed(b"{}", version=0), "program format must be 1, not 0 (unknown)"),
    (sealed(b"{}"), "its header makes no sense: 'config'"),
    (sealed(b"{"), "its header makes no sense: Expecting property name"),
    (sealed(b'{"config": {"rows": 3}}'), "its header makes no sense: rows must be a power of two"),
    (sealed(b'{"config": {"new": 3}}'), "its header makes no sense: "),
    (sealed(b'{"config": %s, "layers": [], "origin": {}}' % CONFIG, b"12"),
     "expected 0 bytes of tables, got 2"),
    (sealed(b'{"config": %s, "layers": [{"commands": 1}], "origin": {}}' % CONFIG, b"12"),
     "its header makes no sense: buffer is smaller than requested size"),
    (sealed(b'{"config": %s, "layers": [{"commands": 1, "windows": 0, "results": 0}]}' % CONFIG,
            bytes(16)), "its header makes no sense: 'name'"),
])
def test_foreign_files(tmp_path, data, message):
    (tmp_path / "program.bin").write_bytes(data)
    assert refused(tmp_path).startswith(f"{tmp_path / 'program.bin'}: {message}")


def test_other_hardware(folder):
    other = TINY.replace(max_k=512)
    assert refused(folder, other) == (
        f"{folder / 'program.bin'}: made for other hardware: wanted configuration {other.digest}, "
        f"got {TINY.digest}; max_k is 1024, not 512")


def test_missing_files(folder, tmp_path):
    missing = tmp_path / "nothing"
    assert refused(missing) == (
        f"{missing / 'program.bin'}: cannot be read: No such file or directory")
    blob = next(folder.glob("*.weights"))
    blob.unlink()
    assert refused(folder) == f"{blob}: cannot be read: No such file or directory"


def test_damaged_blobs(folder):
    digest = make().layers["a"].weights_digest
    blob = folder / f"{digest}.weights"
    data = blob.read_bytes()
    blob.write_bytes(data[:-1])
    assert refused(folder) == (
        f"{blob}: weights of a must have {len(data)} bytes, not {len(data) - 1}")
    changed = bytes([data[0] ^ 1]) + data[1:]
    blob.write_bytes(changed)
    assert refused(folder) == (f"{blob}: damaged: expected SHA-256 {digest}, got "
                               f"{hashlib.sha256(changed).hexdigest()}")


def test_an_interrupted_write_leaves_the_old_program(folder, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    other = Program(config=TINY, layers={"a": make().layers["a"]})
    with pytest.raises(DataError) as error:
        save_program(other, folder)
    assert str(error.value) == (
        f"{folder / 'program.bin'}: cannot be written: No space left on device")
    assert not list(folder.glob(".*"))
    assert len(load_program(folder).layers) == 3


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written: (File exists|Not a directory)"):
        save_program(make(), tmp_path / "file")


def test_json_form(tmp_path):
    save_json(make(), tmp_path / "program.json")
    loaded = json.loads((tmp_path / "program.json").read_text())
    assert loaded == program_to_json(make())
    layer = loaded["layers"]["a"]
    assert layer["commands"][-1] == {"command": "End"}
    assert {"command": "LoadWeights", "bank": 0} in layer["commands"]
    assert layer["mode"] == [2, 4, 2]
    assert layer["weights"] == make().layers["a"].weights_digest
    assert layer["windows"] == [[0, 0, 16], [1, 0, 16]]


def test_origin_must_be_plain(tmp_path):
    program = Program(config=TINY, layers={}, origin={"seed": np.int64(3)})
    save_program(program, tmp_path)
    assert load_program(tmp_path).origin == {"seed": 3}
    program = Program(config=TINY, layers={}, origin={"model": tmp_path.__class__})
    with pytest.raises(DataError, match=r"^a program's origin holds <class .*>, which JSON cannot"):
        save_program(program, tmp_path)


def test_unknown_layer():
    with pytest.raises(DataError) as error:
        make().layer("c")
    assert str(error.value) == (
        "the program has no layer named 'c'; its layers are a, b.weight, tied")
    assert make().layer("a").tiles == 1
    assert make().layer("a").steps == 1


def test_blobs_of_the_program_before_are_removed_and_nothing_else(folder):
    """Recompiled into the same folder: what only the old program needed goes, after the new one."""
    old = {path.name for path in folder.glob("*.weights")}
    (folder / "notes.weights").write_text("not ours")
    program = make()
    smaller = Program(config=program.config, layers={"b.weight": program.layers["b.weight"]})
    save_program(smaller, folder)
    left = {path.name for path in folder.glob("*.weights")}
    assert left == {f"{smaller.layers['b.weight'].weights_digest}.weights", "notes.weights"}
    assert len(old) == 2
    assert list(load_program(folder).layers) == ["b.weight"]


def test_blobs_stay_when_the_new_program_cannot_be_written(folder, monkeypatch):
    before = sorted(folder.iterdir())

    def refuse(path, data):
        raise DataError(f"{path}: cannot be written: No space left on device")
    monkeypatch.setattr(program_io, "write_atomic", refuse)
    program = make()
    with pytest.raises(DataError, match="No space left"):
        save_program(Program(config=program.config, layers={"a": program.layers["a"]}), folder)
    assert sorted(folder.iterdir()) == before
