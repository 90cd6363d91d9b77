"""Verilog kept for simulation: that of the configuration and the generator, or emitted again."""

import pytest

import cimforge as cf
from cimforge_hw import cache, emit

TINY = cf.load_config("tiny")


@pytest.fixture
def emitted(monkeypatch):
    """Count what is emitted."""
    made = []

    def counting(real):
        return lambda config: made.append(config) or real(config)

    monkeypatch.setattr(emit, "emit_tile", counting(emit.emit_tile))
    monkeypatch.setattr(emit, "emit_analog_tile", counting(emit.emit_analog_tile))
    return made


def test_a_configuration_is_emitted_once(tmp_path, emitted):
    first = cache.simulation_rtl(TINY, tmp_path)
    assert cache.simulation_rtl(TINY, tmp_path) == first
    assert "module dcim_tile(" in first["dcim_tile.v"]
    assert emitted == [TINY]
    other = TINY.replace(acc_depth=8)
    assert cache.simulation_rtl(other, tmp_path) != first
    analog = cf.load_analog_config("tiny")
    assert list(cache.simulation_rtl(analog, tmp_path)) == ["analog_tile.v"]
    assert emitted == [TINY, other, analog]


@pytest.mark.parametrize("damage", [
    lambda data: data[:-10], lambda data: data.replace(b"endmodule", b"endmodul", 1),
    lambda data: b"", lambda data: b"\xff" + data])
def test_damaged_text_is_emitted_again(tmp_path, emitted, damage):
    first = cache.simulation_rtl(TINY, tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(damage(kept.read_bytes()))
    assert cache.simulation_rtl(TINY, tmp_path) == first
    assert cache.simulation_rtl(TINY, tmp_path) == first
    assert len(emitted) == 2


def test_another_generator_emits_anew(tmp_path, emitted, monkeypatch):
    cache.simulation_rtl(TINY, tmp_path)
    monkeypatch.setattr(cache, "generator_digest", lambda: "changed")
    cache.simulation_rtl(TINY, tmp_path)
    assert len(emitted) == 2


def test_a_folder_that_takes_no_files_only_costs_time(tmp_path, emitted):
    (tmp_path / "file").write_text("")
    for _ in range(2):
        assert cache.simulation_rtl(TINY, tmp_path / "file")["dcim_tile.v"]
    assert len(emitted) == 2
