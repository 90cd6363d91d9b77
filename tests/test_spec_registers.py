"""The register map, and what is written from it."""

import subprocess
from pathlib import Path

import pytest
from hw_support import BASE

from cimforge.spec.errors import ConfigError
from cimforge.spec.register_text import HEADER_NAME, c_header, markdown
from cimforge.spec.registers import (
    ADDRESS_BITS,
    COUNTERS,
    TileKind,
    digest_words,
    kind_of,
    register_map,
)
from cimforge.spec.yaml_config import load_analog_config
from cimforge_hw.soc.registers import counter_bits

ROOT = Path(__file__).resolve().parents[1]
ANALOG = load_analog_config("tiny")


@pytest.mark.parametrize("kind", TileKind)
def test_addresses_and_fields_are_apart(kind):
    registers = register_map(kind)
    addresses = [register.address for register in registers]
    assert addresses == sorted(set(addresses))
    assert not any(address % 4 for address in addresses)
    assert addresses[-1] < 1 << ADDRESS_BITS
    assert len({register.name for register in registers}) == len(registers)
    for register in registers:
        masks = [field.mask for field in register.fields]
        assert sum(masks) == (register.mask if masks else 0)
        assert register.mask < 1 << 32
        assert bin(register.mask).count("1") == sum(f.width for f in register.fields) or not masks


@pytest.mark.parametrize("config", [BASE, ANALOG])
def test_every_counter_of_the_tile_has_its_registers(config):
    kind = kind_of(config)
    assert tuple(counter_bits(config)) == COUNTERS[kind]
    assert all(32 < bits <= 64 for bits in counter_bits(config).values())
    names = {register.name for register in register_map(kind)}
    assert {f"{name.upper()}_{half}" for name in COUNTERS[kind] for half in ("LO", "HI")} <= names


def test_the_page_is_current():
    path = ROOT / "docs" / "registers.md"
    assert path.read_text(encoding="utf-8") == markdown(), (
        "run: python -m cimforge.spec.register_text docs/registers.md")


def test_a_compiler_reads_the_header_as_the_map_says(tmp_path):
    (tmp_path / HEADER_NAME).write_text(c_header(), encoding="utf-8")
    checks = []
    for kind in TileKind:
        for register in register_map(kind):
            name = f"CIMFORGE_{register.name}"
            if any(register.name.startswith(f"{c.upper()}_") and register.address >= 0x80
                   for c in COUNTERS[kind]):
                name = f"CIMFORGE_{kind.name}_{register.name}"
            checks.append((f"{name}_OFFSET", register.address))
            for field in register.fields:
                checks += [(f"{name}_{field.name}_MASK", field.mask),
                           (f"{name}_{field.name}_SHIFT", field.low)]
    lines = [f'_Static_assert({name} == {value}u, "{name}");' for name, value in checks]
    source = tmp_path / "check.c"
    twice = f'#include "{HEADER_NAME}"\n' * 2
    source.write_text(twice + "\n".join(lines) + "\n", encoding="utf-8")
    done = subprocess.run(["g++", "-xc", "-std=c11", "-Wall", "-Wextra", "-Werror",
                           "-fsyntax-only", str(source)], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr


def test_digest_and_kind():
    low, high = digest_words(BASE)
    assert f"{high:08x}{low:08x}" == BASE.digest
    with pytest.raises(ConfigError, match="config must be a DcimConfig or an AnalogConfig, not 3"):
        kind_of(3)
