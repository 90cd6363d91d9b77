"""The first call of a make target: prerequisites before anything else, then stamps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import bootstrap
import prerequisites
import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBPYTHON = "libpython{}.{}".format(*sys.version_info[:2])
PACKAGES = {
    "python": "python3", "venv": "python3-venv", "libpython": LIBPYTHON,
    "g++": "g++", "make": "make", "perl": "perl",
}


def refuse(*_, **__):
    raise AssertionError("nothing may be started")


def probes_without(*names):
    """Return the probes of a host that has everything but ``names``."""
    return {
        name: (text, package, lambda name=name: name not in names)
        for name, (text, package, _) in prerequisites.PROBES.items()
    }


class FakeHost:
    """Stands in for ``subprocess.run``: notes commands, makes a ``.venv`` that looks usable."""

    def __init__(self, root, fail_on=None):
        self.root, self.fail_on, self.commands = root, fail_on, []

    def __call__(self, command, **_):
        if command[1] == "-c":
            return subprocess.CompletedProcess(command, 0, stdout=sys.version + "\n")
        self.commands.append([str(word) for word in command])
        if self.fail_on and self.fail_on in command:
            raise subprocess.CalledProcessError(1, command)
        if "venv" in command:
            python = self.root / ".venv" / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()
        return subprocess.CompletedProcess(command, 0)

    def installed(self):
        """Return what each pip call was asked for, after its ``-c constraints.txt``."""
        pips = [command for command in self.commands if "pip" in command]
        return [" ".join(command[command.index("-c") + 2:]) for command in pips]


@pytest.fixture
def project(tmp_path):
    for name in bootstrap.SOURCES:
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    return tmp_path


def start(project, target, run):
    return bootstrap.bootstrap(target, project, probes_without(), run)


@pytest.mark.parametrize("name", PACKAGES)
def test_missing_prerequisite_is_named_with_its_package(project, capsys, name):
    code = bootstrap.bootstrap("test", project, probes_without(name), refuse)
    error = capsys.readouterr().err
    assert code == 2
    assert f"Debian package {PACKAGES[name]}\n" in error
    assert error.endswith(f"apt-get install {PACKAGES[name]}\n")
    assert not (project / ".venv").exists()


def test_all_missing_prerequisites_are_named_at_once(project, capsys):
    absent = ("venv", "libpython", "g++", "make", "perl")
    assert bootstrap.bootstrap("demo", project, probes_without(*absent), refuse) == 2
    wanted = " ".join(PACKAGES[name] for name in absent)
    assert f"apt-get install {wanted}\n" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["lint", "verilog"])
def test_targets_without_simulation_need_no_compiler(project, target):
    host = FakeHost(project)
    probes = probes_without("g++", "perl", "make", "libpython")
    assert bootstrap.bootstrap(target, project, probes, host) == 0


def test_script_with_an_empty_path_exits_2_without_a_traceback(tmp_path, project):
    script = project / "scripts" / "bootstrap.py"
    (script.parent / "prerequisites.py").write_bytes(
        (ROOT / "scripts" / "prerequisites.py").read_bytes()
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    run = subprocess.run(
        [sys.executable, str(script), "sim"],
        env={**os.environ, "PATH": str(empty)}, capture_output=True, text=True, check=False,
    )
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    for tool in ("g++", "make", "perl"):
        assert f"Debian package {tool}\n" in run.stderr
    assert not (project / ".venv").exists()


def test_missing_ensurepip_is_found(monkeypatch):
    real = prerequisites.importlib.util.find_spec
    monkeypatch.setattr(
        prerequisites.importlib.util, "find_spec",
        lambda name: None if name == "ensurepip" else real(name),
    )
    assert not prerequisites.has_venv()


def test_old_python_is_found(monkeypatch):
    monkeypatch.setattr(prerequisites, "MINIMUM_PYTHON", (99, 0))
    assert not prerequisites.has_python()


def test_missing_libpython_is_found(monkeypatch, tmp_path):
    monkeypatch.delenv("LIBPYTHON_LOC", raising=False)
    monkeypatch.setattr(prerequisites, "libpython_names", lambda: ["libpython-none.so"])
    monkeypatch.setattr(prerequisites.ctypes.util, "find_library", lambda _: None)
    assert not prerequisites.has_libpython()
    monkeypatch.setenv("LIBPYTHON_LOC", str(tmp_path / "libpython.so"))
    assert not prerequisites.has_libpython()


def test_second_call_does_nothing(project):
    assert start(project, "test", FakeHost(project)) == 0
    assert start(project, "test", refuse) == 0
    assert start(project, "sim", refuse) == 0  # a subset of what `test` installed


def test_another_target_installs_only_what_is_new(project):
    start(project, "sim", FakeHost(project))
    host = FakeHost(project)
    start(project, "test", host)
    assert host.installed() == [
        bootstrap.pinned("torch", ROOT), "-e .[sw,sweep]", f"--no-deps {bootstrap.MODEL}",
    ]


@pytest.mark.parametrize("name", bootstrap.SOURCES)
def test_changed_sources_install_again(project, name):
    start(project, "lint", FakeHost(project))
    with (project / name).open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    host = FakeHost(project)
    start(project, "lint", host)
    assert host.installed() == ["-e .[dev]"]


def test_interrupted_installation_leaves_no_stamp_and_is_done_again(project):
    with pytest.raises(subprocess.CalledProcessError):
        start(project, "test", FakeHost(project, fail_on="--no-deps"))
    assert not (project / ".venv" / "stamps").exists()
    host = FakeHost(project)
    assert start(project, "test", host) == 0
    assert len(host.installed()) == 3


def test_seconds_are_recorded_per_installation(project):
    start(project, "verilog", FakeHost(project))
    start(project, "lint", FakeHost(project))
    record = json.loads((project / ".venv" / "bootstrap.json").read_text(encoding="utf-8"))
    assert [entry["parts"] for entry in record["installs"]] == [["core"], ["dev"]]
    assert record["seconds"] == pytest.approx(sum(e["seconds"] for e in record["installs"]))


def test_unpinned_torch_is_refused(project):
    (project / "constraints.txt").write_text("numpy==2.4.6\n", encoding="utf-8")
    with pytest.raises(ValueError, match="must pin torch"):
        bootstrap.pinned("torch", project)


@pytest.mark.parametrize("target", bootstrap.TARGETS)
def test_every_target_is_one_of_the_makefile(target):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"$(BOOTSTRAP) {target}\n" in makefile


@pytest.mark.parametrize(("error", "code", "message"), [
    (KeyboardInterrupt(), 130, "cimforge: interrupted; the same command goes on\n"),
    (OSError(28, "No space left on device"), 1,
     "cimforge: installation failed: [Errno 28] No space left on device\n"),
    (ValueError("constraints.txt must pin torch"), 1,
     "cimforge: installation failed: constraints.txt must pin torch\n"),
    (subprocess.CalledProcessError(1, ["pip", "install"]), 1,
     "cimforge: installation failed: pip install\n"),
])
def test_what_goes_wrong_is_one_line(monkeypatch, capsys, error, code, message):
    def fail(_):
        raise error
    monkeypatch.setattr(bootstrap, "bootstrap", fail)
    assert bootstrap.main(["lint"]) == code
    assert capsys.readouterr().err == message


def test_config_and_build_of_the_makefile_reach_the_commands():
    done = subprocess.run(["make", "-n", "demo", "verilog", "bench", "CONFIG=mine.yaml", "BUILD=b"],
                          cwd=ROOT, capture_output=True, text=True, check=True)
    for line in ("cimforge demo --config mine.yaml --out b/demo",
                 "cimforge verilog mine.yaml -o b/rtl", "cimforge bench --config mine.yaml"):
        assert f"{line}\n" in done.stdout
