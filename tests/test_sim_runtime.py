"""Verilator's own objects: compiled once, lent whole or not at all."""

from cimforge_verif.sim.runtime import Runtime


def _built(folder):
    """Make what a finished build holds."""
    folder.mkdir()
    for name in ("verilated.o", "verilated_vpi.o", "verilator.o", "Vtop.o"):
        (folder / name).write_text(f"object of {name}")
    return folder


def _lent(runtime, folder):
    folder.mkdir()
    runtime.lend(folder)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_objects_of_a_build_serve_the_next_with_the_same_flags(tmp_path):
    runtime = Runtime(tmp_path, ["verilator 5", "-O3"])
    assert _lent(runtime, tmp_path / "first") == {}
    runtime.keep(_built(tmp_path / "built"))
    # What depends on the design is left out.
    assert _lent(runtime, tmp_path / "second") == {
        name: f"object of {name}" for name in ("verilated.o", "verilated_vpi.o")}
    assert _lent(Runtime(tmp_path, ["verilator 5", "-O1"]), tmp_path / "third") == {}
    assert not list(tmp_path.glob(".runtime-*"))


def test_damaged_objects_are_not_lent_and_made_again(tmp_path):
    runtime = Runtime(tmp_path, ["verilator 5"])
    built = _built(tmp_path / "built")
    runtime.keep(built)
    (kept,) = tmp_path.glob("runtime-*")
    (kept / "verilated.o").write_text("half")
    assert _lent(runtime, tmp_path / "first") == {}
    runtime.keep(built)
    assert len(_lent(runtime, tmp_path / "second")) == 2
