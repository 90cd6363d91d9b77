"""Benches cannot be skipped unseen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WAYS = {
    "mark": "@pytest.mark.skip\ndef test_one(): pass",
    "call": "def test_one(): pytest.skip('later')",
    "no parameters": "@pytest.mark.parametrize('x', [])\ndef test_one(x): pass",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_skipped_bench_fails(way, tmp_path):
    (tmp_path / "test_it.py").write_text(f"import pytest\n{WAYS[way]}\ndef test_two(): pass\n")
    path = os.pathsep.join(str(ROOT / part) for part in ("", "hw", "sw", "verif"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tb.conftest", "--rootdir", str(tmp_path),
         "test_it.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True,
        text=True, check=False)
    assert done.returncode == 1
    assert "1 passed" in done.stdout
    assert "was skipped, and nothing here may be" in done.stdout
