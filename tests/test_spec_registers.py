"""The register map, and what is written from it."""

import re
import subprocess
from pathlib import Path

import pytest
from hw_support import BASE

from cimforge.spec.analog.commands import AnalogError
from cimforge.spec.commands import ErrorCode
from cimforge.spec.errors import ConfigError
from cimforge.spec.register_text import HEADER_NAME, c_header, markdown
from cimforge.spec.registers import (
    ADDRESS_BITS,
    COUNTERS,
    IDENTITY,
    MAP_VERSION,
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


#: What a compiler is called with, and what it calls an assertion.
LANGUAGES = {"c": ("-std=c11", "_Static_assert"), "c++": ("-std=c++17", "static_assert")}


def complaints(language, folder, text):
    """Return what a compiler says about a text that includes the header, strictly."""
    (folder / HEADER_NAME).write_text(c_header(), encoding="utf-8")
    (folder / "text").write_text(text, encoding="utf-8")
    done = subprocess.run(["g++", f"-x{language}", LANGUAGES[language][0], "-Wall", "-Wextra",
                           "-pedantic", "-Werror", "-fsyntax-only", str(folder / "text")],
                          capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def constants():
    """Return every constant of the header, from the map itself."""
    found = {"ID_VALUE": IDENTITY, "VERSION_MAJOR_VALUE": MAP_VERSION[0],
             "VERSION_MINOR_VALUE": MAP_VERSION[1]}
    for kind, errors in ((TileKind.DIGITAL, ErrorCode), (TileKind.ANALOG, AnalogError)):
        found[f"KIND_{kind.name}"] = kind
        found |= {f"{kind.name}_ERROR_{code.name}": code for code in errors}
        counters = {f"{name.upper()}_{half}" for name in COUNTERS[kind] for half in ("LO", "HI")}
        for register in register_map(kind):
            name = f"{kind.name}_{register.name}" if register.name in counters else register.name
            found[f"{name}_OFFSET"] = register.address
            for field in register.fields:
                found[f"{name}_{field.name}_MASK"] = field.mask
                found[f"{name}_{field.name}_SHIFT"] = field.low
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_compiler_reads_the_header_as_the_map_says(language, tmp_path):
    wanted, says = constants(), LANGUAGES[language][1]
    assert c_header().count("#define CIMFORGE_") == len(wanted) + 1, "the guard is the other one"

    def text(values):
        lines = [f'{says}(CIMFORGE_{name} == {int(value)}u, "{name}");'
                 for name, value in values.items()]
        return f'#include "{HEADER_NAME}"\n' * 2 + "\n".join(lines) + "\n"

    assert not complaints(language, tmp_path, text(wanted))
    wrong = {**wanted, "CONTROL_SOFT_RESET_MASK": 2}
    assert "CONTROL_SOFT_RESET_MASK" in complaints(language, tmp_path, text(wrong))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_firmware_of_the_page_compiles(language, tmp_path):
    page = (ROOT / "docs" / "soc.md").read_text(encoding="utf-8")
    firmware, = re.findall(r"```c\n(.*?)```", page, re.DOTALL)
    assert not complaints(language, tmp_path, firmware)
    assert complaints(language, tmp_path, firmware.replace("READY_MASK", "REDDY_MASK"))


def test_digest_and_kind():
    low, high = digest_words(BASE)
    assert f"{high:08x}{low:08x}" == BASE.digest
    with pytest.raises(ConfigError, match="config must be a DcimConfig or an AnalogConfig, not 3"):
        kind_of(3)
