"""Rules of the house that a machine can check: file length, neutral text, package docstrings."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 400
SOURCE_SUFFIXES = {
    ".py", ".sh", ".md", ".toml", ".yaml", ".yml", ".v", ".vlt", ".cpp", ".h", ".tcl",
}
IGNORED_FOLDERS = {".git", ".venv", "build", "dist", "__pycache__"}

# In pieces, so that this file does not contain what it looks for.
MACHINE_FOLDERS = ["wo" + "rk", "ho" + "me", "ro" + "ot", "Us" + "ers", "mnt", "opt", "srv"]
REGISTRY_HOSTS = [
    "py" + "pi.org", "python" + "hosted.org", "download." + "pytorch.org",
    "deb." + "debian.org", "npm" + "js.org", "anaconda." + "org",
]
NOT_NEUTRAL = re.compile(
    rf"(?<![\w.)}}>\]*-])/(?:{'|'.join(MACHINE_FOLDERS)})/\w"
    rf"|{'|'.join(map(re.escape, REGISTRY_HOSTS))}|file:/{{2,3}}\w"
)


def tracked_files():
    """Return the files that git has or would take; every file where there is no git."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
        paths = [ROOT / name for name in names.decode().split("\0") if name]
    else:
        paths = [p for p in ROOT.rglob("*") if not IGNORED_FOLDERS & set(p.relative_to(ROOT).parts)]
    return sorted(path for path in paths if path.is_file())


def text_of(path):
    """Return a file's text, or None for a binary file."""
    data = path.read_bytes()
    return None if b"\0" in data else data.decode("utf-8")


def too_long(text):
    """Return whether a source file has more lines than the house allows."""
    return len(text.splitlines()) > MAX_LINES


def test_no_source_file_is_too_long():
    sources = [path for path in tracked_files() if path.suffix in SOURCE_SUFFIXES]
    assert sources
    bad = [str(path.relative_to(ROOT)) for path in sources if too_long(text_of(path))]
    assert not bad, f"over {MAX_LINES} lines: {', '.join(bad)}"


def test_no_text_names_a_machine_or_a_registry():
    for path in tracked_files():
        text = text_of(path)
        hit = NOT_NEUTRAL.search(text) if text else None
        assert hit is None, f"{path.relative_to(ROOT)} contains {hit.group(0)!r}"


def test_every_package_says_what_lives_there():
    packages = [path for path in tracked_files() if path.name == "__init__.py"]
    silent = [p for p in packages if not ast.get_docstring(ast.parse(text_of(p)))]
    assert not silent, f"no docstring: {', '.join(str(p.relative_to(ROOT)) for p in silent)}"


def test_length_gate_notices():
    assert too_long("line\n" * (MAX_LINES + 1))
    assert not too_long("line\n" * MAX_LINES)


@pytest.mark.parametrize("text", [
    f"see /{MACHINE_FOLDERS[0]}/project/file.py",
    f'"/{MACHINE_FOLDERS[1]}/someone/.cache"',
    *(f"--index-url https://{host}/simple" for host in REGISTRY_HOSTS),
    "file:" + "///wheels/torch",
])
def test_neutrality_gate_notices(text):
    assert NOT_NEUTRAL.search(text)


@pytest.mark.parametrize("text", [
    "hw/cimforge_hw", "#!/usr/bin/env bash", "build/work/rtl", "/dev/null",
])
def test_neutrality_gate_lets_plain_text_pass(text):
    assert not NOT_NEUTRAL.search(text)
