"""The one shape of every machine-readable result."""

import json
import os
import platform
import subprocess
from pathlib import Path

from cimforge.spec.files import write_atomic

__all__ = ["FORMAT", "machine", "write_records"]

FORMAT = 1


def machine() -> dict[str, str | int]:
    """Describe this machine without naming it."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _commit() -> str:
    """Return the commit of the source tree, or ``unknown`` outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    try:
        done = subprocess.run(["git", "-C", str(root), "describe", "--always", "--dirty"],
                              capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def write_records(path: Path, command: str, records: list[dict], **more) -> dict:
    """Write ``{"format", "commit", "machine", "command", "records", …}`` atomically; return it."""
    report = {"format": FORMAT, "commit": _commit(), "machine": machine(), "command": command,
              **more, "records": records}
    write_atomic(path, (json.dumps(report, indent=2) + "\n").encode())
    return report
